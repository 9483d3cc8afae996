"""Error classification: from what the provider said (HTTP status, text of a failed prediction) to a failure class.

Texts are no stable contract and an open set: the rules (``failure_table.py``) match by meaning, a sentence at a time,
and a text that no rule fits has a class as well. What follows from a class is in ``failures.py``.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import takewhile
from typing import NamedTuple

from functions._shared.provider.failure_table import RULES

MAX_TEXT = 2000
"""Characters of a text that are classified; the beginning and the end of a longer one."""
QUOTED_START = 40
"""Characters by which a quotation of the input that is cut off is known."""

# First match wins. Class, HTTP statuses, words of which the text has one; an empty tuple matches anything.
_ANSWERS: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...] = (
    ("busy", (429,), ()),
    ("out_of_credit", (402,), ()),
    ("out_of_credit", (), ("insufficient credit", "spend limit")),
    ("unauthorised", (401,), ()),
    ("forbidden", (403,), ()),
    ("unknown_model", (301, 307, 308, 404, 410), ()),
    ("unknown_model", (422,), ("version does not exist", "invalid version", "version is disabled")),
    ("bad_input", (400, 405, 406, 409, 411, 413, 414, 415, 422), ()),
    ("transient", (), ()),
)

_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body|center)\b", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_FRAME = re.compile(
    r'^[ \t]*File "[^"\n]*", line \d+.*(?:\n[ \t]+.*|\n(?!.*?(?:Error|Exception)\b).*)?',
    re.MULTILINE,
)
_ADDRESS = re.compile(r"\b(?:https?|data|s3|gs|file):\S+")
_FILE_NAME = re.compile(
    r"\S+\.(?:safetensors|ckpt|pth?|onnx|bin|py|json|ya?ml|csv|tar|zip|gz|png|jpe?g|webp|mp4)\b"
)
_PATH = re.compile(r"(?:[\w.~@-]*/){2,}[^\s'\",)]*")
_QUOTE = r"(?:(?<!\w)'[^'\n]*'(?!\w)|\"[^\"\n]*\"|“[^”\n]*”|‘[^’\n]*’|`[^`\n]*`)"
_QUOTED = re.compile(_QUOTE)
_QUOTED_PROMPT = re.compile(r"\bprompts?\b['\"]?\s*(?:[:=]|was|is|of)?\s*" + _QUOTE, re.IGNORECASE)
_JSON = re.compile(r"\{\s*\\*['\"][\w ]+\\*['\"]\s*:")
_QUOTED_NAME = re.compile(
    r"\b(?!(?:status|reason|message|code|error|said|with|is|was)\b)\w+ " + _QUOTE, re.IGNORECASE
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_CODES = {"UNAVAILABLE": "status 503", "INTERNAL": "internal error"}
"""Status codes of gRPC, which are words of another meaning in lower case."""
_REPR = re.compile(r"\s*'[\w.-]*'\s*")
"""The text of a KeyError: a name, whatever it means."""
_NOT_A_VERDICT = re.compile(r"\bcase sensitiv\w*")
_STATUS = re.compile(
    r"(?:\bhttp(?:/\d(?:\.\d)?)?|\bstatus(?: code)?|(?<!key )(?<!value )(?<!runtime )(?<!index )(?<!assertion )"
    r"\berrors?(?: code)?|\bcode|\bresponse|^|\[)\W{0,4}(4\d\d|5\d\d)\b(?![.x]\d)"
    r"|(?<=: )(429|50[0234])(?=\s*$)"
    r"|\b(4\d\d|5\d\d)\b(?=\W{0,3}(?:error|bad gateway|service|internal|gateway|too many|unavailable|deadline))"
)
# ReDoS: word and gap share no character and are possessive. With \S+\W+, which share punctuation, 2000 characters of
# "image'image'…" take minutes while holding the GIL; a stranger's model writes these texts.
_WORDS_BETWEEN = r"\W++(?:\w++(?:'\w++)?+\W++){0,4}?"
_SENTENCE = re.compile(r"[.!?;。！](?=\s|$|[\"'])|\n+")


class _Rule(NamedTuple):
    error_class: str
    all_of: tuple[re.Pattern[str], ...]
    unless: re.Pattern[str] | None


def class_of_answer(status: int, text: str) -> str:
    """The class of an HTTP response that is no success."""
    folded = text.casefold()
    found = next(
        name
        for name, statuses, words in _ANSWERS
        if (not statuses or status in statuses)
        and (not words or any(word in folded for word in words))
    )
    return "refused" if found == "bad_input" and recognised(text) == "refused" else found


def class_of_ending(text: str, said: Iterable[str] = ()) -> str:
    """The class of a prediction that failed with ``text``: model_failed where no rule fits.

    ``said`` are the input's texts, which do not count where ``text`` quotes them.
    """
    return recognised(text, said) or "model_failed"


def recognised(text: str, said: Iterable[str] = ()) -> str | None:
    """As class_of_ending, but None where no rule fits. A failure without any text is transient."""
    if not text.strip():
        return "transient"
    if _REPR.fullmatch(text):
        return "model_failed"
    # Before the text is cut: half a quotation would not be found.
    for words in sorted(filter(str.strip, said), key=len, reverse=True):
        text = _without_quotation(text, words)
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT // 2]}\n{text[-MAX_TEXT // 2 :]}"
    is_page = _PAGE.match(text) is not None
    own = _without_foreign_words(_TAG.sub(" ", text) if is_page else text)
    # Quoted words are often somebody else's (a name, an option): they count only where the rest says nothing, and where
    # they are no name of something. In JSON all is quoted.
    found = None if _JSON.search(own) else _class_by_rules(_QUOTED.sub(" ", own))
    found = found or _class_by_rules(_QUOTED_NAME.sub(" ", own))
    return found or ("transient" if is_page else None)


def _without_quotation(text: str, words: str) -> str:
    """Without ``words`` of the input, whole or cut off: models and we ourselves truncate what they quote."""
    if len(words) <= 2:
        return text
    text = text.replace(words, " ")
    at = text.find(words[:QUOTED_START]) if len(words) > QUOTED_START else -1
    if at < 0:
        return text
    pairs = zip(text[at:], words, strict=False)
    quoted = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return f"{text[:at]} {text[at + quoted :]}"


def _without_foreign_words(text: str) -> str:
    """Without what names things and tells nothing: traceback frames, addresses, files, quoted prompts."""
    for pattern in (_FRAME, _QUOTED_PROMPT, _ADDRESS, _FILE_NAME, _PATH):
        text = pattern.sub(" ", text)
    return text


def _class_by_rules(text: str) -> str | None:
    sentences = [*_sentences(text)]
    return next(
        (
            rule.error_class
            for rule in _rules()
            for sentence in sentences
            if all(group.search(sentence) for group in rule.all_of)
            and not (rule.unless and rule.unless.search(sentence))
        ),
        None,
    )


def _sentences(text: str) -> Iterator[str]:
    """The sentences of a text in lower case, identifiers as words, HTTP statuses as status503."""
    for name, words in _CODES.items():
        text = re.sub(rf"\b{name}\b(?![_-])", words, text)
    words = _CAMEL.sub(" ", text).casefold().replace("’", "'")
    words = re.sub(r"[_-]+", " ", words)
    words = _NOT_A_VERDICT.sub(" ", words)
    words = _STATUS.sub(lambda found: f" status{found[1] or found[2] or found[3]} ", words)
    for sentence in _SENTENCE.split(words):
        if plain := " ".join(sentence.split()):
            yield plain


def _pattern(phrases: str) -> re.Pattern[str]:
    """The regular expression of a group of phrases in the table's notation."""
    written = (
        re.escape(phrase).replace(r"\ \.\.\ ", _WORDS_BETWEEN).replace(r"\*", r"\w*")
        for phrase in phrases.split("|")
    )
    return re.compile(rf"(?<!\w)(?:{'|'.join(written)})(?!\w)")


@cache
def _rules() -> tuple[_Rule, ...]:
    """Compiled at the first failure: 12 ms, which are not the start's."""
    return tuple(
        _Rule(
            rule.error_class,
            tuple(map(_pattern, rule.all_of)),
            _pattern(rule.unless) if rule.unless else None,
        )
        for rule in RULES
    )

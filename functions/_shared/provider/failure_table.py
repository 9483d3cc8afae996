"""The text of a failed prediction → its failure class, as data: the first rule that fits one sentence of it decides.

A rule fits a sentence that has one phrase of every group in ``all_of``, in any order, and none of ``unless``.
``|`` separates the phrases of a group; ``*`` stands for the rest of a word, ``..`` for up to four words. The text is
compared in lower case, with identifiers split into words (IMAGE_SAFETY, ImageSafety: image safety), HTTP statuses as
``status503``, and without traceback frames, paths, file names and quoted prompts (``classify.py``).

To extend: add the text to tests/functions/_shared/provider/failure_texts.json with its source, then the phrase that
carries its meaning, not the whole text. The view ``unrecognised_failures`` lists what no rule fits.
"""

from typing import NamedTuple


class Rule(NamedTuple):
    error_class: str
    all_of: tuple[str, ...]
    unless: str = ""


_JUDGE = (
    "safety|responsible ai|moderat*|content filter*|content check*|content polic*|content management polic*"
    "|usage polic*|use polic*|usage guideline*|community guideline*|community standard*|guardrail*|risk control"
    "|terms of service|aup|compliance"
)
_VERDICT = (
    "blocked|reject*|flagged|refus*|filtered|violat*|denied|disallow*|not allowed|not permitted|prohibit*|banned|caught"
    "|conflict*|triggered|triggering|breach*|unsafe|removed|against|declined|stopped"
)
_TOPIC = (
    "nsfw|nudity|nude|sexual*|erotic*|pornograph*|adult content|explicit content|sensitive content|sensitive word*"
    "|sensitive information|sensitive material|sensitive topic*|inappropriate|offensive|harmful|hateful|illegal content"
    "|prohibited content|prohibited word*|prohibited term*|forbidden word*|unsafe content|violent|violence|real person"
    "|real people|public figure*|celebrit*|copyright*|trademark*|likeness|intellectual property|banned word*"
    "|underage|under 18|minors"
)
_SEEN = (
    f"detect*|contain|contains|contained|containing|includes|depict*|identified|found in|{_VERDICT}"
)

RULES: tuple[Rule, ...] = (
    # Defects of the model, told first: their texts quote names and numbers that mean something else elsewhere.
    # Out of memory is not retried: it follows from size and count, and a failed run of a community model is billed.
    Rule(
        "model_failed",
        (
            "out of memory|outofmemory|oom|e1001|cannot allocate memory|failed to allocate|bad alloc|not enough memory",
        ),
    ),
    Rule(
        "model_failed",
        (
            "tensor|tensors|shape|shapes|dimension|dimensions|mat1",
            "match|mismatch|invalid|multiplied|expected size|wrong|divide|different",
        ),
    ),
    Rule(
        "model_failed",
        (
            "key error|attribute error|type error|import error|module not found error|name error|index error"
            "|unbound local error|file not found error|not implemented error|zero division error|recursion error",
        ),
    ),
    Rule(
        "model_failed",
        (
            "no such file|no such device|no file named|have a file named|requested files|cannot import|no module named"
            "|has no attribute|keyword argument|positional argument*|before assignment|not subscriptable|not callable"
            "|not iterable|values to unpack|out of bounds|index out of range|same device|should be the same|side assert"
            "|illegal memory access|cudnn*|cublas*|nccl*|safetensor error|state dict|unpickling|deserializ*"
            "|exit status|ran out of input|expected scalar type"
            "|could not convert"
            "|correctly renamed|can't load|cannot load|row level security",
        ),
    ),
    Rule(
        "model_failed",
        ("lora|loras|checkpoint|weights|adapter", "fail*|no compatible|incompatible|unexpected"),
        unless="download*|not found|url",
    ),
    Rule(
        "model_failed",
        (
            "api key|api token|access token|credential*",
            "not valid|invalid|incorrect|missing|expired",
        ),
    ),
    # A filter that is out of order judges nothing.
    Rule(
        "transient",
        (_JUDGE, "timed out|timeout|unreachable|not reachable|fail* to respond|connection*"),
        unless=_VERDICT,
    ),
    Rule("refused", (_JUDGE, _VERDICT)),
    Rule("refused", (_TOPIC, _SEEN), unless="no nsfw"),
    Rule(
        "refused",
        (
            "moderation|moderation check|safety check|safety review|content check|content review|risk control",
            "failed|fail* to pass|failure to pass|not pass*|did not pass|not .. pass*|not .. respect",
        ),
    ),
    Rule(
        "refused",
        (
            "moderated|e005|image safety|prohibited content|content filter|content moderation|content polic* violation"
            "|flagged as sensitive|unsafe generation|data inspection failed|prompts detected|prompt .. rejected"
            "|input was rejected|unsafe prompt|risk detection|nsfw content|nsfw image*|nsfw prompt*|recitation"
            "|safety.input*|safety.output*|reason: safety|reason safety|due to safety|safety reasons",
        ),
        unless="safety checker|no nsfw",
    ),
    Rule(
        "refused",
        (
            "polic*|guideline*|practices|terms|rules|laws",
            "violat*|conflict*|breach*|not comply|not compliant|declined|against our",
        ),
    ),
    Rule(
        "refused",
        (
            "prompt|prompts|image|images|photo|picture|input|output|content|generation|candidate|response|text",
            "flagged|blocked|refused|declined|censored|banned|disallowed|sensitive|deemed unsafe|is unsafe",
        ),
        unless="connection*|cloudflare|cors|firewall|ip|captcha|waf|network|thread*|process|memory|sensitive to",
    ),
    Rule(
        "refused",
        ("word|words|term|terms|prompt", "banned|prohibited|forbidden|disallowed|offending"),
    ),
    Rule(
        "refused", ("child|children|minor|minors", "filtered|blocked|flagged|not allowed|detected")
    ),
    Rule("refused", ("content", "not permitted|not allowed|can't be shown|cannot be shown")),
    Rule("refused", ("flagged", "sensitive|inappropriate|unsafe|harmful")),
    Rule("refused", ("*违规*|*敏感*|*审核*|*违禁*|*合规*|*涉黄*|*色情*|*不当*",)),
    Rule(
        "out_of_credit",
        (
            "insufficient credit*|insufficient quota|insufficient balance|insufficient fund*|not enough credit*"
            "|enough credits|out of credit*|enough balance|balance .. low|spend limit|spending limit|billing hard limit"
            "|plan and billing|billing details|payment required|status402|free time limit|set up billing"
            "|past invoices|overdue|past due|*余额不足*|*欠费*",
        ),
    ),
    Rule(
        "out_of_credit",
        (
            "balance|credit|credits|funds",
            "insufficient|not enough|too low|ran out|run out|depleted|exhausted|top up",
        ),
    ),
    Rule(
        "out_of_credit",
        ("quota|limit|credits|allowance", "upgrade your plan|billing|monthly|top up"),
    ),
    Rule(
        "busy",
        (
            "overloaded|too many requests"
            "|too many concurrent|rate limit|rate limits|rate limited|ratelimit*|throttl*|resource exhausted"
            "|resource has been exhausted|quota exceeded|quota exhausted|concurrency limit|busy"
            "|currently loading|slow down|backpressure|status429|status529"
            "|*繁忙*|*限流*|*拥挤*|*频繁*|*排队*",
        ),
        unless="function|operator",
    ),
    Rule(
        "busy",
        (
            "capacity|queue",
            "no|at|max*|full|reached|exceed*|exhausted|insufficient|limit*|out of|over|overflow|long",
        ),
        unless="memory|total capacity",
    ),
    Rule("busy", ("gpus|gpu|servers|workers|instances|machines", "in use|occupied")),
    Rule(
        "busy",
        ("insufficient|not enough|no free", "resources|gpu|gpus|compute"),
        unless="memory",
    ),
    Rule(
        "busy",
        ("too many", "requests|tasks|jobs|calls|predictions|generations|concurrent|connections"),
    ),
    Rule(
        "busy",
        ("limit|max|maximum", "reached|hit"),
        unless="recursion|iteration*|retries|size|length|tokens|attempts",
    ),
    Rule(
        "busy",
        ("traffic|load|demand", "high|heavy|peak|increased|unusual"),
        unless="fail*|cannot|could not",
    ),
    Rule("busy", ("requests|concurren*|rate|rates|quota", "exceed*|reached|too many|exhausted")),
    Rule(
        "busy",
        (
            "no|not enough|insufficient|any",
            "servers|instances|workers|worker|gpus|gpu|replicas|machines|nodes|endpoints",
            "available|left",
        ),
        unless="could not|cannot",
    ),
    Rule(
        "transient",
        (
            "status500|status502|status503|status504|status408|status425|status520|status521|status522|status523"
            "|status524|bad gateway|gateway time*|internal server error|internal error*|server error"
            "|server had an error|web server|something went wrong|temporarily|temporary failure"
            "|unexpected error handling prediction|e1000|e6716|e8367|e8765|e9243|e9825|e9828|prediction interrupted"
            "|code: pa|ecc error|fallen off the bus|gpu is lost|no cuda*|cuda driver|cuda init*|nvml*|preempted"
            "|shutting down|*超时*|*稍后*",
        ),
    ),
    Rule(
        "transient",
        (
            "service|server|servers|model|api|endpoint|host|currently|it",
            "unavailable|not available|is down|offline",
        ),
    ),
    Rule(
        "transient",
        (
            "timed out|time out|timeout|read timeout|could not connect|cannot connect|unable to connect"
            "|failed to connect|unable to reach|could not reach|health check"
            "|deadline exceeded|deadline expired|connection reset*"
            "|connection refused|connection aborted|connection error|connection lost|connection failure"
            "|connection closed|connection terminated|connection broken|connection was *|server disconnected"
            "|remote end closed|disconnect*|upstream|broken pipe|network error|name resolution|ssl error*"
            "|incomplete read|premature*|econn*|enotfound|etimedout|socket hang up|fetch failed|unexpected eof"
            "|eof occurred",
        ),
        unless="must be|must not|parameter|argument",
    ),
    Rule(
        "transient",
        ("try again|please retry|retry your request|retry later|retry the request",),
        unless="different|another|adjust*|modify*|edit*|chang*|smaller|reduc*|rephras*|revis*|check*",
    ),
    Rule(
        "transient",
        (
            "worker|process|container|pod|machine",
            "died|crash*|exited|terminated|lost|killed|evicted",
        ),
    ),
    Rule(
        "bad_input",
        (
            "could not be loaded|cannot be loaded|cannot be empty|can't be empty"
            "|identify image file|valid image|invalid image*|image .. truncated|image .. corrupt*|load .. image"
            "|decode .. image|open .. image|read .. image|no face*|find .. face*|face .. not|faces .. not",
        ),
    ),
    Rule(
        "bad_input",
        (
            "unsupported|not supported|file type|supported format",
            "image|file|format|size|resolution|ratio|media|mime|content type|extension",
        ),
    ),
    Rule(
        "bad_input",
        (
            "status400|status413|status415|status422|input validation|validation error*|bad request|bad input"
            "|missing required|is required|are required|field required|must be|must have|must end|must not|must contain"
            "|must specify|have to be|has to be|not within|out of range|between|greater than|less than|at least|at most"
            "|exceeds|too large|too long|too small|too short|divisible|multiple of|not found at|model not found"
            "|check the url|expected format",
        ),
    ),
    Rule(
        "bad_input",
        (
            "invalid",
            "input|inputs|value|parameter|parameters|argument|request|url|address|size|seed|ratio|format|option|choice"
            "|mask",
        ),
    ),
    Rule(
        "bad_input",
        (
            "download*|fetch*|retriev*",
            "fail*|could not|cannot|unable|error",
            "image*|input*|url|file|mask|picture",
        ),
    ),
    Rule(
        "bad_input",
        ("no", "found in tarball|found in data uri|images provided|image provided|input provided"),
    ),
)

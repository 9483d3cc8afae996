"""What failed predictions say, as public reports quote it, against the table of failure_table.py."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from functions._shared.provider.classify import class_of_answer, class_of_ending, recognised
from functions._shared.provider.failure_table import RULES
from functions._shared.provider.failures import CLASSES, PredictionOver
from functions._shared.provider.prediction import outputs_of, read_prediction

CASES = json.loads(Path(__file__).with_name("failure_texts.json").read_text())
"""``text``, the ``class`` that it means, and its ``source``: a thread (owner/repo#n), a file, a page, or "invented"."""


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{n}-{case['class']}" for n, case in enumerate(CASES)]
)
def test_each_text_has_the_class_that_it_means(case):
    assert class_of_ending(case["text"]) == case["class"], case["source"]


def test_the_collection_is_large_and_of_both_kinds():
    real = [case for case in CASES if not case["source"].startswith("invented")]
    classes = Counter(case["class"] for case in real)
    assert len({case["text"] for case in CASES}) == len(CASES)
    assert len(real) >= 150
    assert classes["model_failed"] + classes["bad_input"] >= 40
    assert all(case["source"] and case["class"] in CLASSES for case in CASES)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_names_a_class(rule):
    assert rule.error_class in CLASSES
    assert rule.all_of
    assert all(rule.all_of)


@pytest.mark.parametrize(
    ("text", "said", "error_class"),
    [
        ("could not draw a sign that says rate limit exceeded", [], "busy"),
        (
            "could not draw a sign that says rate limit exceeded",
            ["a sign that says rate limit exceeded"],
            "model_failed",
        ),
        ("Prompt 'a nude, flagged' made wrong pixels", [], "model_failed"),
        ('{"error": "the model broke", "prompt": "sexual content blocked"}', [], "model_failed"),
        ("the safety checker timed out", [], "transient"),
        ("  ", [], "transient"),
        ("<html><h1>Oops</h1></html>", [], "transient"),
        ("x" * 100_000 + " Request Moderated", [], "refused"),
    ],
)
def test_foreign_words_do_not_decide(text, said, error_class):
    assert class_of_ending(text, said) == error_class


LONG = "a bar in which too many requests " + "of every kind are made, " * 90 + "rate limit exceeded"


@pytest.mark.parametrize("quoted", [LONG, LONG[:1500], f"{LONG[:200]}…"])
def test_a_long_prompt_does_not_decide_where_it_is_quoted_whole_or_cut(quoted):
    assert class_of_ending(f"cannot draw {quoted}") == "busy"
    assert class_of_ending(f"cannot draw {quoted}", [LONG]) == "model_failed"


@pytest.mark.parametrize(
    "text", ["prompt'" * 285, "image'' " * 250, "face.not;" * 222, "image " + "-'" * 980]
)
def test_words_between_phrases_take_linear_time(text):
    """In a process of its own, which the kernel ends: a pattern that backtracks holds the GIL for hours (ReDoS)."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import resource, sys; from functions._shared.provider.classify import recognised;"
            "resource.setrlimit(resource.RLIMIT_CPU, (10, 10)); recognised(sys.argv[1])",
            text,
        ],
        check=False,
    )
    assert done.returncode == 0


def test_a_page_and_a_status_are_no_reason_to_trust_a_refusal():
    assert class_of_answer(400, "This prompt violates our content policy") == "refused"
    assert class_of_answer(503, "blocked by our content policy") == "transient"
    assert class_of_answer(451, "") == "transient"


def failed(error, **fields):
    return read_prediction({"id": "p1", "status": "failed", "error": error, **fields})


def test_a_text_that_no_rule_fits_is_logged_without_credentials(caplog):
    key = "r8_" + "a" * 37
    with pytest.raises(PredictionOver) as over:
        outputs_of(failed(f"frobnication {key} {'x' * 500}", model="acme/odd"))
    assert over.value.error_class == "model_failed"
    assert recognised(str(over.value)) is None
    [record] = caplog.records
    assert "acme/odd" in record.getMessage()
    assert "frobnication r8_***" in record.getMessage()
    assert len(record.getMessage()) < 300
    assert key not in str(over.value)


def test_the_inputs_own_words_do_not_decide(caplog):
    prompt = "too many requests at the bar"
    with pytest.raises(PredictionOver) as over:
        outputs_of(failed(f"cannot render: {prompt}", input={"prompt": prompt, "seed": 1}))
    assert over.value.error_class == "model_failed"
    assert caplog.records


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"message": "CUDA out of memory", "code": "E1001"}, "CUDA out of memory (E1001)"),
        ('{"message": "CUDA out of memory", "code": "E1001"}', "CUDA out of memory (E1001)"),
        ({"error": {"detail": [{"msg": "too dark"}]}}, "too dark"),
        (["first", {"message": "second"}], "first; second"),
        ("{broken", "{broken"),
    ],
)
def test_an_error_of_any_shape_reads_as_its_message(error, text):
    assert failed(error).error == text


PNG, OTHER = "https://replicate.delivery/a.png", "https://replicate.com/docs"


@pytest.mark.parametrize(
    ("output", "addresses"),
    [
        ({"image": PNG, "caption": "a fox", "more_info_url": OTHER}, (PNG,)),
        ({"json": OTHER, "images": [{"url": PNG, "info": OTHER}], "video": OTHER}, (PNG,)),
        ({"image": None, "output": {"url": PNG}, "video": OTHER}, (PNG,)),
        ({"image_url": PNG, "docs": OTHER}, (PNG,)),
        ({"a": PNG, "b": PNG}, (PNG, PNG)),
        ([PNG, None, {"url": PNG}], (PNG, PNG)),
    ],
)
def test_in_an_object_the_pictures_are_preferred(output, addresses):
    assert (
        read_prediction({"id": "p1", "status": "succeeded", "output": output}).output == addresses
    )


def test_nested_objects_take_linear_time():
    """Each level has the same keys and no address: a value that is looked at twice on each would take 2^60 steps."""
    output: object = {}
    for _ in range(60):
        output = {"image": output, "picture": {}, "other": {}}
    assert read_prediction({"id": "p1", "status": "succeeded", "output": output}).output == ()

"""scripts/build_inputs.py: JSON lines in, as many JSON lines out."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from scripts.build_inputs import answer_to, main

ROOT = Path(__file__).parents[2]
GOOD = {"model_id": "FLUX-schnell", "request": {"prompt": "a cat", "seed": 0}}
SENT = {"prompt": "a cat", "seed": 0, "output_format": "webp"}
SCHEMA = {"properties": {"prompt": {"type": "string"}, "n": {"enum": [7]}}, "required": ["n"]}


def answer(task: object) -> dict[str, Any]:
    return answer_to(json.dumps(task).encode())


@pytest.mark.parametrize("command", [["-m", "scripts.build_inputs"], ["scripts/build_inputs.py"]])
def test_both_ways_to_run_it(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\nnot json\n\n{json.dumps(GOOD)}\n")
    # -S: the project itself is not installed, what it depends on is.
    done = subprocess.run(
        [sys.executable, "-S", *command, str(file)],
        cwd=ROOT,
        env={"PYTHONPATH": sysconfig.get_path("purelib")},
        capture_output=True,
        timeout=60,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == lines[2] == {"input": SENT, "adjustments": []}
    assert lines[1].keys() == {"error"}
    assert done.returncode == 1


def test_standard_input_and_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.build_inputs"],
        cwd=ROOT,
        input=json.dumps(GOOD).encode(),
        capture_output=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["input"] == SENT
    assert done.returncode == 0


def test_a_file_of_good_lines_ends_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps(GOOD))
    assert main([str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["adjustments"] == []


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["no-such-file.jsonl"])
    assert "no-such-file.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(SCHEMA, id="the bare input schema"),
        pytest.param({"model": "some/model", "input": SCHEMA}, id="a data file"),
        pytest.param(
            {
                "components": {
                    "schemas": {
                        "n": {"enum": [7]},
                        "Input": {
                            "properties": {
                                "prompt": {"type": "string"},
                                "n": {"allOf": [{"$ref": "#/components/schemas/n"}]},
                            },
                            "required": ["n"],
                        },
                    }
                }
            },
            id="openapi_schema with references",
        ),
    ],
)
def test_a_schema_in_any_of_its_wrappings(schema: Any) -> None:
    task = {"model_id": "some/model", "request": {"prompt": "a cat"}, "schema": schema}
    assert answer(task) == {"input": {"prompt": "a cat", "n": 7}, "adjustments": []}


def test_the_request_may_name_the_model_itself() -> None:
    request = {"prompt": "a cat", "seed": 0, "model_id": "flux-schnell"}
    assert answer({"request": request})["input"] == SENT


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param(b"{", "not valid JSON", id="half a line"),
        pytest.param(b"\xff\xfe\xfa", "not valid JSON", id="not UTF-8"),
        pytest.param(b"[" * 100_000, "not valid JSON", id="too deep"),
        pytest.param(b'{"a": NaN}', "not valid JSON", id="NaN"),
        pytest.param(b'{"a": 1e999}', "not valid JSON", id="infinite"),
        pytest.param(b"7", "object", id="not an object"),
        pytest.param(b'{"model_id": "sdxl"}', "request", id="no request"),
        pytest.param(b'{"model_id": "sdxl", "request": {}}', "Prompt is required", id="no prompt"),
        pytest.param(b'{"request": {"prompt": "a"}}', "Model ID is required", id="no model"),
        pytest.param(
            b'{"model_id": "sdxl", "request": {"prompt": "a", "width": 1}}', "width", id="too small"
        ),
        pytest.param(
            b'{"model_id": "flux-schnel", "request": {"prompt": "a"}}',
            "black-forest-labs/flux-schnell",
            id="unknown model",
        ),
        pytest.param(
            b'{"model_id": "a/b", "request": {"prompt": "a"}, "schema": 5}',
            "schema",
            id="no schema",
        ),
        pytest.param(
            b'{"model_id": "gpt-image-1", "request": {"prompt": "a"}}', "openai_api_key", id="unmet"
        ),
    ],
)
def test_what_is_wrong_with_a_line_is_its_answer(line: bytes, text: str) -> None:
    answered = answer_to(line)
    assert answered.keys() == {"error"}
    assert text in answered["error"]

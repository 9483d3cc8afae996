"""What goes wrong unexpectedly: said once, to those who run it, and without what users wrote."""

import json
import logging
from datetime import datetime, timedelta
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from functions._shared.logs import ConsoleFormatter, DiscreetJsonFormatter
from tests.conftest import Edge
from tests.help import BODY, until_ended

SECRET = "a very private prompt"
ASKED = {**BODY, "prompt": SECRET}


def test_a_connection_outlives_an_unexpected_error(idle_edge: Edge, db):
    db.execute("alter table image_generations add constraint never check (prompt = '')")
    connection = HTTPConnection(urlsplit(idle_edge.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {idle_edge.user_token()}"}
    for _ in range(3):
        connection.request("POST", "/functions/v1/start-generation", json.dumps(ASKED), headers)
        answer = connection.getresponse()
        assert answer.status == 500
        assert json.loads(answer.read())["error"] == "Internal error"
    connection.close()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_log_line_holds_a_prompt_token_or_key(start_edge, db, capsys, log_format):
    edge: Edge = start_edge(LOG_LEVEL="DEBUG", LOG_FORMAT=log_format)
    done = edge.post("start-generation", ASKED).json()["generation_id"]
    assert until_ended(edge, done)["status"] == "completed"
    edge.post("start-generation", {**ASKED, "width": "wide"})
    edge.post("start-generation", {**ASKED, "model_id": "no/such"})
    edge.post("process-generation", {**ASKED, "model_id": "no/such"}, edge.service_role_key)
    db.execute("alter table image_generations add constraint never check (prompt = '') not valid")
    token = edge.user_token()
    assert edge.post("start-generation", ASKED, token).status_code == 500
    said = capsys.readouterr().err
    assert "violates check constraint" in said
    for secret in (SECRET, token, edge.anon_key, edge.service_role_key):
        assert secret not in said
    if log_format == "json":
        lines = [json.loads(line) for line in said.splitlines()]
        errors = [line for line in lines if line["level"] == "ERROR"]
        assert len(errors) == 1
        assert errors[0]["request_id"]
        assert all(
            datetime.fromisoformat(line["time"]).utcoffset() == timedelta() for line in lines
        )
        assert {"time", "level", "logger", "event", "message"} == set.intersection(*map(set, lines))
        assert not any("color_message" in line or line.get("request_id") == "" for line in lines)
    else:
        assert said.count(" ERROR ") == 1
        first = said.split(" INFO ")[0].splitlines()[-1]
        assert datetime.fromisoformat(first.strip()).tzinfo, "a time without its zone"


def test_an_event_is_named_by_its_call_or_by_its_place():
    formatter = DiscreetJsonFormatter("%(levelname)s %(message)s")
    record = logging.LogRecord("functions.x", logging.INFO, "x.py", 1, "hello", (), None, "look")
    assert json.loads(formatter.format(record))["event"] == "x.look"
    record.event = "job_ended"
    assert json.loads(formatter.format(record))["event"] == "job_ended"


def test_a_message_is_one_line_whatever_a_provider_has_put_into_it():
    text = "prediction x: poll failed: a\nERROR functions: forged\r\x1b[2J\u2028\x85end"
    record = logging.LogRecord("functions", logging.WARNING, "", 0, "%s", (text,), None)
    said = ConsoleFormatter("%(levelname)s %(message)s").format(record)
    assert said.splitlines() == [said]
    assert said.isprintable()

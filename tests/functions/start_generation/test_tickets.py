"""Tickets in the query of an event stream: one generation, one user, two minutes; no log has them."""

import logging
from uuid import UUID, uuid4

import httpx

from functions.start_generation import tickets
from tests.conftest import Edge, user_token
from tests.help import start


def ticket_for(edge: Edge, generation_id: str) -> str:
    answer = edge.post(f"start-generation/{generation_id}/ticket")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["expires_in"] == tickets.TICKET_S <= 300
    return str(answer.json()["ticket"])


def opened(edge: Edge, generation_id: str, ticket: str) -> httpx.Response:
    """The response's head: the stream of a generation that has not ended does not end."""
    url = f"{edge.url}/functions/v1/start-generation/{generation_id}/events"
    with edge.client.stream("GET", url, params={"ticket": ticket}) as response:
        if response.status_code != 200:
            response.read()
        return response


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["code"], answer.json()["error"]


INVALID = (401, "UNAUTHORIZED_TICKET", "Invalid ticket")


def test_a_ticket_opens_the_events_without_a_token(idle_edge: Edge):
    generation_id = start(idle_edge)
    ticket = ticket_for(idle_edge, generation_id)
    assert opened(idle_edge, generation_id, ticket).status_code == 200
    assert opened(idle_edge, generation_id.upper(), ticket).status_code == 200, "the same id"


def test_only_the_owner_is_given_one(idle_edge: Edge):
    generation_id = start(idle_edge)
    path = f"start-generation/{generation_id}/ticket"
    assert idle_edge.post(path, token=None).status_code == 401
    assert idle_edge.post(path, token=user_token()).status_code == 404
    assert idle_edge.post(f"start-generation/{uuid4()}/ticket").status_code == 404
    assert idle_edge.post("start-generation/x/ticket").status_code == 404


def test_it_opens_no_other_generation_and_nothing_else(idle_edge: Edge):
    mine, other = start(idle_edge), start(idle_edge)
    ticket = ticket_for(idle_edge, mine)
    assert refused(opened(idle_edge, other, ticket)) == INVALID
    row = f"{idle_edge.url}/functions/v1/start-generation/{mine}"
    assert idle_edge.client.get(row, params={"ticket": ticket}).status_code == 401
    assert idle_edge.client.delete(row, params={"ticket": ticket}).status_code == 401
    assert idle_edge.get(f"start-generation/{mine}", ticket).status_code == 401


def changed(ticket: str) -> list[str]:
    expires, user, signature = ticket.split(".")
    return [
        "",
        ".",
        "..",
        "é.ü.\N{SNOWMAN}",
        "\0",
        ticket[:-1],
        f"{ticket}A",
        f"{int(expires) + 1}.{user}.{signature}",
        f"{expires}.{uuid4().hex}.{signature}",
        f"{expires}.{user}.",
        f"{expires}.{user}",
    ]


def test_a_forged_one_is_refused(idle_edge: Edge):
    generation_id = start(idle_edge)
    for forged in changed(ticket_for(idle_edge, generation_id)):
        assert refused(opened(idle_edge, generation_id, forged)) == INVALID, forged


def test_a_token_is_no_ticket(idle_edge: Edge):
    generation_id = start(idle_edge)
    assert refused(opened(idle_edge, generation_id, idle_edge.user_token())) == INVALID


def test_it_expires(idle_edge: Edge, monkeypatch):
    monkeypatch.setattr(tickets, "TICKET_S", -1)
    generation_id = start(idle_edge)
    ticket = idle_edge.post(f"start-generation/{generation_id}/ticket").json()["ticket"]
    told = (401, "UNAUTHORIZED_TICKET", "Ticket expired")
    assert refused(opened(idle_edge, generation_id, ticket)) == told


def test_one_of_another_secret_is_refused(start_edge):
    edge = start_edge()
    generation_id = start(edge)
    elsewhere = start_edge(SUPABASE_JWT_SECRET="another-secret-of-32-characters-or-more")
    ticket = ticket_for(edge, generation_id)
    assert refused(opened(elsewhere, generation_id, ticket)) == INVALID


def test_no_log_has_it(start_edge, caplog):
    edge = start_edge(LOG_LEVEL="DEBUG")
    logging.getLogger().addHandler(caplog.handler)  # the start has replaced all handlers
    generation_id = start(edge)
    ticket = ticket_for(edge, generation_id)
    opened(edge, generation_id, ticket)
    opened(edge, generation_id, f"{ticket}x")
    here = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore", "asyncio"))]
    assert [r for r in here if ticket in r.getMessage()] == []
    assert caplog.records, "there is a log to look into"


def test_the_user_is_the_tickets(idle_edge: Edge, db):
    generation_id = start(idle_edge)
    ticket = ticket_for(idle_edge, generation_id)
    assert UUID(ticket.split(".")[1]) == UUID(idle_edge.user_id)
    db.execute("update image_generations set user_id = gen_random_uuid()")
    assert opened(idle_edge, generation_id, ticket).status_code == 404, "another's by now"

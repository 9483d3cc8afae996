"""What realtime-js has beside the channels of an app (realtime.mjs), at three versions."""

import pytest

from tests.clients.node import VERSIONS, needs_node, run_node
from tests.conftest import Database, Edge

pytestmark = [pytest.mark.slow, needs_node]

POLICIES = """
create policy own_read on realtime.messages for select to authenticated
using (realtime.topic() = 'own:' || (select auth.uid()));
create policy own_write on realtime.messages for insert to authenticated
with check (realtime.topic() = 'own:' || (select auth.uid()));
"""
SUBSCRIBED = ["SUBSCRIBED", None]
TOLD = {
    "joined": SUBSCRIBED,
    "by_http": "ok",
    "sent": "ok",
    "present": ["ann", "ben"],
    "removed": "ok",
    "moves": [
        ["join", "ann", 1],
        ["join", "ben", 2],
        ["leave", "ben", 2],
        ["join", "ben", 3],
        ["leave", "ben", 3],
    ],
    "changes": [
        ["INSERT", "a bear", [], "string"],
        ["UPDATE", "a wolf", ["id"], "string"],
        ["DELETE", None, ["id"], "string"],
    ],
    "system": [["postgres_changes", "ok", "Subscribed to PostgreSQL"]],
    "back": True,
    "unsubscribed": "ok",
    "all": [True, 0],
}
SHOUTS = [["http", {"n": 1}], ["frame", {"text": "ünï"}]]
LATER = {
    "shouts": [*SHOUTS, ["bytes", ["bytes", 0, 1, 255]]],
    "private": SUBSCRIBED,
    "private_sent": "ok",
    "secrets": [{"n": 1}],
    "refused": ["CHANNEL_ERROR", True],
}
"""What the oldest version has not: bytes, private channels."""


@pytest.mark.parametrize("version", VERSIONS)
def test_realtime_js(idle_edge: Edge, db: Database, version: str):
    db.execute(POLICIES.encode())
    user = idle_edge.user_id
    db.execute("insert into auth.users (id, email) values (%s, 'a@example.test')", (user,))
    told = run_node(
        "channels.mjs",
        idle_edge,
        idle_edge.user_token(),
        version,
        call=idle_edge.service_role_key,
    )
    is_oldest = version == VERSIONS[-1]
    assert told == TOLD | ({"shouts": SHOUTS} if is_oldest else LATER)

"""Two gateways on one database, a supabase-js client at each: broadcast, presence, and broadcasts of SQL."""

from collections.abc import Callable

import pytest

from tests.clients.node import needs_node, run_node
from tests.conftest import Database, Edge

pytestmark = [pytest.mark.slow, needs_node]

SAYS = """
create policy own_read on realtime.messages for select to authenticated using (realtime.topic() = 'own');
create function public.say_it(topic text) returns void language sql security definer set search_path = ''
as $$ select realtime.send('{"n": 1}'::jsonb, 'said', topic, true) $$;
grant execute on function public.say_it(text) to authenticated;
"""


def test_clients_of_two_gateways_hear_each_other(start_edge: Callable[..., Edge], db: Database):
    db.execute(SAYS.encode())
    one, other = start_edge(SERVE="realtime,rest"), start_edge(SERVE="realtime,rest")
    told = run_node("two.mjs", one, one.user_token(), call={"other": other.url, "secret": "own"})
    by_http = ["http", {"n": 1}]  # reaches its sender's channel as well
    said = ["said", {"n": 1}]
    assert told == {
        "heard": [[["back", {"text": "ünï"}], by_http], [by_http]],
        "present": ["a,b", "a,b"],
        "left": ["a", "a"],
        "secrets": [[said], [said]],
    }

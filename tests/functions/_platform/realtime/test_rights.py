"""Rights: nothing is heard that a SELECT under the claims would not show, nor told by filters, errors or timing."""

from collections.abc import Callable

import pytest

from tests.conftest import Database, Edge
from tests.functions._platform.realtime.conftest import (
    ME,
    OTHER,
    Socket,
    binding,
    token_of,
)

HELD = """
create function public.gate(role text) returns boolean language plpgsql volatile as $$
begin
    if current_setting('request.jwt.claims')::jsonb ->> 'slow' = role then
        perform pg_advisory_xact_lock_shared(42);
    end if;
    return true;
end $$;
"""
"""A policy's function that waits, for callers with the claim ``slow``, until the test lets it go."""


class Gate:
    """Closed until ``open``."""

    def __init__(self, db: Database, holder: Database) -> None:
        self._db = db
        self._holder = holder
        db.execute(HELD.encode())
        holder.execute("select pg_advisory_lock(42)")

    def wait(self) -> None:
        """Until a policy waits at it."""
        for _ in range(500):
            found = self._db.execute(
                "select pg_sleep(0.01), (select count(*) from pg_locks where locktype = 'advisory' and objid = 42"
                " and not granted and database = (select oid from pg_database where datname = current_database())) as n"
            ).fetchone()
            if found and found["n"]:
                return
        raise AssertionError("no policy waits")

    def open(self) -> None:
        self._holder.execute("select pg_advisory_unlock(42)")


@pytest.fixture
def gate(db: Database, connect: Callable[..., Database]) -> Gate:
    return Gate(db, connect())


def shout(edge: Edge, topic: str, *, private: bool) -> None:
    message = {"topic": topic, "event": "shout", "payload": {"secret": 1}, "private": private}
    answer = edge.client.post(
        f"{edge.url}/realtime/v1/api/broadcast",
        json={"messages": [message]},
        headers={"apikey": edge.service_role_key},
    )
    assert answer.status_code == 202


def test_nothing_is_heard_while_the_policies_are_still_asked(
    realtime: Edge, socket: Socket, db: Database, gate: Gate
):
    db.execute(
        "create policy p on realtime.messages for select to authenticated using (not gate('read'))"
    )
    payload = {"config": {"private": True}, "access_token": token_of(ME, slow="read")}
    socket.send("realtime:room", "phx_join", payload)
    gate.wait()
    shout(realtime, "room", private=True)
    gate.open()
    assert socket.next()["event"] == "phx_reply"
    assert socket.silent()


def test_presence_has_a_right_of_its_own(open_socket: Callable[..., Socket], db: Database):
    db.execute(
        "create policy r on realtime.messages for select to authenticated using (extension ="
        " any(string_to_array(current_setting('request.jwt.claims')::jsonb ->> 'reads', ',')));"
    )
    db.execute("create policy w on realtime.messages for insert to authenticated with check (true)")
    here, blind, deaf = open_socket(), open_socket(), open_socket()
    presence = {"key": "me", "enabled": True}
    here.join("room", token_of(ME, reads="broadcast,presence"), private=True, presence=presence)
    assert here.next()["event"] == "presence_state"
    blind.join("room", token_of(ME, reads="broadcast"), private=True, presence=presence)
    deaf.join("room", token_of(ME, reads="presence"), private=True, presence=presence)
    assert deaf.next()["event"] == "presence_state"
    here.send("realtime:room", "presence", {"event": "track", "payload": {"n": 1}})
    assert deaf.next()["event"] == "presence_diff"
    here.send("realtime:room", "broadcast", {"type": "broadcast", "event": "x", "payload": {}})
    assert blind.next()["event"] == "broadcast"
    assert deaf.silent()


def test_private_may_be_a_text(socket: Socket):
    assert socket.join("room", token_of(ME), private="true")["status"] == "error"


def test_a_filter_on_a_column_without_the_right_is_refused(
    socket: Socket, db: Database, notes: Callable[..., None]
):
    db.execute("revoke select on notes from authenticated")
    db.execute("grant select (id, owner) on notes to authenticated")
    socket.join("notes", token_of(ME), postgres_changes=[binding(filter="text=eq.hello")])
    told = socket.next()["payload"]
    assert told["status"] == "error"
    assert told["message"].endswith("Exception: invalid column for filter text")


def test_a_filter_tells_nothing_of_a_column_after_the_right_is_revoked(
    open_socket: Callable[..., Socket], db: Database, notes: Callable[..., None]
):
    asking, other = open_socket(), open_socket()
    for socket, asked in ((asking, binding(filter="text=eq.hello")), (other, binding())):
        socket.join("notes", token_of(ME), postgres_changes=[asked])
        socket.until("system")
    db.execute("revoke select on notes from authenticated")
    db.execute("grant select (id, owner) on notes to authenticated")
    notes(1)
    assert other.next()["payload"]["data"]["record"] == {"id": 1, "owner": ME}
    assert asking.silent()


def test_a_setting_made_by_one_callers_policy_is_not_the_next_callers(
    open_socket: Callable[..., Socket], db: Database, notes: Callable[..., None]
):
    """As helpers do that look the user up once a transaction."""
    db.execute("""
        create function me() returns uuid language plpgsql as $$
        begin
            if coalesce(current_setting('app.me', true), '') = '' then
                perform set_config('app.me', current_setting('request.jwt.claims')::jsonb ->> 'sub', false);
            end if;
            return current_setting('app.me')::uuid;
        end $$;
        drop policy own on notes;
        create policy own on notes for select to authenticated using (owner = me());
    """)
    mine, others = open_socket(), open_socket()
    for socket, user in ((mine, ME), (others, OTHER)):
        socket.join("notes", token_of(user), postgres_changes=[binding()])
        socket.until("system")
    for number, owner in ((1, ME), (2, OTHER)):
        notes(number, owner)
    assert mine.next()["payload"]["data"]["record"]["id"] == 1
    assert others.next()["payload"]["data"]["record"]["id"] == 2
    assert mine.silent()
    assert others.silent()


def test_a_token_renewed_while_a_change_is_under_way_decides_about_it(
    socket: Socket, db: Database, notes: Callable[..., None], gate: Gate
):
    db.execute("create policy slow on notes as restrictive for select using (gate('rows'))")
    socket.join("notes", token_of(OTHER, slow="rows"), postgres_changes=[binding()])
    socket.until("system")
    notes(1, OTHER)
    notes(2)
    gate.wait()
    socket.send("realtime:notes", "access_token", {"access_token": token_of(ME)})
    assert socket.silent()
    gate.open()
    assert socket.next()["payload"]["data"]["record"]["id"] == 2
    assert socket.silent()


def test_a_policy_that_raises_hides_its_rows_and_disturbs_nobody(
    open_socket: Callable[..., Socket], db: Database, notes: Callable[..., None]
):
    db.execute(
        "create policy fails on notes as restrictive for select"
        " using (1 / (case when current_setting('request.jwt.claims')::jsonb ? 'bad' then 0 else 1 end) = 1)"
    )
    sockets = [open_socket() for _ in range(4)]
    for number, socket in enumerate(sockets):
        claims = {"bad": 1} if number == 2 else {"n": number}
        socket.join("notes", token_of(ME, **claims), postgres_changes=[binding()])
        socket.until("system")
    notes(1)
    for number, socket in enumerate(sockets):
        if number == 2:
            assert socket.silent()
        else:
            assert socket.next()["payload"]["data"]["record"]["id"] == 1


def test_a_table_without_a_key_tells_nothing_by_filters(socket: Socket, db: Database):
    db.execute("create table keyless (secret text); alter table keyless enable row level security")
    db.execute("grant select on keyless to authenticated")
    db.execute("alter publication supabase_realtime add table keyless")
    asked = [
        {"event": "INSERT", "schema": "public", "table": "keyless", "filter": f"secret=eq.{word}"}
        for word in ("right", "wrong")
    ]
    reply = socket.join("keyless", token_of(ME), postgres_changes=asked)
    socket.until("system")
    db.execute("insert into keyless values ('right')")
    frame = socket.next()["payload"]
    assert frame["data"]["errors"] == ["Error 400: Bad Request, no primary key"]
    assert sorted(frame["ids"]) == sorted(
        one["id"] for one in reply["response"]["postgres_changes"]
    )


def test_old_rows(socket: Socket, db: Database, notes: Callable[..., None]):
    """With replica identity full an UPDATE has the whole old row; a deleted one its key, with row level security."""
    db.execute("alter table notes replica identity full")
    db.execute("revoke select on notes from authenticated")
    db.execute("grant select (id, owner, text) on notes to authenticated")
    notes(1, score=5)
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    socket.until("system")
    db.execute("update notes set text = 'new'")
    data = socket.next()["payload"]["data"]
    assert data["old_record"] == {"id": 1, "owner": ME, "text": "hello"}
    db.execute("delete from notes")
    assert socket.next()["payload"]["data"]["old_record"] == {"id": 1}


@pytest.mark.parametrize("role", ["none", "a\0b", "\ud800"])
def test_a_token_for_the_logins_own_role_is_refused(socket: Socket, role: str):
    reply = socket.join("room", token_of(ME, role=role))
    assert reply["response"]["reason"].startswith("InvalidJWTToken")

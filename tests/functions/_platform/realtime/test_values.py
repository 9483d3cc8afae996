"""Values as Supabase sends them: ``to_jsonb`` of each, which the clients convert by the column's type."""

from collections.abc import Callable

import pytest

from tests.conftest import Database
from tests.functions._platform.realtime.conftest import ME, Socket, binding, token_of

VALUES = {
    "int2": ("-1", -1),
    "int8": ("9007199254740993", 9007199254740993),
    "numeric": ("1.50", 1.5),
    "numeric(4,1)": ("NaN", "NaN"),
    "float4": ("1.5", 1.5),
    "float8": ("-Infinity", "-Infinity"),
    "oid": ("7", "7"),
    "money": ("1", "$1.00"),
    "bool": ("f", False),
    "text": ('a"b\\\\', 'a"b\\\\'),
    "varchar": ("", ""),
    "char(3)": ("abc", "abc"),
    "name": ("n", "n"),
    "uuid": ("00000000-0000-4000-8000-000000000000",) * 2,
    "date": ("2026-11-23",) * 2,
    "time": ("10:00:00.5",) * 2,
    "timestamp": ("2026-11-23 10:00:00.123456", "2026-11-23T10:00:00.123456"),
    "timestamptz": ("2026-11-23 10:00:00+05:30", "2026-11-23T04:30:00+00:00"),
    "timestamptz(0)": ("infinity", "infinity"),
    "interval": ("1 day 02:00", "1 day 02:00:00"),
    "json": ('{"a": 1.0}', {"a": 1.0}),
    "jsonb": ("[null, true]", [None, True]),
    "bytea": ("\\x00ff", "00ff"),
    "mood": ("happy", "happy"),
    "positive": ("5", 5),
    "documents": ('{"a": 1}', {"a": 1}),
    "inet": ("10.0.0.1/8",) * 2,
    "point": ("(1,2)",) * 2,
    "int4range": ("[1,5)",) * 2,
    "int4[]": ("{{1,2},{3,NULL}}", [[1, 2], [3, None]]),
    "text[]": ('{a,"b,c",NULL,"NULL",""}', ["a", "b,c", None, "NULL", ""]),
    "bool[]": ("[2:3]={t,f}", [True, False]),
    "timestamptz[]": ('{"2026-11-23 10:00:00+00"}', ["2026-11-23T10:00:00+00:00"]),
    "jsonb[]": ('{"{\\"a\\": [1]}"}', [{"a": [1]}]),
    "mood[]": ("{happy,sad}", ["happy", "sad"]),
}


@pytest.mark.parametrize("realtime", [{}, {"REALTIME_CHANGES": "triggers"}], indirect=True)
def test_values_of_each_type(socket: Socket, db: Database, realtime: object):
    db.execute("""
        create type mood as enum ('happy', 'sad');
        create domain positive as int check (value > 0);
        create domain documents as jsonb;
    """)
    columns = [f"c{number}" for number in range(len(VALUES))]
    typed = ", ".join(f"{name} {kind}" for name, kind in zip(columns, VALUES, strict=True))
    db.execute(f"create table every (id int primary key, nothing int, {typed})".encode())
    db.execute("grant select on every to authenticated")
    db.execute("alter publication supabase_realtime add table every")
    asked = {"event": "INSERT", "schema": "public", "table": "every"}
    socket.join("every", token_of("00000000-0000-4000-8000-000000000001"), postgres_changes=[asked])
    assert socket.until("system")["payload"]["status"] == "ok"
    places = ", ".join(["%s"] * len(columns))
    db.execute(
        f"insert into every (id, {', '.join(columns)}) values (1, {places})".encode(),
        [text for text, _ in VALUES.values()],
    )
    data = socket.next()["payload"]["data"]
    record = data["record"]
    wanted = {kind: value for kind, (_, value) in VALUES.items()}
    assert {kind: record[name] for name, kind in zip(columns, VALUES, strict=True)} == wanted
    assert record["nothing"] is None
    types = {one["name"]: one["type"] for one in data["columns"]}
    short = dict(zip(VALUES, (types[name] for name in columns), strict=True))
    assert (short["int4[]"], short["char(3)"], short["timestamptz(0)"], short["mood"]) == (
        "_int4", "bpchar", "timestamptz", "mood"
    )  # fmt: skip
    # As upstream casts: to_jsonb of the value. wal2json, which it reads, leaves out the \x of bytea.
    for name, kind in zip(columns, VALUES, strict=True):
        row = db.execute(f"select to_jsonb({name}) as it from every".encode()).fetchone()
        assert row
        assert record[name] == (row["it"] if kind != "bytea" else row["it"].removeprefix("\\x"))


def test_a_large_record_is_cut_and_says_so(
    socket: Socket, notes: Callable[..., None], db: Database
):
    db.execute("alter table notes alter column text set storage external")
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    socket.until("system")
    notes(1, text="x" * 1_100_000, tags=["short"])
    data = socket.next()["payload"]["data"]
    assert data["errors"] == ["Error 413: Payload Too Large"]
    assert "text" not in data["record"]
    assert (data["record"]["id"], data["record"]["tags"]) == (1, ["short"])
    db.execute("update notes set done = true")
    data = socket.next()["payload"]["data"]
    assert data["errors"] == ["Error 413: Payload Too Large"]

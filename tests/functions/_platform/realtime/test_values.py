"""Values as Supabase sends them: ``to_jsonb`` of each, which the clients convert by the column's type."""

import json
from collections.abc import Callable

import pytest

from functions._platform.realtime.changes.shapes import Shape
from functions._platform.realtime.changes.tables import Column
from functions._platform.realtime.changes.values import as_json
from tests.conftest import Database
from tests.functions._platform.realtime.conftest import ME, Socket, binding, token_of

PLACE = {
    "name": 'a "b", c', "far": 2.5e9, "rooms": [1, 2], "open": True, "more": {"x": 1}, "seen": None
}  # fmt: skip
VALUES = {
    "int2": ("-1", -1),
    "int8": ("9007199254740993", 9007199254740993),
    "numeric": ("1.50", 1.5),
    "numeric(4,1)": ("NaN", "NaN"),
    "float4": ("1.5", 1.5),
    "numeric(40,20)": ("12345678901234567890.12345678901234567890", 12345678901234567890.123456789),
    "numeric(30,0)": ("-1e20", -100000000000000000000),
    "float8": ("-Infinity", "-Infinity"),
    # The nearest float4 is 15000000512. PostgreSQL writes the shortest decimal strictly inside its rounding interval,
    # which excludes 15000000000: that is the boundary, halfway to 14999999488.
    "real": ("1.5e10", 15000001000),
    "float(24)": ("1.1754944e-38", 1.1754944e-38),
    "double precision": ("1e22", 1e22),
    "float(53)": ("-2.5e-10", -2.5e-10),
    "oid": ("7", "7"),
    "money": ("1", "$1.00"),
    "bool": ("f", False),
    "text": ('a"b\\\\', 'a"b\\\\'),
    "varchar": ("", ""),
    "char(3)": ("abc", "abc"),
    "char(5)": ("ab", "ab   "),
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
    "bytea[]": ('{"\\\\x00ff"}', ["\\x00ff"]),
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
    "float4[]": ("{2.5e9,NaN,-Infinity,NULL,1e-7}", [2.5e9, "NaN", "-Infinity", None, 1e-7]),
    "float8[]": ("{1e+22,Infinity}", [1e22, "Infinity"]),
    "numeric[]": ("{NaN,1.50}", ["NaN", 1.5]),
    "char(4)[]": ("{a,NULL}", ["a   ", None]),
    "box[]": ("{(2,2),(1,1);NULL;(4,4),(3,3)}", ["(2,2),(1,1)", None, "(4,4),(3,3)"]),
    "positive[]": ("{5,6}", [5, 6]),
    "many": ("{1,2}", [1, 2]),
    "place": ('("a ""b"", c",2.5e+09,"{1,2}",t,"{""x"": 1}",)', PLACE),
    "place[]": ('{"(a,,,,,)",NULL}', [dict.fromkeys(PLACE) | {"name": "a"}, None]),
    "inside": (
        '(7,"(a,1,,,,""2026-11-23 10:00:00"")")',
        {
            "id": 7,
            "at": dict.fromkeys(PLACE) | {"name": "a", "far": 1, "seen": "2026-11-23T10:00:00"},
        },
    ),
    "box": ("(2,2),(1,1)", "(2,2),(1,1)"),
    "int2vector": ("1 2", [1, 2]),
    "citynames": ("(x)", {"name": "x"}),
}


@pytest.mark.parametrize("realtime", [{}, {"REALTIME_CHANGES": "triggers"}], indirect=True)
def test_values_of_each_type(socket: Socket, db: Database, realtime: object):
    db.execute("""
        create type mood as enum ('happy', 'sad');
        create domain positive as int check (value > 0);
        create domain documents as jsonb;
        create domain many as int[];
        create type place as (name text, far float4, rooms int[], open bool, more jsonb, seen timestamp);
        create type inside as (id int, at place);
        create type citynames as (name char(1));
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


@pytest.mark.parametrize("realtime", [{}, {"REALTIME_CHANGES": "triggers"}], indirect=True)
def test_a_key_of_padded_characters(socket: Socket, db: Database, realtime: object):
    """A cast to "character" without a length keeps one character: the row would not be found."""
    db.execute("create table coded (code char(4) primary key, n int, bits bit(3))")
    db.execute("grant select on coded to authenticated")
    db.execute("alter publication supabase_realtime add table coded")
    asked = {"event": "*", "schema": "public", "table": "coded", "filter": "code=eq.ab"}
    socket.join("coded", token_of(ME), postgres_changes=[asked])
    assert socket.until("system")["payload"]["status"] == "ok"
    db.execute("insert into coded values ('ax', 1, '000'), ('ab', 2, '101')")
    record = socket.next()["payload"]["data"]["record"]
    assert record == {"code": "ab  ", "n": 2, "bits": "101"}
    assert socket.silent()


def test_long_values_that_did_not_change_have_the_same_form(
    socket: Socket, db: Database, realtime: object
):
    db.execute("create type pair as (a text, at timestamptz)")
    db.execute("create table long (id int primary key, n int, bytes bytea, pair pair)")
    db.execute("alter table long alter bytes set storage external, alter pair set storage external")
    db.execute("grant select on long to authenticated")
    db.execute("alter publication supabase_realtime add table long")
    asked = {"event": "*", "schema": "public", "table": "long"}
    socket.join("long", token_of(ME), postgres_changes=[asked])
    assert socket.until("system")["payload"]["status"] == "ok"
    db.execute(
        "insert into long values (1, 1, repeat('x', 3000)::bytea, row(repeat('y', 3000), '2026-11-23 10:00Z'))"
    )
    db.execute("update long set n = 2")
    first, second = (socket.next()["payload"]["data"]["record"] for _ in range(2))
    assert first["bytes"] == "78" * 3000
    assert second == first | {"n": 2}


def test_a_value_of_another_type_than_the_catalogue_is_text():
    pair = Shape("pair", fields=(("a", Shape("int4")), ("b", Shape("int4"))))
    column = Column("c", "pair", 1, pair, "pair", "pair", is_key=False, is_enum=False)
    for text in ("(1)", "(1,2,3)", "(1", '("1', "", "1"):
        assert as_json(text, column) == json.dumps(text)
    assert as_json("(1,)", column) == '{"a":1,"b":null}'

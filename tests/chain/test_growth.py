"""A later migration adds columns: older rows stay verifiable, newer ones cover them."""

from __future__ import annotations

import psycopg
import pytest

from tests.chain.by_force import behind_its_back, broken_in_python, judge, places, rehash, undone
from tests.support import Connection, fill, make_signal, one, query

# A column's definition, and another value than its default.
COLUMNS = {
    "nullable text": ("text", "''"),
    "constant default": ("text not null default 'none'", "null"),
    "not null number": ("integer not null default 7", "8"),
    "plain numeric": ("numeric default 1.0", "1.00"),
    "numeric(10,2)": ("numeric(10,2) default 1", "1.01"),
    "exact decimal": ("decimal_28_10 default 1.0", "2"),
    "bytea": (r"bytea default '\x00ff5c'", r"'\x00ff'"),
    "timestamptz": ("timestamptz default '2026-01-01 12:00:00.5+00'", "'2026-01-01 12:00:00+00'"),
    "timestamp": ("timestamp default '2026-01-01 12:00'", "'infinity'"),
    "date": ("date default '2026-01-31'", "'2026-02-01'"),
    "float8": ("float8 default 0.1", "0.30000000000000004"),
    "float4": ("real default 1.1", "'NaN'"),
    "interval": ("interval default '1 day 2 hours'", "'26 hours'"),
    "boolean": ("boolean not null default false", "true"),
    "uuid": ("uuid", "'6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f'"),
    "inet": ("inet default '10.0.0.0/8'", "'10.0.0.0'"),
    "jsonb": ("""jsonb default '{"n": 1.50}'""", """'{"n": 1.5}'"""),
    "json": ("""json default '{"n":   1}'""", """'{"n":2}'"""),
    "array": ("text[] default '{a,null,\"b,c\"}'", "'{}'"),
    "array of numbers": ("numeric[] default '{{1.0,2},{3,4}}'", "'{{1.0,2},{3,5}}'"),
    "char(n)": ("char(8) default 'ab'", "'abc'"),
    'named "Odd, name"': ("text default 'x'", "'y'"),
}
OTHER_SETTINGS = (
    "timezone = 'Africa/Johannesburg'",
    "datestyle = 'SQL, DMY'",
    "bytea_output = 'escape'",
    "extra_float_digits = -3",
    "intervalstyle = 'iso_8601'",
)


def extend(connection: Connection, table: str = "signals") -> None:
    """As a migration does it, though under settings that a migration's author would not think of."""
    with connection.transaction():
        for setting in OTHER_SETTINGS:
            query(connection, f"set local {setting}")
        query(connection, "set local role alpha_owner")
        query(connection, "select chain_extend(%s)", [table])


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_every_kind(db: Connection, kind: str) -> None:
    definition, other = COLUMNS[kind]
    name = '"Odd, name"' if "Odd" in kind else "added"
    for n in (1, 2):
        make_signal(db, n)
    query(db, f"alter table signals add column {name} {definition}")
    assert judge(db, "signals").verdict == "intact", "before chain_extend"
    extend(db)
    for n in (3, 4):
        assert make_signal(db, n)["is_new"] is True
    assert make_signal(db, 4)["is_new"] is False
    if kind != "constant default":  # whose other value is a null, which is only forced
        columns = f"signal_id, symbol, side, price, quantity, raw_payload, {name}"
        query(db, f"insert into signals ({columns}) values ('other', 'X', 'BUY', 1, 1, '{{}}', {other})")
    assert places(db, "signals") == []
    assert judge(db, "signals").verdict == "intact"
    assert broken_in_python(db, "signals") is None
    data = {row["id"]: row["row_data"] for row in query(db, "select id, row_data from chain_rows('signals')")}
    key = f'"{name.strip(chr(34))}":'
    assert key not in data[2]
    assert key in data[3]
    with behind_its_back(db, "signals"):
        for row_id in (1, 2, 3, 4):
            with undone(db):
                query(db, f"update signals set {name} = {other} where id = %s", [row_id])
                assert places(db, "signals") == [(row_id, "content_mismatch")], f"row {row_id}"
                assert broken_in_python(db, "signals") == row_id


def test_a_chain_may_grow_more_than_once(db: Connection) -> None:
    make_signal(db, 1)
    for number, definition in ((2, "text"), (3, "integer not null default 3"), (4, "boolean default true")):
        query(db, f"alter table signals add column added_{number} {definition}")
        extend(db)
        make_signal(db, number)
    entries = query(
        db,
        "select from_id, column_names, older_values from chain_columns where table_name = 'signals' order by id",
    )
    assert [entry["from_id"] for entry in entries] == [1, 2, 3, 4]
    assert [entry["column_names"][-1] for entry in entries] == [
        "recorded_by",
        "added_2",
        "added_3",
        "added_4",
    ]
    assert [entry["older_values"] for entry in entries] == [
        {},
        {"added_2": None},
        {"added_3": 3},
        {"added_4": True},
    ]
    assert judge(db, "signals").verdict == "intact"
    assert judge(db, "chain_columns").verdict == "intact"
    assert broken_in_python(db, "signals") is None
    with behind_its_back(db, "signals"):
        for row_id, column, other in (
            (1, "added_4", "false"),
            (2, "added_3", "4"),
            (3, "added_2", "'x'"),
            (2, "added_2", "'x'"),
        ):
            with undone(db):
                query(db, f"update signals set {column} = {other} where id = %s", [row_id])
                assert places(db, "signals") == [(row_id, "content_mismatch")]
                assert broken_in_python(db, "signals") == row_id


def test_two_columns_at_once_and_two_steps_without_a_row_between(db: Connection) -> None:
    make_signal(db, 1)
    query(db, "alter table signals add column a text default 'a', add column b text")
    extend(db)
    query(db, "alter table signals add column c integer default 5")
    extend(db)
    make_signal(db, 2)
    assert judge(db, "signals").verdict == "intact"
    assert broken_in_python(db, "signals") is None
    for column in ("a", "b", "c"):
        with behind_its_back(db, "signals"):
            query(db, f"update signals set {column} = '9' where id = 1")
            assert places(db, "signals") == [(1, "content_mismatch")]


def test_an_empty_chain_may_grow(db: Connection) -> None:
    query(db, "alter table signals add column added uuid not null default gen_random_uuid()")
    extend(db)
    make_signal(db, 1)
    make_signal(db, 2)
    assert judge(db, "signals").verdict == "intact"
    assert broken_in_python(db, "signals") is None


def test_the_other_chains_may_grow_too(db: Connection) -> None:
    for number, table in enumerate(
        (
            "webhook_deliveries",
            "ai_debates",
            "order_execution",
            "order_events",
            "risk_decisions",
            "lockdown_events",
            "chain_columns",
        )
    ):
        fill(db, first=number * 10 + 1)
        query(db, f"alter table {table} add column added numeric default 1.50")
        extend(db, table)
    fill(db, first=90)
    for table in (
        "webhook_deliveries",
        "signals",
        "ai_debates",
        "order_execution",
        "order_events",
        "lockdown_events",
        "chain_columns",
    ):
        assert judge(db, table).verdict == "intact"
        assert broken_in_python(db, table) is None


def test_a_new_column_may_have_any_name(db: Connection) -> None:
    """Also one that the generated code uses itself."""
    names = [
        "r",
        "c",
        "e1",
        "e2",
        "t",
        "tail_id",
        "tail_hash",
        "new",
        "row_data",
        "table_name",
        "k",
        "l",
        "n",
    ]
    make_signal(db, 1)
    for row_id, name in enumerate(names, start=2):
        query(db, f'alter table signals add column "{name}" text')
        extend(db)
        make_signal(db, row_id)
        assert judge(db, "signals").verdict == "intact", name
    assert broken_in_python(db, "signals") is None
    for row_id, name in enumerate(names, start=2):
        with behind_its_back(db, "signals"):
            query(db, f"""update signals set "{name}" = 'x' where id = %s""", [row_id])
            assert places(db, "signals") == [(row_id, "content_mismatch")], name


def test_extending_twice_changes_nothing(db: Connection) -> None:
    make_signal(db, 1)
    query(db, "alter table signals add column added text")
    extend(db)
    before = query(db, "select * from chain_columns")
    body = one(db, "select prosrc from pg_proc where proname = '_chain_signals'")
    extend(db)
    assert query(db, "select * from chain_columns") == before
    assert one(db, "select prosrc from pg_proc where proname = '_chain_signals'") == body


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("add column added uuid default gen_random_uuid()", "older rows hold different values"),
        ("add column added timestamptz default clock_timestamp()", "older rows hold different values"),
        ("drop column symbol cascade", "only be added at the end"),
        ("drop column symbol cascade, add column symbol varchar(20)", "only be added at the end"),
        ("rename column symbol to instrument", "only be added at the end"),
        ("add column added text generated always as (upper(symbol)) stored", "generated"),
        ("add column added money", "money"),
        ("add column added point", "point"),
        ("add column added xml", "xml"),
        ("add column added int4range", "int4range"),
        ("add column added regclass", "regclass"),
        ("add column added chains", "chains"),
        ("add column added point[]", "point"),
    ],
)
def test_what_a_chain_can_not_grow_is_refused(db: Connection, change: str, message: str) -> None:
    for n in (1, 2, 3):
        make_signal(db, n)
    with undone(db):
        query(db, f"alter table signals {change}")
        with pytest.raises(psycopg.DatabaseError, match=message), db.transaction():
            extend(db)
        assert one(db, "select count(*) from chain_columns where table_name = 'signals'") == 1


def test_growing_an_unknown_chain_is_refused(db: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        extend(db, "installation")


def test_a_column_that_the_chain_was_not_told_of_is_not_hashed_yet(db: Connection) -> None:
    make_signal(db, 1)
    query(db, "alter table signals add column added text default 'x'")
    make_signal(db, 2)
    assert '"added"' not in one(db, "select row_data from chain_rows('signals', 2)")
    assert judge(db, "signals").verdict == "intact"
    assert judge(db, "signals", from_id=None).verdict == "guard_changed"
    extend(db)
    make_signal(db, 3)
    assert '"added"' in one(db, "select row_data from chain_rows('signals', 3)")
    assert judge(db, "signals").verdict == "intact"


def test_shifting_the_start_of_an_entry_is_found(db: Connection) -> None:
    """Whoever pretends that a row was hashed without the new column changes chain_columns, which is chained."""
    make_signal(db, 1)
    query(db, "alter table signals add column added text")
    extend(db)
    for n in (2, 3):
        make_signal(db, n)
    with behind_its_back(db, "signals", "chain_columns"):
        entry = one(db, "select max(id) from chain_columns")
        query(db, "update chain_columns set from_id = 3 where id = %s", [entry])
        assert judge(db, "chain_columns").broken_id == entry
        assert judge(db, "signals").broken_id == 2
        rehash(db, "signals", 2)
        assert judge(db, "signals").verdict == "intact"
        assert judge(db, "chain_columns").broken_id == entry


def test_a_row_before_the_first_is_found_in_a_grown_chain_too(db: Connection) -> None:
    make_signal(db, 1)
    query(db, "alter table signals add column added text")
    extend(db)
    make_signal(db, 2)
    with behind_its_back(db, "signals"):
        query(db, "update signals set id = 0 where id = 1")
        assert (0, "content_mismatch") in places(db, "signals")
        assert broken_in_python(db, "signals") == 0

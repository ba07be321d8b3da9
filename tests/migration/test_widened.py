"""A column that was widened stays so: beside another desk, in a dump, and when migrations are applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.migration.desk import MIGRATION, Desk, facts, last_writes
from tests.support import VARCHARS, Connection, assert_healthy, make_signal, one, query, quote

Root = Callable[[Desk], Connection]
Before = Callable[[str], Desk]

LONG = "S" * 40


def widen(connection: Connection, length: int = 40, column: str = "symbol") -> None:
    with connection.transaction():
        connection.execute("set local alpha.maintenance = 'longer symbols'")
        query(connection, "select widen_column('signals', %s, %s)", [column, length])


def lengths(connection: Connection) -> dict[str, int]:
    """How many characters each column of signals takes."""
    return {row["column"]: row["length"] for row in query(connection, VARCHARS) if row["table"] == "signals"}


def test_only_the_desk_that_was_asked_gets_it(installed: Desk, root: Root) -> None:
    """Two desks of the same roles in one database; the name of one needs quotes."""
    a, b = replace(installed, schema='Desk "A"'), installed
    root(b).execute(f"create schema {quote(a.schema)}")
    a.migrate()
    widened, other = root(a), root(b)
    before = last_writes(other, b.schema)
    query(widened, "select set_config('alpha.maintenance', 'longer symbols', false)")
    assert one(widened, "select widen_column('signals', 'symbol', 40)") == 20
    tables = [key for key in before if not key.startswith("pg_") or key in ("pg_attribute", "pg_class")]
    after = last_writes(other, b.schema)
    assert {key: after[key] for key in tables} == {key: before[key] for key in tables}
    make_signal(widened, symbol=LONG)
    assert (lengths(widened)["symbol"], lengths(other)["symbol"]) == (40, 20)
    for connection in (widened, other):
        assert_healthy(connection)


def test_a_dump_has_the_length_and_the_guards(
    installed: Desk, make_database: Callable[..., str], root: Root, tmp_path: Path
) -> None:
    written = root(installed)
    widen(written)
    make_signal(written, symbol=LONG)
    target = replace(installed, dbname=make_database())
    file = tmp_path / "dump"
    server = installed.server
    server.program("pg_dump", "-Fc", "-f", file, "-d", server.dsn(installed.dbname))
    server.program("pg_restore", "--exit-on-error", "-1", "-d", server.dsn(target.dbname), file)
    restored = root(target)
    assert facts(restored) == facts(written)
    assert_healthy(restored)
    widen(restored, 50)
    make_signal(restored, 2, symbol=LONG + "x")
    assert_healthy(restored)


def test_migrations_again_write_nothing(installed: Desk, root: Root) -> None:
    connection = root(installed)
    widen(connection)
    before = last_writes(connection, "public")
    installed.migrate()
    assert last_writes(connection, "public") == before
    assert lengths(connection)["symbol"] == 40


# From 005 on, all of them run: each alone is the last step of that.
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number == "005" else pytest.mark.long)
        for number in MIGRATION
        if int(number) > 4
    ],
)
def test_later_migrations_keep_the_length(number: str, installed_before: Before, root: Root) -> None:
    desk = installed_before(number)
    connection = root(desk)
    for column, length in lengths(connection).items():
        widen(connection, length + 1, column)
    before = lengths(connection)
    desk.migrate([n for n in MIGRATION if int(n) >= int(number)])
    assert lengths(connection) == before
    assert_healthy(connection)

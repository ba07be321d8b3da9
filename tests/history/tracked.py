"""What the tests of a history ask: differences, the table as it was, a tracked table of many kinds of column."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support import Connection, Row, one, query, verdicts

POSITIONS = """
    create table positions (account integer not null, symbol text not null, quantity numeric not null, note text,
                            constraint positions_pkey primary key (account, symbol));
    insert into positions values (1, 'BTC', 1.50, null), (1, 'ETH', 20, 'hedge'), (2, 'BTC', -0.25, null);
"""


def track(connection: Connection, table: str = "positions", *exclude: str) -> int:
    """Track a table; gives how many rows it has."""
    count = one(connection, "select track_table(%s::text::regclass, %s)", [table, list(exclude) or None])
    assert isinstance(count, int)
    return count


def positions(connection: Connection, *exclude: str) -> Connection:
    """A tracked table `positions` of three rows."""
    connection.execute(POSITIONS)
    track(connection, "positions", *exclude)
    return connection


def differences(connection: Connection, table: str | None = None) -> list[tuple[str, Any]]:
    """Problem and key of each row of verify_tracked."""
    found = query(connection, "select problem, key from verify_tracked(%s)", [table])
    return sorted(((row["problem"], row["key"]) for row in found), key=in_order)


def in_order(difference: tuple[str, Any]) -> str:
    """By the text of the key: problems of one kind have no order that a test could rely on."""
    return str((difference[0], sorted((difference[1] or {}).items())))


def entries(connection: Connection, table: str = "public.positions") -> list[Row]:
    """The history of a table, without the snapshot."""
    return query(
        connection,
        "select operation, key, other_key, old_row, new_row, changed_columns, recorded_by, acting_role,"
        " application_name, transaction_id, created_at from table_changes"
        " where table_name = %s and operation not in ('TRACK', 'SNAPSHOT') order by id",
        [table],
    )


def rows_as_of(connection: Connection, table: str, moment: object) -> list[dict[str, str | None]]:
    """The rows of a table as they were at a moment."""
    found = query(connection, "select r as row from table_as_of(%s, %s) as r", [table, moment])
    return [row["row"] for row in found]


def history_verdict(connection: Connection) -> tuple[str, str | None, bool | None]:
    """Verdict, code and validity of table_changes."""
    verdict = verdicts(connection, engage_lockdown=False)["table_changes"]
    return verdict.verdict, verdict.error_code, verdict.is_valid


@contextmanager
def behind_the_triggers(connection: Connection, table: str = "positions") -> Iterator[None]:
    """With the history's triggers off, as only the table's owner or a superuser can; they are put back."""
    names = ("_000_alpha_history", "_000_alpha_history_lock", "_000_alpha_history_truncate")
    for name in names:
        connection.execute(f"alter table {table} disable trigger {name}")
    yield
    for name in names:
        connection.execute(f"alter table {table} enable always trigger {name}")

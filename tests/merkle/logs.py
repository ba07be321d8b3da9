"""Filling logs, and asking the functions of 006 what the reference is asked."""

from __future__ import annotations

from collections.abc import Iterable

from tests.merkle.reference import Tree
from tests.support import Connection, one, query, quote

#: A chained table with nothing but its primary key, so that many rows are quick to make.
WIDE = "maintenance_events"


def write_signals(connection: Connection, rows: int, first: int = 1) -> None:
    """Signals in one statement, through the chain."""
    query(
        connection,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 'log-' || i, 'BTCUSD', 'BUY', 1, 1, '{}' from generate_series(%s::bigint, %s) as i",
        [first, first + rows - 1],
    )


def pour(connection: Connection, rows: int, table: str = WIDE) -> None:
    """Rows with made-up hashes behind the last, without the chain: a log asks no more of a row than its row_hash."""
    assert table == WIDE
    with connection.transaction():
        query(connection, "set local session_replication_role = replica")
        query(
            connection,
            f"insert into {table} (id, reason, command_tag, object_identity, recorded_by, row_hash, created_at)"
            " select i, 'poured', 'x', 'y', 'z', encode(sha256(convert_to(i::text, 'UTF8')), 'hex'), now()"
            f" from generate_series((select coalesce(max(id), 0) + 1 from {table}),"
            f"                      (select coalesce(max(id), 0) + %s from {table})) as i",
            [rows],
        )


def tree_of(connection: Connection, table: str) -> Tree:
    """The reference's tree over the hashes that the table holds."""
    rows = connection.execute(f"select row_hash from {quote(table)} order by id").fetchall()
    return Tree([bytes.fromhex(row[0]) for row in rows])


def root(connection: Connection, table: str, size: int) -> bytes:
    return bytes(one(connection, "select log_root(%s, %s)", [table, size]))


def inclusions(connection: Connection, table: str, wanted: Iterable[tuple[int, int]]) -> list[list[bytes]]:
    """inclusion_proof of each (leaf index, size), in one statement."""
    pairs = list(wanted)
    rows = connection.execute(
        "select inclusion_proof(%s, w.index + 1, w.size)"
        " from unnest(%s::bigint[], %s::bigint[]) with ordinality as w(index, size, place) order by w.place",
        [table, [index for index, _ in pairs], [size for _, size in pairs]],
    ).fetchall()
    return [row[0] for row in rows]


def consistencies(connection: Connection, table: str, wanted: Iterable[tuple[int, int]]) -> list[list[bytes]]:
    """consistency_proof of each (size1, size2), in one statement."""
    pairs = list(wanted)
    rows = connection.execute(
        "select consistency_proof(%s, w.size1, w.size2)"
        " from unnest(%s::bigint[], %s::bigint[]) with ordinality as w(size1, size2, place) order by w.place",
        [table, [size1 for size1, _ in pairs], [size2 for _, size2 in pairs]],
    ).fetchall()
    return [row[0] for row in rows]


def array_text(hashes: Iterable[bytes]) -> str:
    """bytea[] as text, so that many of different lengths go into one parameter."""
    return "{" + ",".join(rf'"\\x{h.hex()}"' for h in hashes) + "}"


def seal(
    connection: Connection, table: str | None = None, max_rows: int | None = None
) -> list[tuple[str, int, int]]:
    """The rows of seal_log."""
    found = query(connection, "select * from seal_log(%s, %s)", [table, max_rows])
    return [(row["sealed_table"], row["sealed_from"], row["sealed_to"]) for row in found]


def nodes(connection: Connection, table: str) -> list[tuple[int, int]]:
    """Level and index of every stored node."""
    found = query(
        connection, "select level, index from log_nodes where table_name = %s order by 1, 2", [table]
    )
    return [(row["level"], row["index"]) for row in found]


def damage(connection: Connection, table: str) -> list[tuple[int, int]]:
    """Level and index of every stored node that find_log_damage tells of."""
    found = query(connection, "select level, index from find_log_damage(%s)", [table])
    return [(row["level"], row["index"]) for row in found]


def forge(connection: Connection, statement: str) -> None:
    """Change stored nodes as only a superuser can: the triggers are off meanwhile."""
    triggers = ("_100_reject_change", "_200_reject_truncate")
    query(connection, "set session_replication_role = replica")
    for trigger in triggers:
        query(connection, f"alter table log_nodes disable trigger {trigger}")
    query(connection, statement)
    for trigger in triggers:
        query(connection, f"alter table log_nodes enable always trigger {trigger}")
    query(connection, "reset session_replication_role")

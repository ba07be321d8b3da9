"""pgbench's own four tables, as pgbench makes and fills them."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.cluster import Server
from tests.own_tables.books import chain, chain_holds
from tests.security.refusals import refused
from tests.support import Connection, assert_healthy, one, query


@pytest.fixture
def bench(server: Server, db: Connection) -> Connection:
    """Where pgbench has made its tables, with foreign keys between them."""
    server.program("pgbench", "-q", "-i", "--foreign-keys", server.dsn(db.info.dbname))
    return db


@pytest.mark.parametrize("accounts", [3000, pytest.param(100000, marks=pytest.mark.long)])
def test_all_four(server: Server, bench: Connection, tmp_path: Path, accounts: int) -> None:
    query(bench, "delete from pgbench_accounts where aid > %s", [accounts])
    for table, rows in (("pgbench_branches", 1), ("pgbench_tellers", 10), ("pgbench_accounts", accounts)):
        assert chain(bench, table) == rows
        assert chain_holds(bench, table)
    assert chain(bench, "pgbench_history") == 0
    query(bench, "insert into pgbench_history values (1, 1, 1, 5, now())")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        query(bench, "insert into pgbench_history values (99, 1, 1, 5, now())")
    with refused("AUD-013", "pgbench_accounts"):
        query(bench, "update pgbench_accounts set abalance = 1")
    assert_healthy(bench)
    # its own transaction updates; a script that inserts runs
    script = tmp_path / "script"
    script.write_text("insert into pgbench_history values (1, 1, 1, 5, now());\n")
    server.program("pgbench", "-n", "-c", "4", "-t", "25", "-f", script, server.dsn(bench.info.dbname))
    assert one(bench, "select max(id) from pgbench_history") == 101
    assert_healthy(bench)


def test_a_history_with_rows_needs_numbers_first(bench: Connection) -> None:
    query(bench, "insert into pgbench_history select 1, 1, n, n, now() from generate_series(1, 9) as n")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
        chain(bench, "pgbench_history")
    hint = str(caught.value.diag.message_hint)
    query(bench, hint[hint.index("alter table") : hint.index(" takes them")])
    assert chain(bench, "pgbench_history") == 9
    assert one(bench, "select count(*) from pgbench_history where id = aid") == 9

"""What everybody relies on, on each provider's server, by logins that the customer's administrator made."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.checkpoint.book import make_key, public, run
from tests.managed.provider import Provider
from tests.retention.shelf import Shelf, write_year
from tests.risk.council import Council
from tests.support import (
    AUDIT_TABLES,
    MIGRATIONS,
    Connection,
    assert_healthy,
    changed_guards,
    fill,
    make_signal,
    one,
    query,
    tamper,
    verdicts,
)


def test_migrations_are_applied_once(book: Provider, admin: Connection) -> None:
    registered = query(admin, "select * from installed_migrations order by name")
    assert len(registered) == len(MIGRATIONS)
    assert {row["applied_by"] for row in registered} == {"dba"}
    book.migrate()
    assert query(admin, "select * from installed_migrations order by name") == registered


def test_nobody_else_has_a_right_on_our_objects(root: Connection) -> None:
    grantees = query(
        root,
        "select distinct a.grantee::regrole::text from pg_class as c cross join lateral aclexplode(c.relacl) as a"
        " where c.relowner = 'alpha_owner'::regrole and a.grantee <> c.relowner order by 1",
    )
    assert [row["grantee"] for row in grantees] == ["app_auditor", "app_risk", "app_trading"]


def test_application_records_and_auditor_verifies(trader: Connection, auditor: Connection) -> None:
    fill(trader)
    assert_healthy(auditor)
    assert {row["recorded_by"] for row in query(auditor, "select recorded_by from signals")} == {"trader"}


def test_administrator_changes_no_row(trader: Connection, admin: Connection) -> None:
    """dba is a member of alpha_owner, and on some servers may write every table."""
    fill(trader)
    for table in AUDIT_TABLES:
        for command in (f"update {table} set id = id", f"delete from {table}", f"truncate {table} cascade"):
            with pytest.raises(psycopg.Error, match="AUD-0"):
                admin.execute(command)


def test_table_of_ones_own_is_chained(admin: Connection, trader: Connection, auditor: Connection) -> None:
    query(admin, "create table fees (ref text primary key, amount numeric)")
    query(admin, "alter table fees disable row level security")  # as doctor says on Supabase
    query(admin, "select chain_table('fees')")
    query(trader, """select record_row('fees', '{"ref": "a", "amount": "1.5"}')""")
    assert query(auditor, "select relname from pg_class where relrowsecurity") == []
    assert_healthy(auditor)


def test_damage_locks_and_a_quorum_releases(
    trader: Connection, auditor: Connection, root: Connection, council: Council
) -> None:
    fill(trader)
    tamper(root, "update signals set price = 1 where id = 2")
    assert verdicts(auditor)["signals"].verdict == "content_mismatch"
    with pytest.raises(psycopg.Error, match="AUD-009"):
        make_signal(trader, 50)
    council.release()
    make_signal(trader, 51)
    assert verdicts(auditor)["signals"].verdict == "acknowledged"
    assert changed_guards(auditor) == []


def test_auditor_makes_and_checks_checkpoints(book: Provider, trader: Connection, tmp_path: Path) -> None:
    key, folder = make_key(tmp_path), tmp_path / "checkpoints"
    folder.mkdir()
    fill(trader)
    as_auditor = ("--dsn", book.dsn("auditor"))
    run(*as_auditor, "checkpoint", "create", "--key", key, folder)
    fill(trader, first=10)
    run(*as_auditor, "verify-chain", "--checkpoints", folder, "--trust", public(key))


def test_old_rows_leave(trader: Connection, auditor: Connection, council: Council) -> None:
    write_year(trader, 1, 260)
    segment = Shelf(auditor, council).segment("ai_debates", 256)
    council.enact("archive", {"segments": [segment]}, "ada", "ben", "cyd")
    query(auditor, "call prune_archived('ai_debates')")
    assert one(auditor, "select min(id) from ai_debates") == 257
    assert_healthy(auditor)

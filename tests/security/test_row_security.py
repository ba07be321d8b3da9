"""Row-level security on a table of the log: whoever cannot see every row is refused, and is never given fewer."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from alpha_db.connection import connect as open_connection
from tests.cluster import Server
from tests.fix_database import Connect, LoginRole, Prepared
from tests.support import Connection, changed_guards, fill, query, verdicts

#: Nothing passes; some rows pass; the owner is filtered, too.
POLICIES = {
    "none": "alter table {0} enable row level security",
    "some": "alter table {0} enable row level security; create policy p on {0} using (id < 3)",
    "forced": "alter table {0} enable row level security; alter table {0} force row level security",
}
READ_BY_AUDITORS = {
    "signals": (
        "find_chain_damage('signals')",
        "chain_rows('signals')",
        "log_root('signals', 1)",
        "recompute_log_root('signals', 1)",
        "inclusion_proof('signals', 1, 2)",
        "consistency_proof('signals', 1, 2)",
        "find_log_damage('signals')",
        "verify_chain('signals')",
        "checkpoint_facts()",
        "vw_trade_audit_full",
        "vw_kill_switch_events",
    ),
    "proposals": ("vw_proposals",),
    "chain_columns": ("chain_rows('signals')", "chain_rows_sql('signals')"),
    "verification_runs": ("_verified_heads()",),
}


@pytest.fixture
def origin(prepared: Prepared) -> str:
    return prepared("row_security_book", fill)


@pytest.fixture
def auditor(connect: Connect, login_role: LoginRole) -> Connection:
    return connect(login_role("app_auditor"))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("table", READ_BY_AUDITORS)
def test_an_auditor_sees_all_or_is_refused(
    db: Connection, auditor: Connection, table: str, policy: str
) -> None:
    query(db, POLICIES[policy].format(table))
    for source in READ_BY_AUDITORS[table]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"row-level security"):
            query(auditor, f"select * from {source}")


def test_a_view_is_asked_again_when_a_policy_comes(db: Connection, auditor: Connection) -> None:
    auditor.execute("prepare p as select count(*) from vw_trade_audit_full")
    assert query(auditor, "execute p") == [{"count": 4}]
    query(db, POLICIES["none"].format("ai_debates"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="ai_debates"):
        query(auditor, "execute p")


@pytest.mark.parametrize("policy", POLICIES)
def test_verification_reads_every_row_or_says_that_it_did_not(
    db: Connection, auditor: Connection, policy: str
) -> None:
    query(db, POLICIES[policy].format("signals"))
    found = verdicts(auditor)
    assert (found["signals"].verdict, found["signals"].error_code) == ("guard_changed", "AUD-011")
    assert ("not verified" in found["signals"].detail) is (policy == "forced")
    assert found["ai_debates"].verdict == "intact"


# Every policy on one table, and on every table the one that filters even its owner.
ON_TABLES = [
    pytest.param(table, policy, marks=() if table == "signals" or policy == "forced" else pytest.mark.long)
    for table in (
        "signals",
        "votes",
        "guard_states",
        "chains",
        "installation",
        "installed_migrations",
        "log_nodes",
    )
    for policy in POLICIES
]


@pytest.mark.parametrize(("table", "policy"), ON_TABLES)
def test_guards_report_it_on_every_table(
    db: Connection, auditor: Connection, table: str, policy: str
) -> None:
    query(db, POLICIES[policy].format(table).replace("id < 3", "true"))
    for session in (db, auditor):
        found = {(row["object_name"], row["fact"], row["problem"]) for row in changed_guards(session)}
        assert (table, "row security", "changed") in found


def test_every_session_of_the_package_is_refused_instead_of_filtered(
    db: Connection, server: Server, login_role: LoginRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    query(db, POLICIES["none"].format("signals"))
    monkeypatch.setenv("PGOPTIONS", "-c row_security=on")
    login = login_role("app_auditor")
    with open_connection(server.dsn(db.info.dbname, login)) as conn:
        found: list[Any] = conn.execute("show row_security").fetchall()
        assert found == [("off",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("select * from signals")

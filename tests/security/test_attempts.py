"""A rejected attempt leaves a line in the server's log and a count, and no rollback takes them back."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import Connect, LoginRole
from tests.security.refusals import Connection, attempts, denied, refused
from tests.support import AUDIT_TABLES, as_role, fill, make_signal, one, query, wait_until

MARK = "alpha-db attempt "
FIELDS = {
    "code", "schema", "table", "operation", "row_id", "number", "session_user", "current_user",
    "client_address", "application",
}  # fmt: skip
# table, code of UPDATE, code of DELETE and TRUNCATE
PROTECTED = [
    ("webhook_deliveries", "AUD-013", "AUD-014"),
    ("signals", "AUD-002", "AUD-003"),
    ("ai_debates", "AUD-004", "AUD-005"),
    ("order_execution", "AUD-006", "AUD-007"),
    ("order_events", "AUD-006", "AUD-007"),
    *(
        (t, "AUD-011", "AUD-011")
        for t in ("lockdown_events", "maintenance_events", "chain_columns", "guard_states")
    ),
]


def logged(server: Server, application: str) -> list[dict[str, Any]]:
    """The attempts that the server's log has of one application, oldest first."""
    lines = server.log.read_text(errors="replace").splitlines()
    found = [json.loads(line.split(MARK, 1)[1]) for line in lines if MARK in line and "LOG:" in line]
    return [attempt for attempt in found if attempt["application"] == application]


def test_log_line(server: Server, db: Connection, connect: Connect, owner_login: str) -> None:
    fill(db)
    writer = connect(owner_login, application_name="log-line")
    with refused("AUD-003", "signals"):
        writer.execute("delete from signals where id = 2")
    with refused("AUD-006", "order_events"), as_role_in(writer, "alpha_owner"):
        writer.execute("update order_events set event_type = 'EXPIRED' where id = 3")
    with refused("AUD-005", "ai_debates"):
        writer.execute("truncate ai_debates")
    first, second, third = logged(server, "log-line")
    assert set(first) == FIELDS
    assert first == {
        "code": "AUD-003",
        "schema": "public",
        "table": "signals",
        "operation": "DELETE",
        "row_id": 2,
        "number": 1,
        "session_user": owner_login,
        "current_user": owner_login,
        "client_address": None,
        "application": "log-line",
    }
    assert (second["code"], second["row_id"], second["current_user"]) == ("AUD-006", 3, "alpha_owner")
    assert second["session_user"] == owner_login, "who became alpha_owner is told"
    assert (third["operation"], third["row_id"]) == ("TRUNCATE", None)


def as_role_in(connection: Connection, role: str) -> Any:
    """SET LOCAL ROLE, gone with the transaction that the refusal ends."""

    class Local:
        def __enter__(self) -> None:
            connection.execute("begin")
            connection.execute(f"set local role {role}")

        def __exit__(self, *_: object) -> None:
            connection.execute("rollback")

    return Local()


def test_every_kind_is_logged_with_its_table_and_operation(
    server: Server, db: Connection, connect: Connect
) -> None:
    fill(db)
    query(
        db,
        "select record_order(correlation_id, 'MARKET', 'B', 'BUY', 1, client_order_id => 'c'),"
        " record_order_event(1, 'CANCELLED', exchange_event_id => 'e') from signals where id = 1",
    )
    writer = connect(application_name="kinds")
    nobody = "99999999-9999-4999-8999-999999999999"
    kinds = {
        ("AUD-001", "decimal_28_10", "CAST"): "select record_signal('x', 'B', 'BUY', 'NaN', 1, '{}')",
        ("AUD-001", "float", "CAST"): "select record_signal('x', 'B', 'BUY', 1::float8, 1, '{}')",
        (
            "AUD-001",
            "signals",
            "INSERT",
        ): "select record_signal('x', 'B', 'BUY', 1, 1, '{\"price\": 1.0000000001}')",
        ("AUD-008", "ai_debates", "INSERT"): f"select record_ai_debate('{nobody}', 'm', '{{}}', 1, 1)",
        (
            "AUD-008",
            "signals",
            "INSERT",
        ): "select record_signal('x', 'B', 'BUY', 1, 1, '{}', delivery_id => 99)",
        ("AUD-010", "signals", "INSERT"): "select record_signal('tv-000001', 'B', 'BUY', 1, 1, '{}')",
        (
            "AUD-010",
            "order_execution",
            "INSERT",
        ): "select record_order(correlation_id, 'MARKET', 'B', 'BUY', 2,"
        " client_order_id => 'c') from signals where id = 1",
        (
            "AUD-010",
            "order_events",
            "INSERT",
        ): "select record_order_event(1, 'EXPIRED', exchange_event_id => 'e')",
    }
    for code, table, operation in kinds:
        with refused(code, table):
            writer.execute(kinds[code, table, operation])
    assert [(a["code"], a["table"], a["operation"]) for a in logged(server, "kinds")] == list(kinds)
    assert attempts(db) == dict.fromkeys(kinds, 1)


def test_a_rollback_takes_neither_line_nor_count_back(
    server: Server, db: Connection, connect: Connect
) -> None:
    fill(db)
    writer = connect(autocommit=False, application_name="rolled-back")
    for _ in range(3):
        with refused("AUD-002", "signals"):
            writer.execute("update signals set symbol = 'X'")
        writer.rollback()
    # A refusal that an exception block swallows counts too.
    writer.execute("do $$ begin update signals set symbol = 'X'; exception when others then null; end $$")
    writer.rollback()
    assert attempts(db) == {("AUD-002", "signals", "UPDATE"): 4}
    assert len(logged(server, "rolled-back")) == 4


def test_a_statement_is_one_attempt_however_many_rows(db: Connection) -> None:
    fill(db, signals=20)
    with refused("AUD-003"):
        db.execute("delete from signals")
    assert attempts(db) == {("AUD-003", "signals", "DELETE"): 1}


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_everybody_may_read_the_counts_and_nobody_may_change_them(db: Connection, role: str) -> None:
    fill(db)
    with refused("AUD-002", "signals"):
        db.execute("update signals set symbol = 'X'")
    with as_role(db, role):
        rows = query(db, "select * from vw_rejected_attempts where attempts > 0")
        assert rows == [{"code": "AUD-002", "table_name": "signals", "operation": "UPDATE", "attempts": 1}]
        for statement in (
            "select nextval('attempts_aud002_update_signals')",
            "select setval('attempts_aud002_update_signals', 1)",
            "select last_value from attempts_aud002_update_signals",
            "update vw_rejected_attempts set attempts = 0",
            "delete from attempt_counters",
        ):
            with denied("55000" if "vw_" in statement else "42501"):
                db.execute(statement)


def test_a_refusal_in_a_read_only_transaction_is_logged(
    server: Server, db: Connection, connect: Connect
) -> None:
    reader = connect(application_name="read-only", default_transaction_read_only="on")
    with refused("AUD-001", "decimal_28_10"):
        reader.execute("select 0.12345678901::decimal_28_10")
    assert [a["code"] for a in logged(server, "read-only")] == ["AUD-001"]
    assert attempts(db) == {}, "nothing can be counted there"


def test_a_hostile_name_stays_inside_its_field(
    server: Server, connect: Connect, login_role: LoginRole
) -> None:
    """The line is JSON on one line, whatever the client calls itself."""
    name = 'x"}, {"code": "AUD-999"\n\\'
    trader = connect(login_role("app_trading"), application_name="hostile")
    trader.execute("select set_config('application_name', %s, false)", [name])
    shown = one(trader, "show application_name")
    with refused("AUD-001"):
        trader.execute("select record_signal(%s, 'B', 'BUY', 1::float8, 1, '{}')", ['"}\n' + MARK + "{}"])
    assert [a["code"] for a in logged(server, shown)] == ["AUD-001"]


def test_what_postgresql_refuses_first_is_not_ours(
    server: Server, db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    fill(db)
    trader = connect(login_role("app_trading"), application_name="not-ours")
    for statement in ("update signals set symbol = 'X'", "delete from signals", "truncate signals cascade"):
        with denied():
            trader.execute(statement)
    with denied("0A000"):
        db.execute("truncate signals")
    assert attempts(db) == {}
    assert logged(server, "not-ours") == []
    assert "permission denied for table signals" in server.log.read_text(errors="replace")


def test_every_counter_has_its_sequence_and_name(db: Connection) -> None:
    rows = query(db, "select * from vw_rejected_attempts")
    assert all(row["attempts"] == 0 for row in rows)
    expected = {
        *((code, table, "UPDATE") for table, code, _ in PROTECTED),
        *((code, table, operation) for table, _, code in PROTECTED for operation in ("DELETE", "TRUNCATE")),
        *(("AUD-001", t, "CAST") for t in ("decimal_28_10", "decimal_28_2", "decimal_5_4", "float")),
        ("AUD-001", "signals", "INSERT"),
        *(("AUD-008", t, "INSERT") for t in AUDIT_TABLES if t != "webhook_deliveries"),
        *(("AUD-009", t, "INSERT") for t in ("signals", "ai_debates", "order_execution")),
        *(("AUD-010", t, "INSERT") for t in ("signals", "order_execution", "order_events")),
        ("AUD-011", "protected object", "DDL"),
    }
    assert {(r["code"], r["table_name"], r["operation"]) for r in rows} >= expected


def test_two_sessions_count_together(db: Connection, connect: Connect) -> None:
    """The count is of all sessions at once, before any of them ends its transaction."""
    make_signal(db)
    sessions = [connect(autocommit=False) for _ in range(4)]
    for session in sessions:
        with pytest.raises(psycopg.Error):
            session.execute("update signals set symbol = 'X'")
    wait_until(db, "select sum(attempts) = 4 from vw_rejected_attempts where code = 'AUD-002'")

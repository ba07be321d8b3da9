"""Who recorded a row is set by its trigger, in every chained table."""

from __future__ import annotations

import json

import pytest

from tests.cluster import Server
from tests.fix_database import Connect, LoginRole
from tests.security.refusals import Connection, attempts, refused, undone
from tests.security.test_attempts import logged
from tests.support import AUDIT_TABLES, as_role, fill, one, query


def test_every_chained_table_says_who(db: Connection) -> None:
    """As its last column, but where it had one before."""
    rows = query(
        db,
        "select c.table_name, h.column_name from chains as c left join _hashed_columns(c.table_name) as h"
        " on h.column_name = 'recorded_by'",
    )
    assert len(rows) >= 14
    assert {row["column_name"] for row in rows} == {"recorded_by"}
    assert query(db, "select * from pg_attrdef as d join pg_attribute as a on a.attrelid = d.adrelid"
                     " and a.attnum = d.adnum where a.attname = 'recorded_by'") == []  # fmt: skip


def test_a_row_says_which_login_wrote_it(db: Connection, connect: Connect, login_role: LoginRole) -> None:
    trader = login_role("app_trading")
    fill(connect(trader))
    for table in AUDIT_TABLES:
        assert one(db, f"select distinct recorded_by from {table}") == trader


@pytest.mark.parametrize("table", AUDIT_TABLES)
def test_a_writer_cannot_say_otherwise(
    db: Connection, connect: Connect, login_role: LoginRole, table: str
) -> None:
    """Not by INSERT of the column, not by SET ROLE."""
    fill(db)
    trader = login_role("app_trading")
    writer = connect(trader)
    copied = one(
        db,
        "select string_agg(quote_ident(attname), ', ') from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " and attname not in ('id', 'row_hash', 'created_at', 'correlation_id', 'signal_id', 'recorded_by')",
        [table],
    )
    own = {"signals": "gen_random_uuid(), 'new'", "order_events": "", "webhook_deliveries": ""}.get(
        table, "correlation_id"
    )
    names = {"signals": "correlation_id, signal_id, ", "order_events": "", "webhook_deliveries": ""}.get(
        table, "correlation_id, "
    )
    with as_role(writer, "app_trading"):
        rows = query(
            writer,
            f"insert into {table} ({names}{copied}, recorded_by) select {own}{', ' if own else ''}{copied}, 'the chief'"
            f" from {table} where id = 1 returning recorded_by",
        )
    assert rows == [{"recorded_by": trader}]


OWN = {
    "maintenance_events": "(reason, command_tag, object_identity, recorded_by) values ('x', 'x', 'x', 'the chief')",
    "lockdown_events": "(event_type, reason, damage, alarm, recorded_by) values ('ENGAGED', 'x', '[]', 7, 'the chief')",
    "guard_states": "(reason, recorded_by) values ('x', 'the chief')",
    "verification_runs": "(is_full, heads, rows_checked, recorded_by) values (true, '{}', 0, 'the chief')",
}


@pytest.mark.parametrize("table", OWN)
def test_the_owner_cannot_say_otherwise_either(
    connect: Connect, owner_login: str, table: str, db: Connection
) -> None:
    del db
    owner = connect(owner_login)
    with undone(owner), as_role(owner, "alpha_owner"):
        rows = query(owner, f"insert into {table} {OWN[table]} returning recorded_by")
    assert rows == [{"recorded_by": owner_login}]


def test_the_view_says_who(db: Connection) -> None:
    fill(db)
    row = query(db, "select * from vw_trade_audit_full where event_id is not null limit 1")[0]
    assert {row["recorded_by"], row["order_recorded_by"], row["event_recorded_by"]} == {"postgres"}


def test_a_forged_log_line_has_a_number_that_was_not_given(
    server: Server, db: Connection, connect: Connect, owner_login: str, login_role: LoginRole
) -> None:
    """Anyone can print such a line; the counter tells."""
    fill(db)
    writer = connect(owner_login, application_name="honest")
    for _ in range(2):
        with refused("AUD-002", "signals"):
            writer.execute("update signals set symbol = 'X'")
    honest = logged(server, "honest")
    assert [line["number"] for line in honest] == [1, 2]
    forged = json.dumps({**honest[-1], "number": 3, "session_user": "somebody else"})
    connect(login_role()).execute(f"do $do$ begin raise log 'alpha-db attempt %', $${forged}$$; end $do$")
    count = attempts(db)["AUD-002", "signals", "UPDATE"]
    lines = logged(server, "honest")
    assert len(lines) == 3
    assert [line["session_user"] for line in lines if line["number"] > count] == ["somebody else"]


def test_a_broken_counter_does_not_break_the_refusal(
    server: Server, db: Connection, connect: Connect
) -> None:
    fill(db)
    db.execute("alter sequence attempts_aud002_update_signals maxvalue 2")
    writer = connect(application_name="full counter")
    for _ in range(3):
        with refused("AUD-002", "signals"):
            writer.execute("update signals set symbol = 'X'")
    assert [line["number"] for line in logged(server, "full counter")] == [1, 2, None]

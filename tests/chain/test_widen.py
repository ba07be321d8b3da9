"""widen_column makes a text column of the audit log longer, and changes nothing else."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.cluster import Server
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole
from tests.security.refusals import attempts, denied, install_guard, refused
from tests.support import (
    VARCHARS,
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

LONG = "BTC-27NOV26-120000-C-USDT"  # 25 characters


def widen(connection: Connection, table: Any, column: Any, length: Any, why: str = "longer symbols") -> Any:
    """Call widen_column with a reason; gives the length before."""
    with connection.transaction():
        query(connection, "select set_config('alpha.maintenance', %s, true)", [why])
        return one(connection, "select widen_column(%s, %s, %s)", [table, column, length])


def length_of(connection: Connection, table: str, column: str) -> int:
    """How many characters a column takes."""
    [found] = [row for row in query(connection, VARCHARS) if (row["table"], row["column"]) == (table, column)]
    return int(found["length"])


def recorded(connection: Connection) -> tuple[Any, ...]:
    """How many steps and states are recorded."""
    rows = query(
        connection, "select (select count(*) from maintenance_events), (select count(*) from guard_states)"
    )
    return tuple(rows[0].values())


def described(connection: Connection) -> list[Any]:
    """Every object of the schema with its rights, options and comments."""
    return query(
        connection,
        "select case when c.relkind <> 'i' then c.oid end, c.relname, c.relowner, c.relacl::text, c.reloptions,"
        "       (select array_agg((objsubid, description) order by objsubid) from pg_description where objoid = c.oid)"
        " from pg_class as c where c.relnamespace = 'public'::regnamespace order by c.relname",
    )


def test_a_longer_symbol_is_taken_after_it(db: Connection) -> None:
    fill(db)
    before = query(db, "select * from signals order by id")
    with refused("AUD-012", "signals") as caught:
        make_signal(db, 9, symbol=LONG)
    assert "select widen_column('signals', 'symbol', 25)" in str(caught.value.diag.message_hint)
    assert widen(db, "signals", "symbol", 40) == 20
    assert make_signal(db, 9, symbol=LONG)["symbol"] == LONG
    assert one(db, "select symbol from vw_trade_audit_full where signal_id = 'tv-000009'") == LONG
    with refused("AUD-012", "signals") as caught:
        make_signal(db, 10, symbol="x" * 41)
    assert "takes 40" in str(caught.value.diag.message_detail)
    assert query(db, "select * from signals order by id")[:3] == before
    assert_healthy(db)


def test_every_text_with_a_length_can_be_widened_and_nothing_else_changes(
    db: Connection, pytestconfig: pytest.Config
) -> None:
    """Without --all, the last of each table."""
    filled = fill(db)
    before = described(db)
    every = query(db, VARCHARS)
    columns = [item for item in every if item["length"] < 500]  # a longer one cannot be
    assert len(columns) > 12
    if not pytestconfig.getoption("--all"):
        columns = list({item["table"]: item for item in columns}.values())
    for item in columns:
        # which compares all guards itself, before and after
        assert widen(db, item["table"], item["column"], item["length"] + 1) == item["length"]
    assert changed_guards(db) == []
    assert [row["length"] for row in query(db, VARCHARS)] == [
        item["length"] + (item in columns) for item in every
    ]
    changed = one(
        db,
        "select array_agg(fact) from guards_since((select max(id) from guard_states) - %s)",
        [len(columns)],
    )
    assert changed == ["type"] * len(columns)
    assert described(db) == before
    assert fill(db, first=9).limit_order > filled.limit_order
    assert_healthy(db)


def test_the_step_is_recorded_with_who_and_why(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    dba = connect(login_role("alpha_owner"))
    db.execute("select record_guards('a login for the DBA')")
    widen(dba, "signals", "symbol", 40, "Deribit options")
    [event] = query(db, "select * from maintenance_events")
    assert (event["reason"], event["command_tag"], event["object_identity"], event["recorded_by"]) == (
        "Deribit options",
        "widen_column",
        "signals.symbol from varchar(20) to varchar(40)",
        dba.info.user,
    )
    [state] = query(db, "select * from guard_states order by id desc limit 1")
    assert state["reason"] == "widen_column: signals.symbol from varchar(20) to varchar(40)"
    assert state["recorded_by"] == dba.info.user
    assert changed_guards(db) == []


def test_a_step_that_is_rolled_back_left_nothing(db: Connection) -> None:
    before = recorded(db)
    with db.transaction(force_rollback=True):
        widen(db, "signals", "symbol", 40)
    assert recorded(db) == before
    assert length_of(db, "signals", "symbol") == 20
    assert changed_guards(db) == []


#: table, column, length, SQLSTATE, what is said
NONSENSE: list[tuple[Any, Any, Any, str, str]] = [
    ("nothing", "symbol", 40, "42P01", "nothing is not a chained table"),
    ("signals", "nothing", 40, "42703", "signals has no column nothing"),
    ("signals", "Symbol", 40, "42703", 'signals has no column "Symbol"'),
    ("signals", "ctid", 40, "42703", "signals has no column ctid"),
    ("signals", "raw_payload", 40, "42804", "signals.raw_payload is jsonb, not a varchar"),
    ("signals", "row_hash", 100, "42804", "signals.row_hash is character(64), not a varchar"),
    ("signals", "price", 40, "42804", "signals.price is decimal_28_10, not a varchar"),
    ("order_execution", "exchange_status", 40, "42804", "is text, not a varchar"),
    ("signals", "symbol", 20, "22023", "cannot become varchar(20)"),
    ("signals", "symbol", 19, "22023", "cannot become varchar(19)"),
    ("signals", "symbol", -1, "22023", "cannot become varchar(-1)"),
    ("signals", "symbol", 501, "22023", "cannot become varchar(501)"),
    ("signals", "symbol", 2**31 - 1, "22023", "cannot become varchar(2147483647)"),
    ("lockdown_events", "event_type", 40, "22023", "lockdown_events is a table of alpha-db itself"),
    ("agents", "name", 60, "22023", "agents is a table of alpha-db itself"),
    ("vw_trade_audit_full", "symbol", 40, "42P01", "is not a chained table"),
    ("public.signals", "symbol", 40, "42P01", '"public.signals" is not a chained table'),
    (None, "symbol", 40, "22023", "needs a table, a column and a length"),
    ("signals", None, 40, "22023", "needs a table, a column and a length"),
    ("signals", "symbol", None, "22023", "needs a table, a column and a length"),
]  # fmt: skip


def test_what_makes_no_sense_is_refused_and_nothing_changes(db: Connection) -> None:
    before = recorded(db)
    for table, column, length, sqlstate, said in NONSENSE:
        with pytest.raises(psycopg.Error) as caught:
            widen(db, table, column, length)
        assert caught.value.sqlstate == sqlstate, str(caught.value)
        assert said in str(caught.value.diag.message_primary)
        assert caught.value.diag.message_hint
        assert recorded(db) == before, said
    assert changed_guards(db) == []


@pytest.mark.parametrize("why", [None, "", "  "])
def test_it_needs_a_reason(db: Connection, why: str | None) -> None:
    if why is not None:
        db.execute("select set_config('alpha.maintenance', %s, false)", [why])
    with refused("AUD-011") as caught:
        db.execute("select widen_column('signals', 'symbol', 40)")
    assert "set local alpha.maintenance" in str(caught.value.diag.message_hint)
    assert attempts(db) == {("AUD-011", "protected object", "DDL"): 1}
    assert length_of(db, "signals", "symbol") == 20


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_only_the_owner_may(connect: Connect, login_role: LoginRole, role: str) -> None:
    with denied():
        widen(connect(login_role(role)), "signals", "symbol", 40)


def test_a_guard_that_somebody_changed_is_not_blessed(db: Connection) -> None:
    db.execute("alter table signals disable trigger _100_reject_change")
    before = recorded(db)
    with pytest.raises(
        psycopg.Error, match=r"the guards are not as installed: trigger signals\._100_reject_change"
    ):
        widen(db, "signals", "symbol", 40)
    assert recorded(db) == before
    assert length_of(db, "signals", "symbol") == 20
    assert [row["object_name"] for row in changed_guards(db)] == ["signals._100_reject_change"]


def test_a_length_that_somebody_changed_is_not_blessed(db: Connection) -> None:
    """Even if widen_column would make the same column longer still."""
    db.execute("alter table ai_debates alter column model_version type varchar(200)")
    with pytest.raises(
        psycopg.Error, match=r"the guards are not as installed: column ai_debates.model_version"
    ):
        widen(db, "ai_debates", "model_version", 300)


def test_what_changes_meanwhile_is_not_blessed(db: Connection) -> None:
    """Somebody's event trigger switches a guard off while the column is changed."""
    db.execute("create schema mine")
    db.execute(
        "create function mine.meanwhile() returns event_trigger language plpgsql as $$begin"
        " if tg_tag = 'ALTER TABLE' and pg_trigger_depth() = 0"
        "    and (select tgenabled <> 'D' from pg_trigger where tgname = '_100_reject_change'"
        "         and tgrelid = 'public.signals'::regclass) then"
        "  execute 'alter table public.signals disable trigger _100_reject_change';"
        " end if; end$$"
    )
    db.execute("create event trigger meanwhile on ddl_command_end execute function mine.meanwhile()")
    before = recorded(db)
    with pytest.raises(
        psycopg.Error, match=r"would change another guard: trigger signals\._100_reject_change"
    ):
        widen(db, "signals", "symbol", 40)
    assert recorded(db) == before
    assert length_of(db, "signals", "symbol") == 20
    assert changed_guards(db) == []


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("create schema mine; create view mine.symbols as select symbol from public.signals", "view mine.symbols"),
        ("create view symbols as select 1 as n from signals where symbol = 'X'", "view symbols"),
        ("create materialized view symbols as select symbol from signals", "view symbols"),
        ("create schema mine; create function mine.symbols() returns text"
         " begin atomic select symbol from public.signals limit 1; end", "function mine.symbols()"),
        ("create publication symbols for table signals where (symbol = 'X')", "publication of table signals"),
        ("create schema mine; create view mine.a as select symbol from public.signals;"
         "create view mine.b as select symbol from public.signals", "view mine.a, view mine.b"),
    ],
)  # fmt: skip
def test_what_others_made_of_the_column_is_named(db: Connection, made: str, named: str) -> None:
    db.execute(made)
    before = recorded(db)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as caught:
        widen(db, "signals", "symbol", 40)
    assert named in str(caught.value.diag.message_primary)
    assert "all in one transaction" in str(caught.value.diag.message_hint)
    assert recorded(db) == before


def test_what_others_made_of_our_views_stays(db: Connection) -> None:
    fill(db)
    db.execute("create schema mine; create view mine.audit as select * from public.vw_trade_audit_full")
    before = query(db, "select * from mine.audit order by id, order_id")
    widen(db, "signals", "symbol", 40)
    assert query(db, "select * from mine.audit order by id, order_id") == before
    make_signal(db, 9, symbol=LONG)
    assert one(db, "select symbol from mine.audit where signal_id = 'tv-000009'") == LONG


def test_a_lockdown_does_not_refuse_it(db: Connection) -> None:
    """An event of an order must be recorded then, whatever the exchange calls it."""
    order = fill(db).limit_order
    tamper(db, "update signals set price = 1 where id = 2")
    assert verdicts(db)["signals"].verdict == "content_mismatch"
    assert one(db, "select is_locked from lockdown_status()")
    widen(db, "order_events", "exchange_error_code", 200)
    query(db, "select record_order_event(%s, 'LIQUIDATION', exchange_error_code => %s)", [order, "E" * 200])
    assert changed_guards(db) == []


def test_with_the_ddl_guard_each_command_is_recorded_too(
    server: Server, db: Connection, database: str
) -> None:
    install_guard(server, database)
    with refused("AUD-011"):
        db.execute("select widen_column('signals', 'symbol', 40)")
    widen(db, "signals", "symbol", 40, "Deribit options")
    events = query(db, "select reason, command_tag from maintenance_events")
    assert {row["reason"] for row in events} == {"Deribit options"}
    assert {row["command_tag"] for row in events} == {"widen_column", "ALTER TABLE", "CREATE VIEW"}
    assert changed_guards(db) == []
    make_signal(db, symbol=LONG)
    assert_healthy(db)


def test_writers_wait_and_go_on(db: Connection, connect: Connect, login_role: LoginRole) -> None:
    """Of the two that have prepared their statements: one holds the table, and one comes later."""
    trader = login_role("app_trading")
    first, second = (connect(trader) for _ in range(2))
    for writer in (first, second):
        writer.prepare_threshold = 0
        make_signal(writer, writer.info.backend_pid)
    with first.transaction():
        make_signal(first, 1)
        step = Background(maintained(connect), "select widen_column('signals', 'symbol', 40)").blocked(db)
        late = Background(second, "select id from record_signal('late', 'X', 'BUY', 1, 1, '{}')").blocked(db)
        assert not step.done
    step.result()
    late.result()
    for n, writer in enumerate((first, second), 2):
        assert make_signal(writer, n, symbol=LONG)["symbol"] == LONG
    assert_healthy(db)


def maintained(connect: Connect) -> Connection:
    """A session that says why it changes something."""
    connection = connect()
    connection.execute("select set_config('alpha.maintenance', 'longer symbols', false)")
    return connection


def test_two_at_once_come_one_after_the_other(db: Connection, connect: Connect) -> None:
    early, late = maintained(connect), maintained(connect)
    with early.transaction():
        early.execute("select widen_column('signals', 'symbol', 40)")
        waits = Background(late, "select widen_column('signals', 'symbol', 30)").blocked(db)
    error = waits.error()
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "22023", str(error)
    assert length_of(db, "signals", "symbol") == 40
    assert changed_guards(db) == []

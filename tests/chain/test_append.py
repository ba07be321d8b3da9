"""CALL append_…: what it writes and refuses is what record_… writes and refuses, and nobody else's code runs in it.

That its rows are on disk when it returns is shown in tests/durability.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from tests.cluster import Server
from tests.concurrency.background import Background, all_at_once
from tests.fix_database import Connect, LoginRole
from tests.support import AUDIT_TABLES, Connection, Row, fill, migrate_with_psql, one, query, quote, verdicts

#: Each procedure's name and a call, with the table and the function that it is the twin of.
CALLS = {
    "append_webhook": (
        "webhook_deliveries",
        "record_webhook",
        "'{}', '10.0.0.1', 'application/json', '{\"x-id\": \"7\"}', 'sig', true",
    ),
    "append_signal": ("signals", "record_signal", "'s', 'X', 'BUY', 1.5, 2, '{}'"),
    "append_ai_debate": ("ai_debates", "record_ai_debate", "$c, 'phi-4', '{}', 0.5, 900"),
    "append_order": ("order_execution", "record_order", "$c, 'LIMIT', 'X', 'BUY', 2, 1.25"),
    "append_order_event": ("order_events", "record_order_event", "$o, 'FILL', 2, 1.25"),
}


def calls(connection: Connection, schema: str = "public") -> dict[str, str]:
    """A CALL of each procedure, for a signal and an order that are there."""
    home = quote(schema)
    correlation = one(connection, f"select correlation_id from {home}.signals where id = 1")
    order = one(connection, f"select max(id) from {home}.order_execution")
    return {
        name: f"call {home}.{name}({arguments.replace('$c', repr(str(correlation))).replace('$o', str(order))})"
        for name, (_, _, arguments) in CALLS.items()
    }


def counts(connection: Connection) -> dict[str, int]:
    return {table: one(connection, f"select count(*) from {table}") for table in AUDIT_TABLES}


def assert_intact(connection: Connection) -> None:
    assert {verdict.verdict for verdict in verdicts(connection, engage_lockdown=False).values()} == {"intact"}


@pytest.fixture
def book(db: Connection) -> Connection:
    fill(db)
    return db


def test_the_row_and_what_comes_back(book: Connection) -> None:
    for name, call in calls(book).items():
        table = CALLS[name][0]
        (back,) = query(book, call)
        order = ["correlation_id", "id", "row_hash", "is_new", "body", "body_problem", "is_whole"]
        assert list(back) == sorted(back, key=order.index)
        assert back["is_new"] is True
        (row,) = query(book, f"select * from {table} order by id desc limit 1")
        assert (back["id"], back["row_hash"]) == (row["id"], row["row_hash"])
        correlation = row.get("correlation_id") or one(
            book, "select correlation_id from order_execution where id = %s", [row.get("order_execution_id")]
        )
        assert back.get("correlation_id") == correlation
        # Its twin, given the same, stores the same.
        arguments = call.partition("(")[2].replace("'s'", "'twin'")
        (twin,) = query(book, f"select * from {CALLS[name][1]}({arguments}")
        own = {"id", "row_hash", "created_at", "signal_id"} | (
            {"correlation_id"} if table == "signals" else set()
        )
        assert table == "webhook_deliveries" or set(row) < set(twin)
        assert {k: v for k, v in twin.items() if k not in own} == {
            k: (row | back)[k] for k in twin if k not in own
        }
    assert_intact(book)


def test_all_arguments_by_name(book: Connection) -> None:
    correlation = "6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f"
    order = 0
    for table, call, stored in (
        (
            "webhook_deliveries",
            "append_webhook(raw_body => '{\"a\": 1}', source_ip => '10.1.2.3', content_type => 'text/plain',"
            " headers => '{\"x\": \"y\"}', signature => 'abc', hmac_verified => true)",
            "raw_body = '{\"a\": 1}' and source_ip = '10.1.2.3' and content_type = 'text/plain'"
            " and headers = '{\"x\": \"y\"}' and signature = 'abc' and hmac_verified",
        ),
        (
            "signals",
            "append_signal(signal_id => 'n', symbol => 'X', side => 'SELL', price => '0.1', quantity => 3,"
            " raw_payload => '{\"a\": 1}', source_ip => '10.1.2.3', hmac_verified => true,"
            f" correlation_id => '{correlation}', delivery_id => 1)",
            "delivery_id = 1 and signal_id = 'n' and hmac_verified"
            " and side = 'SELL' and price = 0.1 and source_ip = '10.1.2.3'",
        ),
        (
            "ai_debates",
            f"append_ai_debate(correlation_id => '{correlation}', model_name => 'timeout', reasoning_json => '{{}}',"
            " confidence_score => 0, elapsed_ms => 30000, is_timeout => true, model_version => 'v2')",
            "model_version = 'v2' and model_name = 'timeout' and elapsed_ms = 30000 and is_timeout",
        ),
        (
            "order_execution",
            f"append_order(correlation_id => '{correlation}', order_type => 'STOP_LIMIT', symbol => 'X',"
            " side => 'SELL', quantity => 3, price => 7.5, exchange_order_id => 'x-9', status => 'SUBMITTED',"
            " client_order_id => 'c-9', stop_price => 8.5, decision_maker => 'algo 7', exchange_status => 'NEW')",
            "client_order_id = 'c-9' and stop_price = 8.5 and decision_maker = 'algo 7' and exchange_status = 'NEW'"
            " and price = 7.5 and exchange_order_id = 'x-9' and status = 'SUBMITTED'",
        ),
        (
            "order_events",
            "append_order_event(order_execution_id => {order}, event_type => 'REJECTED',"
            " fill_quantity => 1, fill_price => 2.5, zar_equity => 3.25, positions_closed => '[1]',"
            " rejection_reason => 'no margin', exchange_error_code => 'E42',"
            " exchange_event_id => 't-9', exchange_status => 'CANCELED')",
            "exchange_event_id = 't-9' and exchange_status = 'CANCELED'"
            " and fill_quantity = 1 and fill_price = 2.5 and zar_equity = 3.25 and positions_closed = '[1]'"
            " and rejection_reason = 'no margin' and exchange_error_code = 'E42'",
        ),
    ):
        (row,) = query(book, "call " + call.replace("{order}", str(order)))
        order = row["id"]
        assert str(row.get("correlation_id", correlation)) == correlation
        assert row["is_new"] is True
        assert one(book, f"select {stored} from {table} where id = %s", [row["id"]]) is True, table
    assert_intact(book)


def test_a_signal_that_is_there_comes_back(book: Connection) -> None:
    call = calls(book)["append_signal"]
    (first,) = query(book, call)
    before = counts(book)
    there = {**first, "is_new": False}
    assert query(book, call) == [there]
    assert query(book, call.replace("1.5", "'1.50'")) == [there]
    assert counts(book) == before
    with pytest.raises(psycopg.DatabaseError, match="AUD-010") as caught:
        query(book, call.replace("BUY", "SELL"))
    assert caught.value.sqlstate == "AUD10"


def test_what_its_twin_refuses(book: Connection) -> None:
    good, before = calls(book), counts(book)
    nobody = "'6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f', "
    correlation = one(book, "select correlation_id from signals where id = 1")
    refused = [
        ("AUD01", good["append_signal"].replace("1.5", "1.5::float8")),
        ("AUD01", good["append_signal"].replace(" 2,", " 2::real,")),
        ("AUD01", good["append_signal"].replace("1.5", "0.12345678901")),
        ("AUD01", good["append_ai_debate"].replace("0.5", "0.5::float8")),
        ("AUD01", good["append_order"].replace("1.25", "1.25::float8")),
        ("AUD01", good["append_order_event"].replace("1.25", "1.25::float8")),
        ("AUD08", good["append_ai_debate"].replace(f"'{correlation}', ", nobody)),
        ("AUD08", good["append_order"].replace(f"'{correlation}', ", nobody)),
        ("AUD08", "call append_order_event(4711, 'CANCELLED')"),
        ("23514", good["append_signal"].replace("BUY", "HOLD")),
        ("23502", "call append_signal(null, 'X', 'BUY', 1, 1, '{}')"),
        ("22P02", "call append_signal('s', 'X', 'BUY', 'a lot', 1, '{}')"),
    ]
    for code, call in refused:
        with pytest.raises(psycopg.DatabaseError) as caught:
            query(book, call)
        assert caught.value.sqlstate == code, (call, caught.value)
        assert counts(book) == before, call
    for call in good.values():
        query(book, call)
    assert_intact(book)


def test_in_a_lockdown_only_deliveries_and_events_are_open(book: Connection) -> None:
    query(book, "select _engage_lockdown('a test', '[]')")
    for name, call in calls(book).items():
        if name in ("append_webhook", "append_order_event"):
            query(book, call)
            continue
        with pytest.raises(psycopg.DatabaseError) as caught:
            query(book, call)
        assert caught.value.sqlstate == "AUD09", name


# --------------------------------------------------------------------------------------------------
# Where a procedure cannot commit


def in_a_transaction(connection: Connection, call: str) -> None:
    with connection.transaction():
        query(connection, call)


def in_a_savepoint(connection: Connection, call: str) -> None:
    with connection.transaction(), connection.transaction():
        query(connection, call)


def in_one_string_with_others(connection: Connection, call: str) -> None:
    connection.execute(f"{call}; {call}".encode())


def in_a_function(connection: Connection, call: str) -> None:
    query(
        connection,
        f"create or replace function pg_temp.f() returns void language plpgsql as $f$ begin {call}; end $f$",
    )
    query(connection, "select pg_temp.f()")


def in_an_exception_block(connection: Connection, call: str) -> None:
    query(connection, f"do $do$ begin {call}; exception when no_data_found then null; end $do$")


def in_a_procedure_with_settings(connection: Connection, call: str) -> None:
    query(
        connection,
        "create or replace procedure pg_temp.p() language plpgsql set search_path = public"
        f" as $p$ begin {call}; end $p$",
    )
    query(connection, "call pg_temp.p()")


@pytest.mark.parametrize(
    "where",
    [
        in_a_transaction,
        in_a_savepoint,
        in_one_string_with_others,
        in_a_function,
        in_an_exception_block,
        in_a_procedure_with_settings,
    ],
)
def test_where_it_cannot_commit_it_says_what_to_use(
    book: Connection, where: Callable[[Connection, str], None]
) -> None:
    before = counts(book)
    for name, call in calls(book).items():
        # plpgsql wants variables for what comes back
        inner = call
        if where in (in_a_function, in_an_exception_block, in_a_procedure_with_settings):
            inner = _with_variables(name, call)
        with pytest.raises(psycopg.errors.InvalidTransactionTermination) as caught:
            where(book, inner)
        error = caught.value
        assert error.sqlstate == "2D000"
        said = f"{error.diag.message_primary} {error.diag.message_hint} {error.diag.context}"
        assert CALLS[name][1] in said, said
    assert counts(book) == before
    query(book, calls(book)["append_signal"])
    assert_intact(book)


def _with_variables(name: str, call: str) -> str:
    """The call with variables of a block of its own in place of its INOUT arguments."""
    back = "id => i, row_hash => h, is_new => n"
    back += ", correlation_id => c" if name.endswith(("signal", "event")) else ""
    back += ", body => b, body_problem => p, is_whole => w" if name.endswith("webhook") else ""
    if name in ("append_ai_debate", "append_order"):
        given, _, rest = call.partition("(")[2].partition(", ")
        call, start = f"{call.partition('(')[0]}(c, {rest}", f" := {given}"
    else:
        start = ""
    variables = f"c uuid{start}; i bigint; h text; n boolean; b jsonb; p text; w boolean"
    return f"declare {variables}; begin {call[:-1]}, {back}); end"


def test_a_do_block_outside_a_transaction_may_commit(book: Connection) -> None:
    """And a row that it wrote stays, whatever the block does then."""
    call = _with_variables("append_signal", calls(book)["append_signal"])
    with pytest.raises(psycopg.errors.RaiseException):
        query(book, f"do $do$ begin {call}; raise 'later'; end $do$")
    assert one(book, "select count(*) from signals where signal_id = 's'") == 1


# --------------------------------------------------------------------------------------------------
# The session's settings


def test_a_call_reads_committed_whatever_the_session_s_default_is(book: Connection, connect: Connect) -> None:
    """A CALL that waits for the chain gets on where a strict snapshot would be sent back with 40001."""
    for level in ("repeatable read", "serializable"):
        strict = connect(default_transaction_isolation=level)
        for name, call in calls(book).items():
            holder = connect(autocommit=False)
            query(holder, f"select {CALLS[name][1]}({call.partition('(')[2]}".replace("'s'", f"'{level} 1'"))
            waiting = Background(strict, call.replace("'s'", f"'{level} 2'")).blocked(book)
            holder.commit()
            waiting.result()
        assert one(strict, "show transaction_isolation") == level
        assert one(strict, "show synchronous_commit") == "on"
    assert_intact(book)


def test_a_read_only_session_is_refused(book: Connection, connect: Connect) -> None:
    before = counts(book)
    reader = connect(default_transaction_read_only="on")
    for call in calls(book).values():
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            query(reader, call)
    assert counts(book) == before


def test_sessions_that_are_handed_around(book: Connection, connect: Connect, login_role: LoginRole) -> None:
    """As a pool does, in autocommit: twelve users of four sessions, prepared statements and all."""
    login = login_role("app_trading")
    sessions = [connect(user=login) for _ in range(4)]
    before = counts(book)

    def use(number: int) -> list[Row]:
        made = []
        for n in range(6):
            session = sessions[(number + n) % len(sessions)]
            call = "call append_signal(%s, 'X', 'BUY', %s::numeric, 1, '{}')"
            made += query(session, call, [f"p{number}-{n}", n + 1])
        return made

    rows = [row for made in all_at_once([partial(use, n) for n in range(12)]) for row in made]
    assert len({row["id"] for row in rows}) == len(rows) == 72
    assert counts(book)["signals"] == before["signals"] + 72
    assert_intact(book)


# --------------------------------------------------------------------------------------------------
# Who may, and whose objects are used


def test_who_may_call(book: Connection, connect: Connect, login_role: LoginRole) -> None:
    trading, others = connect(login_role("app_trading")), ["app_auditor", "app_risk", None]
    good = calls(book)
    for call in good.values():
        query(trading, call)
    after = counts(book)
    for role in others:
        session = connect(login_role(*[role] if role else []))
        for call in [*good.values(), "call _begin_append()"]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                query(session, call)
    assert counts(book) == after
    assert_intact(book)


def test_each_desk_s_call_writes_to_its_own(server: Server, database: str, connect: Connect) -> None:
    desks = ("Desk A", "public")
    server.psql(database, f"create schema {quote(desks[0])}")
    migrate_with_psql(server, database, schema=desks[0])
    for mine, other in (desks, desks[::-1]):
        session = connect()
        query(session, f"set search_path = {quote(mine)}")
        fill(session)
        before = counts(session)
        good = calls(session, mine)
        query(session, f"set search_path = {quote(other)}")
        elsewhere = counts(session)
        for call in good.values():
            query(session, call)
        assert counts(session) == elsewhere
        query(session, f"set search_path = {quote(mine)}")
        assert counts(session) == {table: n + 1 for table, n in before.items()}
        assert_intact(session)


# Every name that the bodies use, and then some, in a schema that somebody else fills: whatever of it runs, raises.
HOSTILE = [
    "create function evil.attack() returns boolean language plpgsql as"
    " $f$ begin raise exception 'the attacker ran as %', current_user; end $f$",
    *(
        f"create function evil.attack({t}, {t}) returns boolean language sql as $f$ select evil.attack() $f$;"
        + "".join(
            f" create operator evil.{operator} (leftarg = {t}, rightarg = {t}, function = evil.attack);"
            for operator in ("=", "<>", "<", "<=", ">", ">=")
        )
        for t in ("bigint", "integer", "text", "uuid", "numeric", "boolean", "regtype", "timestamptz")
    ),
    *(
        f"create function evil.{name}({takes}) returns {gives}"
        f" language sql as $f$ select evil.attack()::pg_catalog.text::{gives} $f$"
        for name, takes, gives in (
            ("current_setting", "pg_catalog.text", "pg_catalog.text"),
            ("char_length", "pg_catalog.text", "integer"),
            ("strpos", "pg_catalog.text, pg_catalog.text", "integer"),
            ("pg_typeof", "anyelement", "pg_catalog.regtype"),
            ("gen_random_uuid", "", "pg_catalog.uuid"),
            ("transaction_timestamp", "", "timestamptz"),
            ("statement_timestamp", "", "timestamptz"),
            ("_alarm_is_raised", "", "boolean"),
        )
    ),
    "create function evil.set_config(pg_catalog.text, pg_catalog.text, boolean) returns pg_catalog.text"
    " language sql as $f$ select evil.attack()::pg_catalog.text $f$",
    "create function evil.pg_logical_emit_message(boolean, pg_catalog.text, pg_catalog.text)"
    " returns pg_catalog.pg_lsn language sql as $f$ select evil.attack()::pg_catalog.text::pg_catalog.pg_lsn $f$",
    "create procedure evil._begin_append() language sql as $f$ select evil.attack() $f$",
    *(f"create table evil.{table} (id bigint, correlation_id uuid)" for table in AUDIT_TABLES),
    *(
        f"create type evil.recorded_{what} as (id boolean)"
        for what in ("webhook", "signal", "ai_debate", "order", "order_event")
    ),
    "create function evil.to_jsonb(anyelement) returns jsonb language sql as $f$ select evil.attack()::text::jsonb $f$",
    "create function evil.jsonb_agg(jsonb) returns jsonb language sql as $f$ select evil.attack()::text::jsonb $f$",
    # last, for until here these names mean PostgreSQL's own
    *(
        f"create domain evil.{t} as pg_catalog.{t} check (evil.attack())"
        for t in (
            "text",
            "uuid",
            "jsonb",
            "inet",
            "pg_lsn",
            "int8",
            "bool",
            "varchar",
            "bpchar",
            "numeric",
            "bytea",
        )
    ),
]


def test_nothing_of_a_hostile_search_path_is_run(
    book: Connection, connect: Connect, login_role: LoginRole
) -> None:
    attacker, victim = login_role(), connect(login_role("app_trading"))
    query(book, f"create schema evil authorization {attacker}")
    query(book, "grant usage on schema evil to public")
    other = connect(attacker)
    for statement in HOSTILE:
        query(other, statement)
    before = counts(book)
    for number, path in enumerate(
        ("evil, pg_catalog, public", "evil, public, pg_catalog", "evil", "pg_temp, evil")
    ):
        query(victim, f"set search_path = {path}")
        if "pg_catalog" in path:  # that the traps are set
            for trap in (
                "select 'a'::text",
                "select 1::bigint = 1::bigint",
                "call _begin_append()",
            ):
                with pytest.raises(psycopg.errors.RaiseException, match="the attacker ran"):
                    query(victim, trap)
        for call in calls(book).values():
            query(victim, call.replace("'s'", f"'s{number}'"))
        assert counts(book) == {table: n + number + 1 for table, n in before.items()}
    assert_intact(book)

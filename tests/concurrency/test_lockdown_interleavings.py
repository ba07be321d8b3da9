"""From the alarm on, no row of a closed table is written by anybody: writer, engager, releaser, rollback and crash,
a step at a time. The argument that these steps are all there are stands in docs/chain-format.md, "The lockdown"."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.chain.by_force import release
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole, Prepared
from tests.support import (
    PATIENCE,
    Connection,
    Parameters,
    fill,
    make_signal,
    one,
    query,
    quote,
    tamper,
    verdicts,
    wait_until,
)

LEVELS = ("read committed", "repeatable read", "serializable")
CLOSED = {
    "signals": "select id from record_signal(%(key)s, 'X', 'BUY', 1, 1, '{}')",
    "ai_debates": "select id from record_ai_debate(%(correlation_id)s, 'phi-4', '{}', 0.5, 1)",
    "order_execution": "select id from record_order(%(correlation_id)s, 'MARKET', 'X', 'BUY', 1)",
}
PLAIN = "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
ENGAGE = 'select _engage_lockdown(\'test\', \'[{"table": "signals", "id": 1}]\')'
FALSE_ROOT = "select (verify_checkpoint('signals', 3, decode(repeat('00', 32), 'hex'))).detail"
Begin = Callable[[str], Connection]


@pytest.fixture
def origin(prepared: Prepared) -> str:
    return prepared("interleavings_book", fill)


@pytest.fixture
def book(db: Connection) -> Connection:
    return db


@pytest.fixture
def begin(connect: Connect) -> Begin:
    """Factory: a session in a transaction of the level, whose snapshot is taken."""

    def begin(level: str) -> Connection:
        session = connect(autocommit=False, statement_timeout=f"{PATIENCE}s")
        session.execute(f"set transaction isolation level {level}")
        session.execute("select")
        return session

    return begin


def arguments(connection: Connection, key: str) -> dict[str, object]:
    return {"key": key, "correlation_id": one(connection, "select correlation_id from signals where id = 1")}


def refused(connection: Connection, statement: str, parameters: Parameters = ()) -> None:
    """The statement is refused by the lockdown, or sent back by it because its snapshot is too old to tell."""
    with pytest.raises(psycopg.DatabaseError) as caught:
        query(connection, statement, parameters)
    assert caught.value.sqlstate in ("AUD09", "40001"), caught.value


def locked(connection: Connection) -> bool:
    return bool(one(connection, "select is_locked from lockdown_status()"))


def counted(connection: Connection, table: str = "signals") -> int:
    return int(one(connection, f"select count(*) from {table}"))


# --------------------------------------------------------------------------------------------------
# A writer in the middle of its transaction


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("table", CLOSED)
def test_a_writer_that_holds_its_chain_is_refused_at_its_next_row(
    book: Connection, begin: Begin, level: str, table: str
) -> None:
    writer = begin(level)
    query(writer, CLOSED[table], arguments(book, "before"))
    query(book, ENGAGE)
    refused(writer, CLOSED[table], arguments(book, "after"))


@pytest.mark.parametrize("level", LEVELS)
def test_rows_written_before_the_alarm_may_be_committed(book: Connection, begin: Begin, level: str) -> None:
    writer = begin(level)
    make_signal(writer, 8)
    query(book, ENGAGE)
    writer.commit()
    written = one(book, "select created_at from signals where id = 4")
    assert written < one(book, "select since from lockdown_status()")


@pytest.mark.parametrize("level", LEVELS)
def test_a_savepoint_does_not_let_a_refused_writer_in(book: Connection, begin: Begin, level: str) -> None:
    writer = begin(level)
    make_signal(writer, 8)
    query(book, ENGAGE)
    for number in (9, 10):
        writer.execute("savepoint s")
        refused(writer, CLOSED["signals"], {"key": f"after {number}"})
        writer.execute("rollback to s")
    writer.commit()
    assert counted(book) == 4


@pytest.mark.parametrize("level", LEVELS)
def test_a_writer_that_catches_the_refusal_in_a_loop_writes_nothing(
    book: Connection, begin: Begin, level: str
) -> None:
    """The attack that wrote 88,000 rows into a lockdown: insert, catch, insert again, in one transaction."""
    writer = begin(level)
    make_signal(writer, 8)
    engager = begin("read committed")
    query(engager, ENGAGE)  # the alarm is raised, its event not committed
    loop = f"""do $$ begin
      for n in 1..50 loop
        begin
          {PLAIN} values ('loop ' || n, 'X', 'BUY', 1, 1, '{{}}');
        exception when others then null;
        end;
      end loop;
    end $$"""
    writer.execute(loop)
    engager.commit()
    writer.execute(loop)
    writer.commit()
    assert counted(book) == 4


@pytest.mark.parametrize("role", ["app_trading", "pg_write_all_data"])
def test_a_row_that_stands_when_the_alarm_is_raised_is_undone_with_its_statement(
    book: Connection, connect: Connect, login_role: LoginRole, role: str
) -> None:
    """RETURNING is computed after the row was stored and its triggers asked: the statement's end asks again, also
    for a writer who may not read the alarm."""
    gate = connect()
    query(gate, "select pg_advisory_lock(1)")
    writer = connect(login_role(role))
    user = quote(writer.info.user)
    query(book, f"grant usage on schema public to {user}; grant usage on sequence signals_id_seq to {user}")
    query(book, f"grant execute on function _refuse_decimal(numeric, text) to {user}")
    waiting = Background(
        writer, f"{PLAIN} values ('n', 'X', 'BUY', 1, 1, '{{}}') returning pg_advisory_xact_lock(1)"
    ).blocked(book)
    query(book, ENGAGE)
    query(gate, "select pg_advisory_unlock(1)")
    error = waiting.error()
    assert isinstance(error, psycopg.DatabaseError)
    assert error.sqlstate == "AUD09"
    assert counted(book) == 3


def test_a_statement_of_many_rows_stops_at_the_row_after_the_alarm(
    book: Connection, connect: Connect
) -> None:
    gate = connect()
    query(gate, "select pg_advisory_lock(1)")
    writer = connect()
    waiting = Background(
        writer,
        f"{PLAIN} select 'n' || n, 'X', 'BUY', 1, 1, '{{}}' from generate_series(1, 1000) as n"
        " where n <> 500 or pg_advisory_xact_lock(1) is not null",
    ).blocked(book)
    query(book, ENGAGE)
    query(gate, "select pg_advisory_unlock(1)")
    error = waiting.error()
    assert isinstance(error, psycopg.DatabaseError)
    assert error.sqlstate == "AUD09"
    assert counted(book) == 3


def test_a_copy_that_runs_is_refused(book: Connection, connect: Connect) -> None:
    writer = connect(autocommit=False)
    row = ("X", "BUY", "1", "1", "{}")

    def copy_while_it_is_engaged() -> None:
        target = "copy signals (signal_id, symbol, side, price, quantity, raw_payload) from stdin"
        with writer.cursor().copy(target) as copy:
            for number in range(5000):  # more than one message, so that the server has begun
                copy.write_row((f"copy {number}", *row))
                if number == 4000:
                    wait_until(book, "select pg_sequence_last_value('writer_signals') is not null")
                    query(book, ENGAGE)

    with pytest.raises(psycopg.DatabaseError, match="AUD-009"):
        copy_while_it_is_engaged()
    assert counted(book) == 3


def test_a_writer_that_waits_for_the_chain_meanwhile_is_refused(book: Connection, connect: Connect) -> None:
    holder = connect(autocommit=False)
    make_signal(holder, 8)
    waiting = Background(connect(), CLOSED["signals"], {"key": "n"}).blocked(book)
    query(book, ENGAGE)
    holder.rollback()
    error = waiting.error()
    assert isinstance(error, psycopg.DatabaseError)
    assert error.sqlstate == "AUD09"


def test_a_prepared_transaction_keeps_what_it_wrote_and_lets_no_more_in(
    book: Connection, connect: Connect
) -> None:
    writer = connect(autocommit=False)
    make_signal(writer, 8)
    writer.execute("prepare transaction 'before'")
    waiting = Background(connect(), CLOSED["signals"], {"key": "n"}).blocked(book)
    query(book, ENGAGE)
    book.execute("commit prepared 'before'")
    assert isinstance(waiting.error(), psycopg.DatabaseError)
    assert counted(book) == 4
    refused(book, CLOSED["signals"], {"key": "after"})


@pytest.mark.parametrize("level", LEVELS)
def test_append_is_refused_too(book: Connection, connect: Connect, level: str) -> None:
    writer = connect(default_transaction_isolation=level)
    query(book, ENGAGE)
    refused(writer, "call append_signal('n', 'X', 'BUY', 1, 1, '{}')")


# --------------------------------------------------------------------------------------------------
# An engager that does not end well


@pytest.mark.parametrize("level", LEVELS)
def test_the_alarm_holds_before_its_event_is_committed(book: Connection, begin: Begin, level: str) -> None:
    engager = begin("read committed")
    query(engager, ENGAGE)
    refused(begin(level), CLOSED["signals"], {"key": "n"})
    assert locked(book)


@pytest.mark.parametrize("level", LEVELS)
def test_a_rollback_of_the_engager_lets_nobody_in(book: Connection, begin: Begin, level: str) -> None:
    engager, writer = begin(level), begin(level)
    query(engager, ENGAGE)
    engager.rollback()
    refused(writer, CLOSED["signals"], {"key": "n"})
    assert locked(book)


def test_an_engager_that_is_killed_lets_nobody_in(book: Connection, connect: Connect) -> None:
    engager = connect(autocommit=False)
    query(engager, ENGAGE)
    query(book, "select pg_terminate_backend(%s)", [engager.info.backend_pid])
    wait_until(
        book, "select not exists (select from pg_stat_activity where pid = %s)", [engager.info.backend_pid]
    )
    refused(book, CLOSED["signals"], {"key": "n"})


def test_who_raised_an_alarm_that_was_rolled_back_is_recorded(
    book: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """An auditor can hand in a false root; it can neither hide that nor take it back."""
    auditor = login_role("app_auditor")
    session = connect(auditor, autocommit=False)
    assert "lockdown engaged" in one(session, FALSE_ROOT)
    session.rollback()
    assert auditor in one(book, "select reason from lockdown_status()")
    verdicts(book)
    assert auditor in one(book, "select reason from lockdown_events")


def test_an_auditor_that_holds_the_events_does_not_keep_the_lockdown_off(
    book: Connection, connect: Connect, login_role: LoginRole
) -> None:
    tamper(book, "update signals set price = 1 where id = 2")
    auditor = connect(login_role("app_auditor"), autocommit=False)
    one(auditor, FALSE_ROOT)
    said = verdicts(book)["signals"].detail
    assert "lockdown engaged, but its event is not recorded yet" in said
    assert "55P03" in said
    assert locked(book)
    auditor.rollback()
    assert "lockdown engaged (event" in verdicts(book)["signals"].detail
    assert "content_mismatch at signals 2" in one(book, "select string_agg(reason, ' ') from lockdown_events")


def test_traders_that_hold_all_chains_do_not_keep_it_off(
    book: Connection, connect: Connect, login_role: LoginRole
) -> None:
    tamper(book, "update order_events set event_type = 'EXPIRED' where id = 1")
    trader = connect(login_role("app_trading"), autocommit=False)
    for statement in CLOSED.values():
        query(trader, statement, arguments(book, "held"))
    query(book, f"set statement_timeout = '{PATIENCE}s'")
    assert "lockdown engaged (event 1)" in verdicts(book)["order_events"].detail


def test_two_engagers_at_once_leave_it_engaged_and_both_recorded(
    book: Connection, connect: Connect, begin: Begin
) -> None:
    first = begin("read committed")
    query(first, 'select _engage_lockdown(\'first\', \'[{"table": "signals", "id": 1}]\')')
    second = Background(
        connect(), 'select _engage_lockdown(\'second\', \'[{"table": "signals", "id": 2}]\') as said'
    ).blocked(book)
    first.commit()
    assert "event 2" in second.result()[0]["said"]
    assert [row["reason"] for row in query(book, "select reason from lockdown_events order by id")] == [
        "first",
        "second",
    ]
    assert [item["id"] for item in one(book, "select damage from lockdown_status()")] == [1, 2]


def test_a_verification_beside_the_engager_does_not_call_its_event_lost(
    book: Connection, connect: Connect, begin: Begin
) -> None:
    book.execute("alter function _attend_alarm set lock_timeout = '30s'")  # no race with the test
    first = begin("read committed")
    query(first, ENGAGE)
    second = Background(connect(), "select _attend_alarm(true)").blocked(book)
    first.commit()
    second.result()
    assert [row["reason"] for row in query(book, "select reason from lockdown_events")] == ["test"]


def test_no_function_sends_a_notification(book: Connection) -> None:
    """It would fail at commit when a stranger has filled the queue, and with it what must happen."""
    source = "select string_agg(proname, ', ') from pg_proc where prosrc ~* '(pg_notify|\\mnotify\\M)'"
    assert one(book, f"{source} and pronamespace = current_schema()::regnamespace") is None


# --------------------------------------------------------------------------------------------------
# A release


def lift(connection: Connection) -> None:
    query(connection, ENGAGE)
    release(connection, "test")


def test_after_a_release_rows_are_written_again(book: Connection) -> None:
    lift(book)
    assert make_signal(book, 8)["id"] == 4
    assert one(
        book, "select pg_sequence_last_value('lockdown_lifted') = pg_sequence_last_value('lockdown_alarm')"
    )


def test_a_release_that_is_rolled_back_lets_nobody_in(book: Connection, connect: Connect) -> None:
    """Not even if its own transaction wrote a row, which must not remember it as released."""
    lift(book)  # _release_holds says yes from here on
    query(book, 'select _engage_lockdown(\'again\', \'[{"table": "signals", "id": 2}]\')')
    releaser = connect(autocommit=False)
    releaser.execute("select")  # so that what follows is part of one transaction
    release(releaser, "test")
    make_signal(releaser, 8)
    releaser.rollback()
    assert locked(book)
    refused(book, CLOSED["signals"], {"key": "n"})


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_snapshot_older_than_the_release_is_sent_back(book: Connection, begin: Begin, level: str) -> None:
    query(book, ENGAGE)
    writer = begin(level)
    release(book, "test")
    with pytest.raises(psycopg.errors.SerializationFailure):
        query(writer, CLOSED["signals"], {"key": "n"})


@pytest.mark.parametrize("level", LEVELS)
def test_an_alarm_raised_after_a_release_closes_the_tables_again(
    book: Connection, begin: Begin, level: str
) -> None:
    lift(book)
    writer = begin(level)
    make_signal(writer, 8)
    query(book, 'select _engage_lockdown(\'again\', \'[{"table": "signals", "id": 2}]\')')
    refused(writer, CLOSED["signals"], {"key": "n"})


def test_a_release_of_an_earlier_alarm_does_not_lift_a_later_one(book: Connection) -> None:
    query(book, ENGAGE)
    earlier = one(book, "select pg_sequence_last_value('lockdown_alarm')")
    with book.transaction():
        release(book, "test")
        tamper(book, f"update lockdown_events set alarm = {earlier} where id = 2")
    query(book, "select setval('lockdown_alarm', 77)")  # an engager that was faster, its event to come
    assert locked(book)
    refused(book, CLOSED["signals"], {"key": "n"})


# --------------------------------------------------------------------------------------------------
# Where rows go


@pytest.mark.parametrize("table", ["signals", "lockdown_events", "votes"])
def test_a_row_that_would_be_stored_elsewhere_is_refused(book: Connection, table: str) -> None:
    """What a time-series extension does to a table: rows go to chunks that inherit its triggers."""
    book.execute(f"create table chunk (like {quote(table)} including all)")
    book.execute(f"alter table chunk inherit {quote(table)}")
    book.execute(
        f"create trigger zzz_chain before insert on chunk for each row execute function _chain_{table}('{table}')"
    )
    with pytest.raises(psycopg.DatabaseError) as caught:
        book.execute("insert into chunk default values")
    assert caught.value.sqlstate == "AUD11"
    assert "partition" in str(caught.value.diag.message_detail)


def test_nothing_says_engaged_if_the_event_went_elsewhere(book: Connection) -> None:
    book.execute("create table chunk (like lockdown_events including all) inherits (lockdown_events)")
    book.execute(
        "create function reroute() returns trigger language plpgsql as"
        " $$ begin insert into chunk select new.*; return null; end $$"
    )
    book.execute(
        "create trigger aaa before insert on lockdown_events for each row execute function reroute()"
    )
    said = one(book, ENGAGE)
    assert said.startswith("lockdown engaged, but its event is not recorded yet")
    assert locked(book)


def test_an_engagement_with_an_old_snapshot_does_not_say_that_it_is_done(
    connect: Connect, db: Connection
) -> None:
    query(db, "select _engage_lockdown('a test', '[]')")
    old = connect(autocommit=False)
    old.execute("set transaction isolation level repeatable read")
    query(old, "select 1")
    query(db, "select _engage_lockdown('a test', '[]')")
    release(db, "a test", '[{"table": "signals", "id": 1, "verdict": "tail_missing", "actual_hash": null}]')
    said = one(old, "select _lockdown_over('[{}]', true)")
    old.rollback()
    assert said != "the lockdown is engaged already"

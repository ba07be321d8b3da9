"""Two sessions, one step at a time: what each isolation level sees, and who is sent back with 40001."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.chain.by_force import judge
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole
from tests.support import AUDIT_TABLES, PATIENCE, Connection, fill, make_signal, one, query

STRICT = ("repeatable read", "serializable")
SIGNAL = "select id from record_signal(%(key)s, 'X', 'BUY', 1, 1, '{}')"
INSERTS = {
    "webhook_deliveries": "select id from record_webhook('{}')",
    "signals": SIGNAL,
    "ai_debates": "select id from record_ai_debate(%(correlation_id)s, 'phi-4', '{}', 0.5, 1)",
    "order_execution": "select id from record_order(%(correlation_id)s, 'MARKET', 'X', 'BUY', 1)",
    "order_events": "select id from record_order_event(1, 'CANCELLED')",
}
Begin = Callable[[str], Connection]


@pytest.fixture
def begin(connect: Connect) -> Begin:
    """Factory: a session in a transaction of the level, whose snapshot is taken."""

    def begin(level: str) -> Connection:
        session = connect(autocommit=False, statement_timeout=f"{PATIENCE}s")
        session.execute(f"set transaction isolation level {level}")
        session.execute("select")
        return session

    return begin


@pytest.fixture
def book(db: Connection) -> Connection:
    fill(db)
    return db


def arguments(connection: Connection, key: str) -> dict[str, object]:
    return {"key": key, "correlation_id": one(connection, "select correlation_id from signals where id = 1")}


def assert_intact(connection: Connection) -> None:
    for table in AUDIT_TABLES:
        assert judge(connection, table).verdict == "intact"
        assert one(connection, f"select count(*) = max(id) from {table}")


@pytest.mark.parametrize("level", STRICT)
@pytest.mark.parametrize("table", AUDIT_TABLES)
def test_a_snapshot_older_than_the_tail_is_sent_back(
    book: Connection, begin: Begin, level: str, table: str
) -> None:
    """40001, which every driver knows how to retry; not 23505, which says that the row is there already."""
    given = arguments(book, "late")
    old = begin(level)
    query(book, INSERTS[table], {**given, "key": "first"})
    with pytest.raises(psycopg.errors.SerializationFailure) as caught:
        query(old, INSERTS[table], given)
    assert table in str(caught.value.diag.message_primary)
    old.rollback()
    query(old, INSERTS[table], given)
    old.commit()
    assert_intact(book)


@pytest.mark.parametrize("level", STRICT)
def test_a_snapshot_that_waited_for_the_lock_is_sent_back(book: Connection, begin: Begin, level: str) -> None:
    first = begin("read committed")
    make_signal(first, 50)
    second = begin(level)
    waiting = Background(second, SIGNAL, {"key": "late"}).blocked(book)
    first.commit()
    assert isinstance(waiting.error(), psycopg.errors.SerializationFailure)
    second.rollback()
    query(second, SIGNAL, {"key": "late"})
    second.commit()
    assert_intact(book)


@pytest.mark.parametrize("level", STRICT)
def test_a_snapshot_that_sees_the_tail_writes(book: Connection, begin: Begin, level: str) -> None:
    session = begin(level)
    make_signal(session, 50)
    make_signal(session, 51)
    session.commit()
    session = begin(level)
    fill(session, first=60)
    session.commit()
    assert_intact(book)


@pytest.mark.parametrize("level", STRICT)
def test_another_chain_s_rows_do_not_send_back(book: Connection, begin: Begin, level: str) -> None:
    session = begin(level)
    query(book, INSERTS["order_events"])
    make_signal(session, 50)
    session.commit()
    assert_intact(book)


def test_a_read_committed_writer_waits_and_goes_on(book: Connection, begin: Begin) -> None:
    first, second = begin("read committed"), begin("read committed")
    make_signal(first, 50)
    waiting = Background(second, SIGNAL, {"key": "second"}).blocked(book)
    first.commit()
    assert waiting.result() == [{"id": 5}]
    second.commit()
    assert_intact(book)


def test_a_waiting_writer_takes_the_place_of_one_that_rolled_back(book: Connection, begin: Begin) -> None:
    first, second = begin("read committed"), begin("read committed")
    make_signal(first, 50)
    waiting = Background(second, SIGNAL, {"key": "second"}).blocked(book)
    first.rollback()
    assert waiting.result() == [{"id": 4}]
    second.commit()
    assert_intact(book)


@pytest.mark.parametrize("level", ["read committed", *STRICT])
def test_rollback_to_a_savepoint_lets_the_next_writer_in(book: Connection, begin: Begin, level: str) -> None:
    """The lock goes with the savepoint; the first writer must then not believe that it still holds the tail."""
    first, second = begin(level), begin("read committed")
    first.execute("savepoint s")
    make_signal(first, 50)
    waiting = Background(second, SIGNAL, {"key": "second"}).blocked(book)
    first.execute("rollback to savepoint s")
    assert waiting.result() == [{"id": 4}]
    second.commit()
    if level == "read committed":
        assert make_signal(first, 51)["id"] == 5
        first.commit()
    else:
        with pytest.raises(psycopg.errors.SerializationFailure):
            make_signal(first, 51)
    assert_intact(book)


def test_a_writer_that_rolled_back_to_a_savepoint_does_not_hold_up_strict_ones_for_ever(
    book: Connection, begin: Begin
) -> None:
    """While it is open they are told to retry; afterwards they write."""
    first = begin("read committed")
    first.execute("savepoint s")
    make_signal(first, 50)
    first.execute("rollback to savepoint s")
    strict = begin("repeatable read")
    try:
        make_signal(strict, 51)
    except psycopg.errors.SerializationFailure:
        strict.rollback()
    first.commit()
    strict = begin("repeatable read")
    make_signal(strict, 52)
    strict.commit()
    assert_intact(book)


@pytest.mark.parametrize("level", STRICT)
def test_a_marker_from_another_cluster_s_dump_is_ignored(book: Connection, begin: Begin, level: str) -> None:
    """pg_dump carries the sequence that holds the last writer's transaction id: here it means nothing."""
    query(book, "select setval('writer_signals', 4000000000)")
    session = begin(level)
    make_signal(session, 50)
    session.commit()
    assert_intact(book)


@pytest.mark.parametrize("level", STRICT)
def test_without_a_mark_a_snapshot_is_believed_at_the_second_try(
    book: Connection, begin: Begin, level: str
) -> None:
    """An unlogged sequence is empty after a crash, and a prepared transaction may have written since the snapshot."""
    query(book, "alter sequence writer_signals restart")
    session, older = begin(level), begin(level)
    query(older, "select 1")
    with pytest.raises(psycopg.errors.SerializationFailure):
        make_signal(session, 50)
    session.rollback()
    make_signal(session, 50)
    session.commit()
    with pytest.raises(psycopg.errors.SerializationFailure):
        make_signal(older, 51)
    assert_intact(book)


@pytest.mark.parametrize("level", STRICT)
@pytest.mark.parametrize("table", ["ai_debates", "order_execution"])
def test_a_reference_that_the_snapshot_is_too_old_to_see(
    book: Connection, begin: Begin, level: str, table: str
) -> None:
    """40001: it exists, so AUD-008 would send the application looking for a fault of its own."""
    session = begin(level)
    given = {"key": "-", "correlation_id": make_signal(book, 50)["correlation_id"]}
    with pytest.raises(psycopg.errors.SerializationFailure):
        query(session, INSERTS[table], given)
    session.rollback()
    query(session, INSERTS[table], given)
    session.commit()
    assert_intact(book)


@pytest.mark.parametrize("level", STRICT)
def test_an_order_that_the_snapshot_is_too_old_to_see(book: Connection, begin: Begin, level: str) -> None:
    session = begin(level)
    order = query(book, INSERTS["order_execution"], arguments(book, "-"))[0]["id"]
    with pytest.raises(psycopg.errors.SerializationFailure):
        query(session, "select id from record_order_event(%s, 'CANCELLED')", [order])


@pytest.mark.parametrize("level", STRICT)
def test_a_delivery_that_the_snapshot_is_too_old_to_see(book: Connection, begin: Begin, level: str) -> None:
    session = begin(level)
    delivery = query(book, INSERTS["webhook_deliveries"])[0]["id"]
    with pytest.raises(psycopg.errors.SerializationFailure):
        make_signal(session, 50, delivery_id=delivery)
    session.rollback()
    make_signal(session, 50, delivery_id=delivery)
    session.commit()
    assert_intact(book)


@pytest.mark.parametrize("level", ["read committed", *STRICT])
def test_a_reference_that_nobody_made(book: Connection, begin: Begin, level: str) -> None:
    for statement in (
        "select record_ai_debate(gen_random_uuid(), 'phi-4', '{}', 0.5, 1)",
        "select record_order(gen_random_uuid(), 'MARKET', 'X', 'BUY', 1)",
        "select record_order_event(999, 'CANCELLED')",
        "select record_signal('s', 'X', 'BUY', 1, 1, '{}', delivery_id => 999)",
    ):
        session = begin(level)
        with pytest.raises(psycopg.DatabaseError) as caught:
            query(session, statement)
        assert caught.value.sqlstate == "AUD08"
    assert_intact(book)


@pytest.mark.parametrize("level", STRICT)
def test_a_transaction_sees_its_own_references(book: Connection, begin: Begin, level: str) -> None:
    session = begin(level)
    fill(session, first=50)
    session.commit()
    assert_intact(book)


def test_a_writer_holds_only_the_chains_that_it_wrote(book: Connection, begin: Begin) -> None:
    first, second = begin("read committed"), begin("read committed")
    make_signal(first, 50)
    for table in ("ai_debates", "order_execution", "order_events"):
        query(second, INSERTS[table], arguments(book, "-"))
    second.commit()
    held = query(
        book,
        "select relation::regclass::text as name from pg_locks"
        " where pid = %s and mode = 'ShareUpdateExclusiveLock' and relation is not null",
        [first.info.backend_pid],
    )
    assert held == [{"name": "lock_signals"}]
    first.commit()
    assert_intact(book)


def test_readers_wait_for_nobody(book: Connection, begin: Begin, connect: Connect) -> None:
    writer = begin("read committed")
    fill(writer, first=50)
    reader = connect(lock_timeout="100ms", statement_timeout=f"{PATIENCE}s")
    assert one(reader, "select count(distinct id) from vw_trade_audit_full") == one(
        book, "select count(*) from signals"
    )
    for table in AUDIT_TABLES:
        assert judge(reader, table).verdict == "intact"
    writer.commit()


@pytest.mark.usefixtures("book")
def test_a_login_without_rights_can_not_hold_a_chain(connect: Connect, login_role: LoginRole) -> None:
    """Neither by the lock itself nor by an advisory lock, which any login can take."""
    statements = [
        *(f"lock table lock_{{0}} in {mode} mode" for mode in ("exclusive", "access share", "row exclusive")),
        "lock table {0} in exclusive mode",
        "lock table {0} in share mode",
        "select * from lock_{0}",
        "select setval('writer_{0}', 1)",
        "select * from {0} for update",
    ]
    for roles in ((), ("app_trading",), ("app_auditor",), ("app_risk",)):
        login = connect(user=login_role(*roles))
        for statement in [text.format(table) for table in AUDIT_TABLES for text in statements]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), login.transaction():
                query(login, statement)


def test_every_advisory_lock_that_a_stranger_may_guess_blocks_no_writer(
    book: Connection, connect: Connect, login_role: LoginRole
) -> None:
    stranger = connect(user=login_role())
    query(
        stranger,
        "select pg_advisory_lock(hashtextextended(p || t, 0)), pg_advisory_lock(hashtext(p || t)), pg_advisory_lock(n)"
        " from unnest(array['', 'alpha-db/', 'alpha-db/chain/', 'alpha-db/chain/v1/', 'lock_']) as p,"
        " unnest(%s::text[]) with ordinality as t(t, n)",
        [list(AUDIT_TABLES)],
    )
    writer = connect(lock_timeout="2s")
    fill(writer, first=50)
    assert_intact(book)


def test_both_orders_of_two_chains_deadlock_at_worst_and_leave_the_chain_intact(
    book: Connection, begin: Begin
) -> None:
    """Against the documented order: the server breaks the deadlock, one of the two goes on."""
    first, second = begin("read committed"), begin("read committed")
    given = arguments(book, "a")
    make_signal(first, 50)
    query(second, INSERTS["ai_debates"], given)
    waiting = Background(first, INSERTS["ai_debates"], given).blocked(book)
    late = Background(second, SIGNAL, {"key": "b"})
    errors = [error for error in (waiting.error(), late.error()) if error]
    assert [type(error) for error in errors] == [psycopg.errors.DeadlockDetected]
    first.rollback()
    second.rollback()
    assert_intact(book)


def test_a_prepared_transaction_that_outlives_a_crash_is_no_23505(connect: Connect, db: Connection) -> None:
    make_signal(db)
    prepared = connect(autocommit=False)
    make_signal(prepared, 2)
    prepared.execute("prepare transaction 'outlives'")
    query(
        db, "select setval('writer_signals', 1, false), setval('tail_signals', 1, false)"
    )  # as after a crash
    late = connect(autocommit=False)
    late.execute("set transaction isolation level repeatable read")
    query(late, "select 1")
    db.execute("commit prepared 'outlives'")
    with pytest.raises(psycopg.errors.SerializationFailure):
        make_signal(late, 3)
    late.rollback()
    late.execute("set transaction isolation level repeatable read")
    assert make_signal(late, 3)["id"] == 3

"""Exit code 4: damage was found, and the lockdown or its event could not be recorded, though it was tried again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.checkpoint.book import Book, public
from tests.checkpoint.book import run as alpha_db
from tests.cli.desk import Desk
from tests.cluster import Server
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole
from tests.support import Connection, fill, make_signal, one, query, result_of, tamper

pytest_plugins = ["tests.cli.fix_desk"]


def fail_to_engage(db: Connection, times: int) -> None:
    """Make engaging the lockdown fail so many times; what counts is not undone by a rollback."""
    db.execute(
        "alter function _engage_lockdown(text, jsonb) rename to real_engage;"
        "create sequence attempts; grant usage on sequence attempts to public;"
        "create function _engage_lockdown(reason text, damage jsonb) returns text language plpgsql as $$ begin"
        f" if nextval('attempts') <= {times} then raise exception 'no luck' using errcode = '55P03'; end if;"
        " return real_engage(reason, damage); end $$"
    )


@pytest.fixture
def damaged(desk: Desk, db: Connection) -> Desk:
    """Row 2 of signals was edited."""
    fill(db)
    tamper(db, "update signals set price = 1 where id = 2")
    return desk


def is_locked(db: Connection) -> bool:
    return bool(one(db, "select is_locked from lockdown_status()"))


def test_damage_that_engages_the_lockdown_is_exit_1(damaged: Desk, db: Connection) -> None:
    found = damaged.run("verify-chain", "--json", expect=1)
    assert (found.json["lockdown_recorded"], found.err) == (True, "")
    assert is_locked(db)


def test_what_fails_at_first_is_tried_again_in_a_session_of_its_own(damaged: Desk, db: Connection) -> None:
    fail_to_engage(db, times=2)
    found = damaged.run("verify-chain", "--json", expect=1)
    assert "not recorded yet, trying for 30 s" in found.err
    assert "no luck" in found.err
    assert found.err.count("\n") == 1
    assert is_locked(db)
    assert found.json["lockdown_recorded"] is True
    row = next(row for row in found.json["tables"] if row["table_name"] == "signals")
    assert "no luck" not in row["detail"]


def test_what_never_works_is_exit_4_in_every_format(damaged: Desk, db: Connection) -> None:
    fail_to_engage(db, times=1_000_000)
    options = ("verify-chain", "--engage-for", "0.1")
    document = damaged.run(*options, "--json", expect=4).json
    assert document["lockdown_recorded"] is False
    shown = damaged.run(*options, expect=4).out
    assert "DAMAGE in 1 of" in shown
    assert "NOT engaged" in shown or "NOT be recorded" in shown
    assert "alpha_db_verify_exit_code 4\n" in damaged.run(*options, "--format", "prometheus", expect=4).out
    tried = int(one(db, "select last_value from attempts"))
    assert damaged.run("verify-chain", "--engage-for", "0", expect=4).err == ""
    assert one(db, "select last_value from attempts") == tried + 1, "nothing was tried again"


def test_without_lockdown_nothing_is_tried(damaged: Desk, db: Connection) -> None:
    fail_to_engage(db, times=1_000_000)
    found = damaged.run("verify-chain", "--no-lockdown", "--json", expect=1).json
    assert found["lockdown_recorded"] is None
    assert one(db, "select is_called from attempts") is False


def test_no_damage_asks_for_no_lockdown(desk: Desk, db: Connection) -> None:
    fill(db)
    assert desk.run("verify-chain", "--json").json["lockdown_recorded"] is None
    db.execute("alter table signals disable trigger zzz_chain")
    assert desk.run("verify-chain", "--json", expect=1).json["lockdown_recorded"] is None


def test_where_nothing_can_be_written_damage_is_exit_4_until_the_lockdown_shows(
    server: Server, damaged: Desk, db: Connection
) -> None:
    """A standby shows the lockdown that its primary engaged; this session is read-only in the same way."""
    reader = Desk(
        server.dsn(db.info.dbname, options="-cdefault_transaction_read_only=on"),
        damaged.folder,
        damaged.capsys,
    )
    said = reader.run("verify-chain", expect=None)
    if not one(db, "select is_locked from lockdown_status()"):  # a command of ours may lift the setting
        assert said.code == 4
    damaged.run("verify-chain", expect=1)
    assert reader.run("verify-chain", expect=1).code == 1


@pytest.mark.long  # waits for 5 s, as a table that is locked does in test_gone_or_locked.py
def test_an_auditor_that_holds_the_lockdown_open_keeps_it_off_for_nobody(
    damaged: Desk, db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """Its own verification of a checkpoint that is none takes the lock of the lockdown's log, and never ends."""
    auditor = connect(user=login_role("app_auditor"), autocommit=False)
    query(auditor, "select verify_checkpoint('signals', 2, decode(repeat('00', 32), 'hex'))")
    kept = damaged.run("verify-chain", "--engage-for", "0.2", expect=4)
    assert "not recorded yet" in kept.err
    assert f"session {auditor.info.backend_pid}" in kept.err
    auditor.rollback()
    damaged.run("verify-chain", expect=1)
    assert is_locked(db)


def test_the_event_is_recorded_as_soon_as_the_holder_ends(
    damaged: Desk, db: Connection, connect: Connect
) -> None:
    holder = connect(autocommit=False)
    holder.execute("lock table lock_lockdown_events in share update exclusive mode")
    pid = holder.info.backend_pid
    ender = connect()
    ender.execute(
        "create function give_up() returns boolean language plpgsql as $$ begin"
        f" while not exists (select from pg_locks as l where not l.granted and {pid} = any (pg_blocking_pids(l.pid)))"
        f" loop perform pg_sleep(0.01); end loop; return pg_terminate_backend({pid}); end $$"
    )
    background = Background(ender, "select give_up()")
    damaged.run("verify-chain", expect=1)
    background.result()
    assert is_locked(db)


# --------------------------------------------------------------------------------------------------
# What only a checkpoint shows


def verify_book(book: Book, *options: str, expect: int) -> dict[str, object]:
    found = alpha_db(
        "--dsn", book.dsn, "verify-chain", "--checkpoints", book.checkpoints, "--trust", public(book.key), "--json",
        *options, expect=expect,
    )  # fmt: skip
    document: dict[str, object] = result_of(found.out, expect)
    return document


@pytest.mark.parametrize("times", [1, 1_000_000])
def test_a_cut_tail_that_a_checkpoint_shows(book: Book, times: int) -> None:
    with book.connect() as conn:
        tamper(conn, "delete from order_events where id = (select max(id) from order_events)")
        fail_to_engage(conn, times)
        verify_book(book, "--engage-for", "10" if times == 1 else "0.1", expect=1 if times == 1 else 4)
        assert is_locked(conn) is (times == 1)
        damage = one(conn, "select damage from lockdown_status()")
    assert times > 1 or damage[0]["verdict"] == "tail_missing"


# --------------------------------------------------------------------------------------------------
# Connections that are not to be had


@pytest.fixture
def limited(server: Server, desk: Desk, db: Connection, login_role: LoginRole) -> Callable[[int], Desk]:
    """Factory: the desk of an auditor that may have so many connections."""

    def make(connections: int) -> Desk:
        auditor = login_role("app_auditor", attributes=f"connection limit {connections}")
        return Desk(server.dsn(db.info.dbname, auditor), desk.folder, desk.capsys)

    return make


@pytest.mark.parametrize("connections", [1, 2, 3])
def test_connections_that_are_not_to_be_had_are_done_without(
    limited: Callable[[int], Desk], db: Connection, connections: int
) -> None:
    fill(db)
    found = limited(connections).run("verify-chain", "--jobs", "8", "--json").json
    assert {row["verdict"] for row in found["tables"]} == {"intact"}
    assert found["tables"][0]["rows_checked"] == 3


def test_one_connection_is_enough_to_engage_the_lockdown(
    limited: Callable[[int], Desk], damaged: Desk, db: Connection
) -> None:
    del damaged
    fail_to_engage(db, times=2)
    limited(1).run("verify-chain", expect=1)
    assert is_locked(db)


def test_a_server_that_is_gone_is_exit_3(desk: Desk, db: Connection) -> None:
    make_signal(db)
    gone = Desk("host=/nowhere dbname=x", desk.folder, desk.capsys)
    assert "error" in gone.run("verify-chain", expect=3).err

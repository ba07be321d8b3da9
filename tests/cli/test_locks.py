"""Commands end when a lock is not to be had, and say who holds it; status warns of those who hold one for long."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import pytest

from alpha_db.verify.cli.status_report import overdue
from alpha_db.verify.locks import describe, remedy
from tests.cli.desk import Desk
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole, fresh_name
from tests.support import Connection, fill, make_signal, one, query, wait_until

pytest_plugins = ["tests.cli.fix_desk"]

MODE = "share update exclusive"
SOON = ("--lock-timeout", "0.2")


@pytest.fixture
def left_over(db: Connection, connect: Connect) -> Iterator[str]:
    """The gid of a prepared transaction that holds the proposals' lock and has written a signal."""
    gid = fresh_name("it's a gid")
    other = connect(autocommit=False)
    make_signal(other, 1)
    other.execute(f"lock table lock_proposals in {MODE} mode")
    other.execute("prepare transaction '" + gid.replace("'", "''") + "'")
    yield gid
    db.execute("rollback prepared '" + gid.replace("'", "''") + "'")


def held(connect: Connect, lock: str, **options: str) -> Connection:
    """A session that holds a lock."""
    holder = connect(autocommit=False, application_name="holder", **options)
    holder.execute(f"lock table {lock} in {MODE} mode")
    return holder


# --------------------------------------------------------------------------------------------------
# status


def test_status_warns_of_every_prepared_transaction(desk: Desk, left_over: str) -> None:
    shown = desk.run("status").out
    quoted = "'" + left_over.replace("'", "''") + "'"
    assert f"prepared transaction {quoted} of postgres" in shown
    assert "holds lock_proposals, lock_signals" in shown
    assert f"HINT: rollback prepared {quoted}" in shown
    assert "No problem found; 2 warnings." in shown  # the other: the tests' server has no autovacuum


def test_status_warns_of_a_session_that_holds_for_long(desk: Desk, db: Connection, connect: Connect) -> None:
    holder = held(connect, "lock_signals")
    pid = holder.info.backend_pid
    rows = desk.run("status", "--json").json["locks"]
    assert [(row["lock_name"], row["pid"], row["granted"]) for row in rows] == [("lock_signals", pid, True)]
    assert "lock_signals" not in desk.run("status").out
    old = [row | {"seconds": 11.0} for row in rows]
    assert [row["locks"] for row in overdue(old)] == [["lock_signals"]]
    assert remedy(old[0]) == f"select pg_terminate_backend({pid})"
    assert f"session {pid} (postgres, holder, idle in transaction)" in describe(old[0])
    assert one(db, "select count(*) from lock_holders()") == 1


def test_how_long_is_told_by_who_waits_if_the_holder_hides_it(
    desk: Desk, db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """A role that is not in pg_read_all_stats sees no times of others, but since when they wait for them."""
    rows = [
        {"lock_name": "lock_signals", "granted": True, "pid": 1, "gid": None, "login": "eve", "seconds": None,
         "application": "x", "client_address": None, "state": None, "since": None, "blocks": [2]},
    ]  # fmt: skip
    assert overdue(rows) == []
    assert overdue([rows[0] | {"seconds": 12.0}])
    assert describe(rows[0] | {"seconds": 12.0}) == "session 1 (eve, x), for at least 12 s"
    held(connect, "lock_signals", user=login_role("app_auditor", "alpha_owner"))
    auditor = connect(user=login_role("app_auditor")).info.dsn
    found = Desk(auditor, desk.folder, desk.capsys).run("status", "--json", expect=None).json
    assert [row["since"] for row in found["locks"]] == [None]
    del db


def test_sessions_of_postgresql_itself_are_no_warning() -> None:
    """Autovacuum gives way to whoever waits for it."""
    row = {
        "lock_name": "log_nodes",
        "granted": True,
        "pid": 1,
        "gid": None,
        "login": None,
        "seconds": 99.0,
        "blocks": [],
    }
    assert overdue([row]) == []


def test_a_lock_that_a_standby_replays_is_the_primarys() -> None:
    """Nothing ends the process that replays it but the end of the standby."""
    row = {
        "lock_name": "signals",
        "granted": True,
        "pid": 1,
        "gid": None,
        "login": None,
        "application": "startup",
    }
    row |= {"client_address": None, "state": None, "since": None, "seconds": None}
    assert describe(row) == "the standby itself, which replays a lock of the primary"
    assert "pg_terminate_backend" not in remedy(row)
    assert "on the primary" in remedy(row)


# --------------------------------------------------------------------------------------------------
# Commands that cannot hang


def assert_ended(desk: Desk, lock: str, *arguments: str) -> None:
    """The command ends with exit 3 and one line that names the lock and who holds it."""
    ended = desk.run(*arguments, *SOON, expect=3)
    said = [line for line in ended.err.splitlines() if "55P03" in line]
    assert len(said) == 1, ended.err
    assert f"{lock} was not to be had within 0.2 s" in said[0]
    assert "held by session" in said[0]
    assert "(postgres, holder, idle in transaction)" in said[0]
    assert "pg_terminate_backend" in said[0]


def test_a_table_that_another_has_locked_is_named(desk: Desk, db: Connection, connect: Connect) -> None:
    fill(db)
    holder = connect(autocommit=False, application_name="holder")
    holder.execute("lock table guard_states in access exclusive mode")
    ended = desk.run("verify-chain", *SOON, expect=3)
    (said,) = [line for line in ended.err.splitlines() if "55P03" in line]
    assert "guard_states is held by session" in said
    assert f"pg_terminate_backend({holder.info.backend_pid})" in said


def test_who_waits_to_lock_a_table_is_named(desk: Desk, db: Connection, connect: Connect) -> None:
    """Everybody queues behind; the one who is waited for only reads."""
    fill(db)
    reader = connect(autocommit=False)
    query(reader, "select from guard_states")
    waiting = connect(application_name="waits", lock_timeout="20s")
    rule = Background(waiting, "create rule r as on insert to guard_states do nothing").blocked(db)
    ended = desk.run("verify-chain", *SOON, expect=3)
    reader.execute("savepoint s")  # still open, so that the rule waited all the while
    waiting.cancel()
    assert rule.error()
    (said,) = [line for line in ended.err.splitlines() if "55P03" in line]
    assert f"session {waiting.info.backend_pid} (postgres, waits, active)" in said
    assert "waits for guard_states, and others behind it" in said


def test_since_last_ends_though_another_holds_its_log(desk: Desk, db: Connection, connect: Connect) -> None:
    fill(db)
    held(connect, "lock_verification_runs")
    assert_ended(desk, "lock_verification_runs", "verify-chain", "--since-last")


def test_what_was_verified_is_printed_though_it_could_not_be_remembered(
    desk: Desk, db: Connection, connect: Connect
) -> None:
    fill(db)
    held(connect, "lock_verification_runs")
    ended = desk.run("verify-chain", "--since-last", "--json", *SOON, expect=3)
    assert {row["verdict"] for row in ended.json["tables"]} == {"intact"}
    assert ended.json["run"]["id"] is None


def test_checkpoint_create_ends_though_another_seals(desk: Desk, db: Connection, connect: Connect) -> None:
    make_signal(db)
    key, runs = desk.folder / "c.key", desk.folder / "runs"
    runs.mkdir()
    desk.run("checkpoint", "keygen", "--name", "x.example/y", "--output", str(key))
    held(connect, "log_nodes")
    assert_ended(desk, "log_nodes", "checkpoint", "create", "--key", str(key), str(runs))


def test_checkpoint_create_ends_though_a_reader_locks_the_directory(desk: Desk, db: Connection) -> None:
    make_signal(db)
    key, runs = desk.folder / "c.key", desk.folder / "runs"
    runs.mkdir()
    desk.run("checkpoint", "keygen", "--name", "x.example/y", "--output", str(key))
    desk.run("checkpoint", "create", "--key", str(key), str(runs))
    with (runs / ".lock").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        ended = desk.run("checkpoint", "create", "--key", str(key), str(runs), *SOON, expect=3)
    assert f"another process has held {runs / '.lock'} for 0.2 s" in ended.err
    desk.run("checkpoint", "create", "--key", str(key), str(runs))


def test_propose_and_vote_end_though_another_holds_the_proposals(governed: Desk, connect: Connect) -> None:
    change = ("risk", "update-param", "max_leverage_ratio", "3", "--reason", "x")
    proposal_id = governed.propose("ada", *change[:-2])
    held(connect, "lock_proposals")
    assert_ended(governed, "lock_proposals", *change, *governed.sign("ben"))
    for decision in ("approve", "reject"):
        assert_ended(governed, "lock_proposals", "risk", decision, proposal_id, *governed.sign("cyd"))


def test_bootstrap_ends_though_another_holds_the_agents(desk: Desk, connect: Connect) -> None:
    files = [str(desk.keygen(name)) for name in ("ada", "ben", "cyd")]
    held(connect, "lock_agents")
    signing = desk.sign_all("ada", "ben", "cyd")
    assert_ended(desk, "lock_agents", "agents", "bootstrap", *files, *signing)


def test_a_prepared_transaction_is_named(governed: Desk, left_over: str) -> None:
    ended = governed.run(
        "risk", "update-param", "max_leverage_ratio", "3", "--reason", "x", *governed.sign("ada"), *SOON, expect=3
    )  # fmt: skip
    quoted = "'" + left_over.replace("'", "''") + "'"
    assert f"held by prepared transaction {quoted} of postgres" in ended.err
    assert f"rollback prepared {quoted}" in ended.err


def test_a_command_waits_for_a_lock_that_is_given_up_in_time(
    governed: Desk, db: Connection, connect: Connect
) -> None:
    """The holder ends once the command waits."""
    holder = held(connect, "lock_proposals")
    ender = connect()
    ender.execute(
        "create function give_up() returns void language plpgsql as $$ begin"
        f" while not exists (select from pg_locks where not granted and {holder.info.backend_pid}"
        "   = any (pg_blocking_pids(pid))) loop perform pg_sleep(0.01); end loop;"
        f" perform pg_terminate_backend({holder.info.backend_pid}); end $$"
    )
    from tests.concurrency.background import Background

    background = Background(ender, "select give_up()")
    governed.propose("ada", "risk", "update-param", "max_leverage_ratio", "3")
    background.result()
    wait_until(db, "select not exists (select from lock_holders())")


@pytest.mark.parametrize(
    ("environment", "role_setting", "options", "expected"),
    [
        ({}, None, [], "30s"),
        ({}, "5s", [], "5s"),
        ({}, "5min", [], "30s"),
        ({}, "5s", ["--lock-timeout", "90"], "90s"),
        ({}, None, ["--lock-timeout", "0"], "0"),
        ({}, None, ["--lock-timeout", "0.0001"], "1ms"),
        ({"ALPHA_DB_LOCK_TIMEOUT": "7"}, None, [], "7s"),
        ({"ALPHA_DB_LOCK_TIMEOUT": "7"}, None, ["--lock-timeout", "8"], "8s"),
    ],
)
def test_how_long_a_command_waits(
    desk: Desk,
    db: Connection,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    role_setting: str | None,
    options: list[str],
    expected: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if role_setting:
        db.execute(f"alter database {db.info.dbname} set lock_timeout = '{role_setting}'")
    # a function of the installation tells what the session has
    db.execute(
        "create or replace function rejected_attempts() returns table (code text, table_name text, operation text,"
        " attempts bigint) language sql as $$ select current_setting('lock_timeout'), '', '', 1::bigint $$"
    )
    assert desk.run("attempts", "--json", *options).json[0]["code"] == expected

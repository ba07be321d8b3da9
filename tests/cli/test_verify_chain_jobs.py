"""verify-chain in ranges side by side: the same verdicts as in one go, what is remembered, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from alpha_db.connection import connect as open_connection
from alpha_db.verify.ranges import Plan, Range, by_table, make_plan, verify_ranges
from tests.cli.desk import Desk
from tests.cluster import Server
from tests.fix_database import Connect
from tests.risk.council import Council
from tests.support import Connection, fill, make_signal, one, query, tamper, verdicts, wait_until

pytest_plugins = ["tests.cli.fix_desk"]

DAMAGE = {
    "none": "select 1",
    "content": "update signals set symbol = 'X' where id = 5",
    "content twice": "update signals set symbol = 'X' where id in (3, 7)",
    "first rows": "delete from signals where id < 4",
    "a whole range": "delete from signals where id between 3 and 6",
    "a row between ranges": "delete from signals where id = 4",
    "a hash that is no hash": "update signals set row_hash = repeat('x', 64) where id = 6",
    "time goes back": "update signals set created_at = created_at - interval '1 day' where id = 8",
    "ids below the first": "update signals set id = -1 where id = 9",
    "empty": "truncate signals cascade",
}


#: Each is like another one that the normal run has.
LONG = {"content", "a whole range", "first rows", "time goes back"}


@pytest.mark.parametrize(
    "damage", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in DAMAGE]
)
def test_ranges_say_what_the_whole_says(db: Connection, server: Server, damage: str) -> None:
    fill(db, signals=9)
    tamper(db, DAMAGE[damage])
    whole = verdicts(db, engage_lockdown=False)
    plan = query(db, "select * from verification_plan(rows_per_range => 2)")
    ranges = [Range(row["table_name"], row["from_id"], row["to_id"]) for row in plan]
    found = by_table(
        verify_ranges(
            lambda: open_connection(server.dsn(db.info.dbname), autocommit=True),
            ranges,
            jobs=3,
            engage_lockdown=False,
        ),
        {},
    )
    assert [row["table_name"] for row in found] == list(whole)
    for row in found:
        other = whole[row["table_name"]]
        assert (row["verdict"], row["is_valid"], row["rows_checked"], row["broken_id"]) == (
            other.verdict,
            other.is_valid,
            other.rows_checked,
            other.broken_id,
        )
        assert (row["expected_hash"], row["actual_hash"]) == (other.expected_hash, other.actual_hash)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ((None, None), [(None, 10), (11, 20), (21, None)]),
        ((5, 12), [(5, 10), (11, 12)]),
        ((15, None), [(15, 20), (21, None)]),
        ((None, 7), [(None, 7)]),
        ((30, 40), [(30, 40)]),
    ],
)
def test_a_wish_for_some_rows_clips_the_plan(wish: tuple[int | None, int | None], expected: Any) -> None:
    plan = Plan((Range("a", None, 10), Range("a", 11, 20), Range("a", 21), Range("b")), is_full=True)
    assert [tuple(item)[1:] for item in plan.within("a", *wish).ranges] == expected


def test_since_last_remembers_and_the_next_run_reads_less(desk: Desk, db: Connection) -> None:
    fill(db, signals=6)
    first = desk.run("verify-chain", "--since-last", "--json").json
    assert first["run"] == {"id": 1, "is_full": True, "full_every": None, "turn": None}
    make_signal(db, 90)
    since_last = ("verify-chain", "--since-last", "--full-every", "2")
    second = desk.run(*since_last, "--json").json
    assert second["run"] == {"id": 2, "is_full": False, "full_every": 2, "turn": 0}
    said = desk.run(*since_last).out
    assert "  nothing new\n" in said
    assert "Read new rows and turn 2 of 2 of the old ones; remembered as run 3." in said
    signals = next(row for row in second["tables"] if row["table_name"] == "signals")
    assert signals["rows_checked"] == 7  # a new row, and the others, whose turn it was
    assert desk.run("verify-chain", "--since-last", "--full-every", "3", "--json").json["run"]["is_full"]


def test_a_run_that_another_one_overtook_is_not_remembered_and_no_failure(
    desk: Desk, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both read the same turn, so only one counts."""
    fill(db)

    def overtaken(*arguments: Any, **options: Any) -> Any:
        query(db, "select record_verification(true, '{}', 0)")
        return verify_ranges(*arguments, **options)

    monkeypatch.setattr("alpha_db.verify.cli.verify_chain.verify_ranges", overtaken)
    run = desk.run("verify-chain", "--since-last", "--json").json["run"]
    assert (run["id"], run["note"]) == (None, "another verification run was recorded meanwhile")
    said = desk.run("verify-chain", "--since-last").out
    assert "not remembered, because another verification run was recorded meanwhile" in said
    assert one(db, "select count(*) from verification_runs") == 2


def test_a_plan_that_leaves_chains_out_is_reported(desk: Desk, db: Connection) -> None:
    """Whoever may replace it could hide both what is damaged, and that a guard is changed."""
    db.execute("drop trigger _100_reject_change on order_events")
    replace_plan = (
        "create or replace function verification_plan(since_last boolean default false, full_every integer default 24,"
        " rows_per_range bigint default 50000) returns table (table_name text, from_id bigint, to_id bigint,"
        " is_full boolean, turn integer, after_run bigint) language sql as"
        " $$ select 'signals', null::bigint, null::bigint, true, null::integer, 0::bigint $$"
    )
    db.execute(replace_plan)
    ended = desk.run("verify-chain", "--since-last", "--json", expect=1).json
    tables = {row["table_name"]: row for row in ended["tables"]}
    assert len(tables) == one(db, "select count(*) from chains")
    assert "verification_plan" in tables["guard_states"]["detail"]
    changed = tables["order_events"]
    assert (changed["verdict"], changed["error_code"]) == ("guard_changed", "AUD-011")
    assert tables["ai_debates"]["verdict"] == "not_run"
    assert ended["run"]["id"] is None
    query(db, "select record_guards('accepted')")
    desk.run("verify-chain", expect=3)
    desk.run("verify-chain", "--table", "ai_debates", expect=0)


def test_changed_guards_of_a_table_without_a_range_are_a_verdict() -> None:
    assert by_table([], {"signals": "changed"}, table="orders") == []
    (found,) = by_table([], {"signals": "changed"})
    assert (found["table_name"], found["verdict"], found["error_code"]) == (
        "signals",
        "guard_changed",
        "AUD-011",
    )


def test_damage_is_not_remembered(desk: Desk, db: Connection) -> None:
    fill(db)
    tamper(db, "update signals set price = 1 where id = 2")
    result = desk.run("verify-chain", "--since-last", "--jobs", "2", "--json", expect=1).json
    assert result["run"] == {"id": None, "is_full": True, "full_every": None, "turn": None}
    assert one(db, "select count(*) from verification_runs") == 0
    assert one(db, "select is_locked from lockdown_status()") is True


def test_known_damage_is_found_again_by_a_run_whose_turn_it_is_not(desk: Desk, db: Connection) -> None:
    fill(db, signals=6)
    desk.run("verify-chain", "--since-last")
    tamper(db, "update signals set price = 1 where id = 6")
    desk.run("verify-chain", "--table", "signals", expect=1)
    again = desk.run("verify-chain", "--since-last", "--full-every", "3", "--json", expect=1).json
    assert again["run"]["is_full"]


def test_a_standby_or_reader_remembers_nothing_and_says_so(desk: Desk) -> None:
    reader = replace(desk, dsn=f"{desk.dsn} options='-c default_transaction_read_only=on'")
    assert "not remembered" in reader.run("verify-chain", "--since-last").out


@pytest.mark.parametrize(
    "default",
    [
        "default_transaction_read_only = on",
        "default_transaction_isolation = serializable",
        "row_security = on",
    ],
)
def test_a_default_of_the_database_does_not_keep_damage_from_locking(
    default: str, desk: Desk, db: Connection
) -> None:
    fill(db)
    tamper(db, "update signals set price = 1 where id = 2")
    db.execute(f"alter database {db.info.dbname} set {default}")
    desk.run("verify-chain", expect=1)
    assert one(db, "select is_locked from lockdown_status()") is True


def test_a_read_only_default_of_the_database_keeps_no_run_from_being_remembered(
    desk: Desk, db: Connection
) -> None:
    """Anyone who owns the database can set it, and with it nothing that was found could be recorded: it is reported."""
    db.execute(f"alter database {db.info.dbname} set default_transaction_read_only = on")
    said = desk.run("verify-chain", "--since-last", expect=1).out
    assert "remembered as run 1" in said
    assert "default_transaction_read_only" in said


def test_a_run_after_a_release_remembers_the_tail_that_is_left(desk: Desk, db: Connection) -> None:
    council = Council(db).bootstrap("ada", "ben", "cyd")
    for n in range(1, 7):
        make_signal(db, n)
    desk.run("verify-chain", "--since-last")
    tamper(db, "delete from signals where id > 4")
    desk.run("verify-chain", "--since-last", expect=1)
    council.release()
    assert desk.run("verify-chain", "--since-last", "--json").json["run"]["id"] == 2
    assert "Intact" in desk.run("verify-chain").out


@pytest.mark.parametrize(
    "options", [["--table", "signals"], ["--from-id", "2"], ["--to-id", "2"]], ids=lambda o: o[0]
)
def test_since_last_is_for_all_tables(desk: Desk, options: list[str]) -> None:
    assert "excludes" in desk.run("verify-chain", "--since-last", *options, expect=2).err


def test_full_every_is_for_since_last(desk: Desk) -> None:
    assert "needs --since-last" in desk.run("verify-chain", "--full-every", "4", expect=2).err


def test_changed_guards_are_told_beside_ranges(desk: Desk, db: Connection) -> None:
    db.execute("alter table signals disable trigger zzz_chain")
    found = desk.run("verify-chain", "--json", expect=1).json["tables"]
    assert [row["table_name"] for row in found if row["verdict"] == "guard_changed"] == ["signals"]
    assert desk.run("verify-chain", "--from-id", "1").code == 0


def test_an_unknown_table_is_named(desk: Desk) -> None:
    assert "nosuch is not a chained table" in desk.run("verify-chain", "--table", "nosuch", expect=5).err


def test_an_interrupted_run_leaves_no_statement_and_no_connection(
    db: Connection, server: Server, connect: Connect
) -> None:
    """Both jobs wait for a lock when the interrupt comes."""
    fill(db)
    holder = connect(autocommit=False)
    holder.execute("lock table signals, ai_debates in access exclusive mode")
    opened: list[int] = []

    def open_one() -> psycopg.Connection[Any]:
        conn = open_connection(server.dsn(db.info.dbname), autocommit=True)
        opened.append(conn.info.backend_pid)
        return conn

    def interrupt(_done: int) -> None:
        waiting = one(
            db,
            "select count(*) from pg_stat_activity where pid = any (%s) and wait_event_type = 'Lock'",
            [opened],
        )
        if waiting == 2:
            raise KeyboardInterrupt

    ranges = [Range("signals"), Range("ai_debates"), Range("order_events")]
    with pytest.raises(KeyboardInterrupt):
        verify_ranges(open_one, ranges, jobs=2, engage_lockdown=False, on_progress=interrupt)
    assert len(opened) == 2
    wait_until(db, "select not exists (select from pg_stat_activity where pid = any (%s))", [opened])


def test_a_verification_holds_up_no_writer(db: Connection, connect: Connect) -> None:
    fill(db)
    reader, writer = connect(autocommit=False), connect()
    reader.execute("select verify_range('signals')")
    writer.execute("set lock_timeout = '1s'")
    make_signal(writer, 70)
    assert one(reader, "select relation::regclass::text from pg_locks where pid = pg_backend_pid()"
               " and mode <> 'AccessShareLock' and relation is not null"
               " and relation::regclass::text !~ '^lockdown_'") is None  # fmt: skip


def test_rows_written_during_a_run_are_read(db: Connection, server: Server) -> None:
    """The plan is made first; its last range has no end."""
    make_signal(db, 1)
    plan = make_plan(db)
    make_signal(db, 2)
    found = by_table(
        verify_ranges(
            lambda: open_connection(server.dsn(db.info.dbname), autocommit=True),
            plan.ranges,
            jobs=1,
            engage_lockdown=False,
        ),
        {},
    )
    assert next(row["last_id"] for row in found if row["table_name"] == "signals") == 2

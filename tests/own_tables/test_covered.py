"""What holds for the audit log holds for an own table: verification, lockdown, guards, attempts, proofs, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoint.book import make_key, public
from tests.cli.desk import Desk
from tests.cluster import Server
from tests.fix_database import Connect
from tests.own_tables.books import HOSTILE_NAME, TRADES, chain, chain_holds, make_all_types
from tests.security.refusals import attempts, refused, undone
from tests.support import (
    Connection,
    assert_healthy,
    changed_guards,
    fill,
    migrate_with_psql,
    one,
    query,
    quote,
    tamper,
    verdicts,
)


@pytest.fixture
def filled(trades: Connection) -> Connection:
    """Where trades holds four rows."""
    query(trades, "insert into trades (ref, price) select 'r' || n, n from generate_series(1, 4) as n")
    return trades


@pytest.mark.parametrize(
    ("statement", "verdict", "broken_id"),
    [
        ("update trades set price = 9 where id = 2", "content_mismatch", 2),
        ("update trades set recorded_by = 'x' where id = 2", "content_mismatch", 2),
        ("delete from trades where id = 2", "missing_rows", 2),
        ("delete from trades where id = 1", "missing_rows", 1),
        ("insert into trades (ref, id, created_at, recorded_by, row_hash)"
         " values ('x', 5, now(), 'x', repeat('a', 64))", "content_mismatch", 5),
    ],
)  # fmt: skip
def test_damage_is_found_and_locks(filled: Connection, statement: str, verdict: str, broken_id: int) -> None:
    tamper(filled, statement)
    found = verdicts(filled)["trades"]
    assert (found.verdict, found.broken_id) == (verdict, broken_id)
    with refused("AUD-009", "trades"):
        query(filled, "insert into trades (ref) values ('later')")


def test_a_row_that_was_taken_in_is_protected_as_well(db: Connection) -> None:
    query(db, f"{TRADES}; insert into trades values ('a', 1), ('b', 2)")
    chain(db, "trades")
    tamper(db, "update trades set price = 9 where ref = 'a'")
    assert verdicts(db)["trades"].verdict == "content_mismatch"


def test_a_cut_tail_is_found_by_the_next_run(filled: Connection) -> None:
    ids = {v.table_name: v.last_id for v in verdicts(filled).values()}
    query(filled, "select record_verification(true, %s::text::jsonb, 4)", [json.dumps(ids)])
    tamper(filled, "delete from trades where id = 4")
    assert verdicts(filled)["trades"].verdict == "tail_missing"


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("update trades set price = 1", "AUD-013"),
        ("delete from trades", "AUD-014"),
        ("truncate trades", "AUD-014"),
    ],
)
def test_changes_are_refused_and_counted(filled: Connection, statement: str, code: str) -> None:
    with refused(code, "trades"):
        query(filled, statement)
    assert attempts(filled) == {(code, "trades", statement.split()[0].upper()): 1}


@pytest.mark.parametrize(
    "statement",
    [
        "alter table trades disable trigger zzz_chain",
        "drop trigger _100_reject_change on trades",
        "alter table trades add column extra text",
        "alter table trades owner to postgres",
        "grant delete on trades to app_trading",
        "alter table trades drop constraint trades_id_key",
        "create trigger a after insert on trades for each row execute function _reject_change()",
        "create index on trades (price)",
        "comment on table trades is 'x'; alter function _chain_trades() security invoker",
        "delete from attempt_counters where table_name = 'trades'",
        "set alpha.maintenance = 'x'; update chains set is_own = false where table_name = 'trades'",
        "set alpha.maintenance = 'x'; update chains set open_in_lockdown = true where table_name = 'trades'",
    ],
)
def test_a_changed_guard_is_reported(trades: Connection, statement: str) -> None:
    with undone(trades):
        query(trades, "set local session_replication_role = replica")
        if "attempt_counters" in statement:
            query(trades, "alter table attempt_counters disable trigger _100_reject_change")
        query(trades, statement)
        assert changed_guards(trades) != []


def test_guards_print_the_same_under_other_settings(db: Connection) -> None:
    query(
        db,
        "create table t (a timestamptz default '2026-01-01 12:00+00', b interval check (b > '1 day'), c bytea"
        " default '\\x00ff', d float8 check (d < 0.30000000000000004), e date default '2026-02-01')",
    )
    chain(db, "t")
    query(db, "set timezone = 'Asia/Tokyo'; set datestyle = 'SQL, DMY'; set bytea_output = 'escape';"
              "set extra_float_digits = -5; set intervalstyle = 'iso_8601'")  # fmt: skip
    assert changed_guards(db) == []


def test_the_register_cannot_be_edited(trades: Connection) -> None:
    with refused("AUD-011", "chains"):
        query(trades, "update chains set is_own = false where table_name = 'trades'")


def test_checkpoint_proof_and_export(db: Connection, desk: Desk, tmp_path: Path) -> None:
    """With a name that needs quoting, and every type."""
    make_all_types(db, HOSTILE_NAME)
    chain(db, HOSTILE_NAME)
    query(db, f"insert into {quote(HOSTILE_NAME)} (key) values (7)")
    key, runs, proof, out = make_key(tmp_path), tmp_path / "runs", tmp_path / "proof", tmp_path / "out"
    trust = ("--checkpoints", str(runs), "--trust", str(public(key)))
    runs.mkdir()
    desk.run("checkpoint", "create", "--key", str(key), str(runs))
    desk.run("prove", HOSTILE_NAME, "3", *trust, "--output", str(proof))
    assert HOSTILE_NAME in desk.run("verify-proof", str(proof), "--trust", str(public(key))).out
    desk.run("export", "--output", str(out))
    desk.run("verify-export", str(out / f"{HOSTILE_NAME}.jsonl"))
    desk.run("tiles", str(tmp_path / "tiles"))
    assert desk.run("verify-chain", *trust, "--json").json
    tamper(db, f"update {quote(HOSTILE_NAME)} set c9 = 'x' where id = 3")
    desk.run("verify-chain", *trust, expect=1)


def test_it_is_listed(filled: Connection) -> None:
    [row] = query(filled, "select * from chained_tables() where kind = 'own'")
    assert row == {
        "table_name": "trades", "kind": "own", "last_id": 4, "not_covered": [], "open_in_lockdown": False, "keep": None,
    }  # fmt: skip


def test_its_verdict_comes_with_the_others(filled: Connection) -> None:
    fill(filled)
    assert verdicts(filled)["trades"].rows_checked == 4
    assert_healthy(filled)


def test_two_desks(
    server: Server, make_database: Callable[..., str], template: str, connect: Connect
) -> None:
    """The same name in two schemas of one database is two chains."""
    name = make_database(template)
    server.psql(name, 'create schema "desk a"')
    migrate_with_psql(server, name, "desk a")
    for schema, ref in (("desk a", "one"), ("public", "two")):
        connection = connect(dbname=name, search_path=quote(schema))
        query(connection, f"{TRADES}; insert into trades values ('{ref}')")
        assert chain(connection, "trades") == 1
        query(connection, """call append_row('trades', '{"ref": "last"}')""")
        assert one(connection, "select string_agg(ref, ' ' order by id) from trades") == f"{ref} last"
        assert_healthy(connection)


def test_dump_and_restore(
    server: Server, make_database: Callable[..., str], db: Connection, tmp_path: Path
) -> None:
    make_all_types(db, HOSTILE_NAME)
    chain(db, HOSTILE_NAME)
    file, target = tmp_path / "dump", make_database()
    server.program("pg_dump", "-Fc", "-f", file, "-d", server.dsn(db.info.dbname))
    server.program("pg_restore", "--exit-on-error", "-1", "-d", server.dsn(target), file)
    found = server.psql(
        target,
        f"insert into {quote(HOSTILE_NAME)} (key) values (7);"
        "select count(*) filter (where verdict = 'intact') || ' of ' || count(*) from verify_chain_integrity();",
    )
    count = one(db, "select count(*) from chains")
    assert f"{count} of {count}" in found.stdout
    assert chain_holds(db, HOSTILE_NAME)

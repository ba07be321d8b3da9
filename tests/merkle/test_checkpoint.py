"""checkpoint_facts says what a checkpoint signs; verify_checkpoint, what the rows say to one later."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
from psycopg.rows import class_row

from tests.chain.by_force import judge, rehash, release
from tests.merkle.logs import root, seal, tree_of, write_signals
from tests.support import Connection, Verdict, as_role, make_signal, one, query, tamper


def check(connection: Connection, size: int, root_hash: bytes, **options: bool) -> Verdict:
    """verify_checkpoint of signals."""
    call = "".join(f", {name} => %({name})s" for name in options)
    with connection.cursor(row_factory=class_row(Verdict)) as cursor:
        cursor.execute(
            f"select * from verify_checkpoint('signals', %(size)s, %(root)s{call})",
            {"size": size, "root": root_hash, **options},
        )
        found = cursor.fetchone()
    assert found is not None
    return found


def locked(connection: Connection) -> bool:
    return bool(one(connection, "select is_locked from lockdown_status()"))


@pytest.fixture
def kept(logged: Connection) -> bytes:
    """The root of 300 signals, sealed and signed and kept elsewhere."""
    seal(logged)
    return root(logged, "signals", 300)


# ----------------------------------------------------------------------------------------------------------------------
# Facts


def test_facts(logged: Connection) -> None:
    seal(logged)
    with as_role(logged, "app_auditor"):
        facts = query(logged, "select * from checkpoint_facts()")
    assert [fact["table_name"] for fact in facts] == [
        row["table_name"] for row in query(logged, "select table_name from chains order by position")
    ]
    installation = one(logged, "select installation_id from installation")
    heads = {row["table_name"]: row for row in query(logged, "select * from chain_status()")}
    for fact in facts:
        table = fact["table_name"]
        tree = tree_of(logged, table)
        assert fact["origin"] == f"alpha-db/{installation}/{table}"
        assert (fact["size"], bytes(fact["root"])) == (len(tree.entries), tree.root(len(tree.entries)))
        assert (fact["size"], fact["head_hash"]) == (heads[table]["last_id"] or 0, heads[table]["head_hash"])
    same = {
        key: {fact[key] for fact in facts}
        for key in facts[0]
        if key not in ("origin", "table_name", "size", "root", "head_hash")
    }
    assert all(len(values) == 1 for values in same.values()), same
    assert same["installation_id"] == {installation}
    assert same["system_identifier"] == {
        one(logged, "select system_identifier::text from pg_control_system()")
    }
    assert same["timeline"] == {one(logged, "select timeline_id from pg_control_checkpoint()")}
    assert one(logged, "select %s <= pg_current_wal_insert_lsn()", [facts[0]["wal_lsn"]])
    assert one(logged, "select %s between now() - interval '1 minute' and now()", [facts[0]["taken_at"]])


def test_the_guards_hash_is_of_the_guards_as_they_are(logged: Connection) -> None:
    def hash_now() -> tuple[str, str]:
        with as_role(logged, "app_auditor"):
            return (
                one(logged, "select guards_hash()"),
                one(logged, "select guards_hash from checkpoint_facts() limit 1"),
            )

    recorded = one(logged, "select state_hash from guard_states order by id desc limit 1")
    assert hash_now() == (recorded, recorded)
    query(logged, "alter table signals disable trigger _100_reject_change")
    changed = hash_now()[0]
    assert changed not in (recorded, None)
    query(logged, "select record_guards('accepted')")
    assert hash_now() == (changed, changed)
    assert one(logged, "select state_hash from guard_states order by id desc limit 1") == changed


def test_facts_are_of_one_snapshot(logged: Connection, connect: Callable[..., Connection]) -> None:
    reader = connect(dbname=logged.info.dbname, autocommit=False)
    reader.execute("set transaction isolation level repeatable read")
    before = query(reader, "select table_name, size, root from checkpoint_facts()")
    make_signal(logged)
    assert query(reader, "select table_name, size, root from checkpoint_facts()") == before


def test_facts_change_nothing(logged: Connection) -> None:
    with logged.transaction():
        query(logged, "select * from checkpoint_facts()")
        assert one(logged, "select pg_current_xact_id_if_assigned()") is None
    assert query(logged, "select from log_nodes") == []


# ----------------------------------------------------------------------------------------------------------------------
# Verdicts


def test_intact(logged: Connection, kept: bytes) -> None:
    tree = tree_of(logged, "signals")
    write_signals(logged, 5, first=301)
    with as_role(logged, "app_auditor"):
        found = check(logged, 300, kept)
        for size in (0, 1, 255, 256, 257):
            assert check(logged, size, tree.root(size)).verdict == "intact"
    assert (found.verdict, found.is_valid, found.error_code) == ("intact", True, None)
    assert (found.rows_checked, found.first_id, found.last_id, found.broken_id) == (300, 1, 300, None)
    assert not locked(logged)


def cut(connection: Connection) -> None:
    tamper(connection, "delete from signals where id > 250")


def empty(connection: Connection) -> None:
    tamper(connection, "truncate signals cascade")


def gap(connection: Connection) -> None:
    tamper(connection, "delete from signals where id between 100 and 110")


def headless(connection: Connection) -> None:
    tamper(connection, "delete from signals where id = 1")


def rewrite(connection: Connection, price: int = 2) -> None:
    """From row 2 on with all hashes recomputed: the chain itself shows nothing."""
    with connection.transaction():
        query(connection, "set local session_replication_role = replica")
        query(connection, "alter table signals disable trigger _100_reject_change")
        query(connection, "update signals set price = %s where id = 2", [price])
        rehash(connection, "signals", 2)
        query(connection, "alter table signals enable always trigger _100_reject_change")
    assert judge(connection, "signals").verdict == "intact"


def regrow(connection: Connection) -> None:
    """The tail is cut, and other rows take its place."""
    cut(connection)
    write_signals(connection, 60, first=1001)
    assert judge(connection, "signals").verdict == "intact"


def one_hash(connection: Connection) -> None:
    tamper(connection, "update signals set row_hash = repeat('0', 64) where id = 300")


def no_hash(connection: Connection) -> None:
    tamper(connection, "update signals set row_hash = repeat('x', 64) where id = 17")


DAMAGE: dict[str, tuple[Callable[[Connection], None], str, int, int, str]] = {
    # verdict, broken_id, rows_checked, what the detail says
    "cut": (cut, "tail_missing", 251, 250, "50 rows are missing at the end"),
    "empty": (empty, "tail_missing", 1, 0, "300 rows are missing at the end"),
    "gap": (gap, "missing_rows", 100, 99, "rows 100 to 110 are missing"),
    "headless": (headless, "missing_rows", 1, 0, "row 1 is missing"),
    "rewritten": (rewrite, "checkpoint_mismatch", 300, 300, "rows 1 to 300 are not those"),
    "regrown": (regrow, "checkpoint_mismatch", 300, 300, "rows 1 to 300 are not those"),
    "last hash": (one_hash, "checkpoint_mismatch", 300, 300, "rows 1 to 300 are not those"),
    "not a hash": (no_hash, "checkpoint_mismatch", 300, 300, "rows 1 to 300 are not those"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_engages_the_lockdown(logged: Connection, kept: bytes, kind: str) -> None:
    """And is reported as acknowledged once a release has listed it."""
    do, verdict, broken_id, rows, words = DAMAGE[kind]
    do(logged)
    quiet = check(logged, 300, kept, engage_lockdown=False)
    assert "not asked for" in quiet.detail
    assert not locked(logged)

    with as_role(logged, "app_auditor"):
        found = check(logged, 300, kept)
    assert (found.verdict, found.is_valid, found.error_code) == (verdict, False, "AUD-009")
    assert (found.broken_id, found.rows_checked) == (broken_id, rows)
    assert words in found.detail
    assert "lockdown engaged (event 1)" in found.detail
    if verdict != "missing_rows":
        assert found.expected_hash == kept.hex() != found.actual_hash
    (damage,) = one(logged, "select damage from lockdown_status()")
    assert damage == {
        "table": "signals",
        "id": broken_id,
        "verdict": verdict,
        "expected_hash": found.expected_hash,
        "actual_hash": found.actual_hash,
    }
    assert one(logged, "select reason from lockdown_status()") == f"{verdict} at signals {broken_id}"
    assert "engaged already" in check(logged, 300, kept).detail

    release(logged, "known", json.dumps([damage]))
    known = check(logged, 300, kept)
    assert (known.verdict, known.is_valid, known.error_code) == ("acknowledged", True, None)
    assert verdict in known.detail
    assert words in known.detail
    assert not locked(logged)


@pytest.mark.parametrize(
    "further",
    ["delete from signals where id > 240", "delete from signals where id = 100", "truncate signals cascade"],
)
def test_further_damage_is_not_acknowledged(logged: Connection, kept: bytes, further: str) -> None:
    cut(logged)
    check(logged, 300, kept)
    release(logged, "known", json.dumps(one(logged, "select damage from lockdown_status()")))
    tamper(logged, further)
    assert check(logged, 300, kept).is_valid is False
    assert locked(logged)


def test_a_second_rewrite_is_not_the_one_that_was_acknowledged(logged: Connection, kept: bytes) -> None:
    rewrite(logged)
    check(logged, 300, kept)
    release(logged, "known", json.dumps(one(logged, "select damage from lockdown_status()")))
    assert check(logged, 300, kept).verdict == "acknowledged"
    rewrite(logged, price=3)
    assert check(logged, 300, kept).verdict == "checkpoint_mismatch"
    assert locked(logged)


def test_a_tail_that_is_cut_to_the_same_place_again_is_further_damage(
    logged: Connection, kept: bytes
) -> None:
    """The log went on behind what was acknowledged, and a newer checkpoint covers it."""
    cut(logged)
    check(logged, 300, kept)
    release(logged, "known", json.dumps(one(logged, "select damage from lockdown_status()")))
    assert check(logged, 300, kept).verdict == "acknowledged"
    write_signals(logged, 100, first=1001)
    newer = root(logged, "signals", 350)
    assert check(logged, 350, newer).verdict == "intact"
    cut(logged)
    found = check(logged, 350, newer)
    assert (found.verdict, found.broken_id, found.expected_hash) == ("tail_missing", 251, newer.hex())
    assert locked(logged)


def test_a_release_of_a_false_root_acknowledges_no_other_root(logged: Connection, kept: bytes) -> None:
    """Who rewrites the log cannot have it acknowledged under a root that nobody signed."""
    rewrite(logged)
    check(logged, 300, bytes(32))
    release(logged, "false alarm", json.dumps(one(logged, "select damage from lockdown_status()")))
    assert check(logged, 300, bytes(32)).verdict == "acknowledged"
    assert check(logged, 300, kept).verdict == "checkpoint_mismatch"
    assert locked(logged)


def test_the_root_is_recomputed_from_the_rows(logged: Connection, kept: bytes) -> None:
    """The stored node has the old root; that does not help who changed a row below it."""
    rewrite(logged)
    query(logged, "select verify_guards()")
    stored = bytes(one(logged, "select hash from log_nodes"))
    assert tree_of(logged, "signals").root(256) != stored
    tamper(logged, "delete from signals where id > 256")
    assert root(logged, "signals", 256) == tree_of(logged, "signals").root(256)
    found = check(logged, 256, stored)
    assert found.verdict == "checkpoint_mismatch"
    assert check(logged, 300, kept).verdict == "tail_missing"


def test_a_session_that_can_not_write_says_so(logged: Connection, kept: bytes) -> None:
    cut(logged)
    with logged.transaction():
        query(logged, "set transaction read only")
        found = check(logged, 300, kept)
    assert (found.verdict, found.error_code) == ("tail_missing", "AUD-009")
    assert "this session cannot write, so the lockdown is NOT engaged" in found.detail
    assert not locked(logged)


def test_a_writer_that_holds_its_chain_does_not_delay_the_lockdown(
    logged: Connection, kept: bytes, connect: Callable[..., Connection]
) -> None:
    cut(logged)
    writer = connect(dbname=logged.info.dbname, autocommit=False)
    make_signal(writer)
    query(logged, "set lock_timeout = '50ms'")
    found = check(logged, 300, kept)
    assert (found.verdict, found.broken_id) == ("tail_missing", 251)
    assert "lockdown engaged (event 1)" in found.detail
    with pytest.raises(psycopg.Error, match="AUD-009"):
        make_signal(writer, 2)  # at each row it looks again
    assert locked(logged)


def test_what_can_not_be_checked_is_neither_fine_nor_damage(logged: Connection, kept: bytes) -> None:
    with logged.transaction(force_rollback=True):
        query(logged, "alter function recompute_log_root(text, bigint) rename to was_recompute_log_root")
        found = check(logged, 300, kept)
        assert (found.verdict, found.is_valid, found.error_code) == ("not_run", None, None)
        assert "recompute_log_root" in found.detail
        assert not locked(logged)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("'nothing', 1, sha256('')", psycopg.errors.UndefinedTable),
        ("null, 1, sha256('')", psycopg.errors.UndefinedTable),
        ("'signals', -1, sha256('')", psycopg.errors.InvalidParameterValue),
        ("'signals', null, sha256('')", psycopg.errors.InvalidParameterValue),
        ("'signals', 1, null", psycopg.errors.InvalidParameterValue),
        ("'signals', 1, 'short'", psycopg.errors.InvalidParameterValue),
    ],
)
def test_what_is_no_checkpoint(db: Connection, arguments: str, error: type[psycopg.Error]) -> None:
    with pytest.raises(error):
        query(db, f"select verify_checkpoint({arguments})")


def test_a_false_root_of_an_empty_log(db: Connection) -> None:
    assert check(db, 0, bytes(32), engage_lockdown=False).verdict == "checkpoint_mismatch"
    assert check(db, 0, tree_of(db, "signals").root(0)).verdict == "intact"


def test_only_the_auditor(db: Connection) -> None:
    for role in ("app_trading", "app_risk"):
        for call in (
            "checkpoint_facts()",
            "verify_checkpoint('signals', 0, sha256(''))",
            "log_root('signals', 0)",
        ):
            with as_role(db, role), pytest.raises(psycopg.errors.InsufficientPrivilege):
                query(db, f"select {call}")

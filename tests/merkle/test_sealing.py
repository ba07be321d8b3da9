"""seal_log stores what the committed rows give, once, in parts or at once, and nobody who writes waits for it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.concurrency.background import Background, all_at_once
from tests.fix_database import Connect
from tests.merkle.logs import WIDE, damage, nodes, pour, root, seal, tree_of, write_signals
from tests.support import Connection, as_role, assert_healthy, make_signal, one, query

BLOCK = 256


def test_whole_blocks_and_each_only_once(logged: Connection) -> None:
    assert seal(logged) == [("signals", 1, 256)]
    assert nodes(logged, "signals") == [(8, 0)]
    assert seal(logged) == []
    write_signals(logged, 211, first=301)
    assert seal(logged) == []
    make_signal(logged)
    assert seal(logged) == [("signals", 257, 512)]
    assert nodes(logged, "signals") == [(8, 0), (8, 1)]


def test_in_parts(logged: Connection) -> None:
    """max_rows is for the whole call: the first logs come first, and the next call goes on."""
    pour(logged, 1_000)
    assert seal(logged, max_rows=511) == [("signals", 1, 256)]
    assert seal(logged, max_rows=511) == [(WIDE, 1, 256)]
    assert seal(logged, WIDE, max_rows=512) == [(WIDE, 257, 768)]
    assert seal(logged, "signals") == []
    assert seal(logged, max_rows=256) == []
    assert nodes(logged, WIDE) == [(8, 0), (8, 1), (8, 2)]
    assert root(logged, WIDE, 1_000) == tree_of(logged, WIDE).root(1_000)


def test_a_call_tells_what_it_left(logged: Connection) -> None:
    """The default is bounded too: test_the_default_is_bounded (long) counts it."""
    pour(logged, 1_000)
    found = query(logged, "select * from seal_log(max_rows => 512)")
    assert [(row["sealed_table"], row["sealed_to"], row["rows_left"]) for row in found] == [
        ("signals", 256, 0),
        (WIDE, 256, 512),
    ]
    given = one(logged, "select pg_get_function_arguments('seal_log'::regproc)")
    assert given == "table_name text DEFAULT NULL::text, max_rows bigint DEFAULT 250000"


def test_all_logs_in_transactions_of_their_own(logged: Connection) -> None:
    pour(logged, 1_000)
    before = one(logged, "select txid_current()")
    (told,) = query(logged, "call seal_logs(batch => 256)")
    assert told["result"] == {"rows_sealed": 1_024}
    assert nodes(logged, WIDE) == [(8, 0), (8, 1), (8, 2)]
    assert one(logged, "select txid_current()") - before > 4
    assert query(logged, "call seal_logs()")[0]["result"] == {"rows_sealed": 0}
    with logged.transaction(), pytest.raises(psycopg.errors.InvalidTransactionTermination):
        query(logged, "call seal_logs()")


def test_nodes_over_65536_rows(long: Connection) -> None:
    assert nodes(long, WIDE) == [*((8, index) for index in range(256)), (16, 0)]
    assert seal(long) == [(WIDE, 65_537, 65_792)]
    stored = one(long, "select hash from log_nodes where level = 16")
    assert bytes(stored) == tree_of(long, WIDE).root(65_536)


@pytest.mark.parametrize("max_rows", [-1, 0, 255])
def test_less_than_a_block_would_never_come_to_an_end(db: Connection, max_rows: int) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        seal(db, max_rows=max_rows)
    assert "256 or more" in str(caught.value.diag.message_hint)


@pytest.mark.parametrize(
    "call", ["seal_log('nothing')", "log_root('nothing', 0)", "find_log_damage('nothing')"]
)
def test_what_is_no_chained_table(db: Connection, call: str) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        query(db, f"select {call}")


def test_rows_that_are_not_committed_are_not_sealed(logged: Connection, connect: Connect) -> None:
    """The writer holds the lock of the chain; sealing neither waits for it nor sees its rows."""
    writer = connect(dbname=logged.info.dbname, autocommit=False, lock_timeout="5s")
    write_signals(writer, 300, first=301)
    logged.execute("set lock_timeout = '5s'")
    assert seal(logged) == [("signals", 1, 256)]
    writer.rollback()
    write_signals(writer, 212, first=1001)
    assert seal(logged) == []
    writer.commit()
    assert seal(logged) == [("signals", 257, 512)]
    assert damage(logged, "signals") == []


def test_a_writer_does_not_wait_for_who_seals(logged: Connection, connect: Connect) -> None:
    sealer = connect(dbname=logged.info.dbname, autocommit=False)
    assert seal(sealer) == [("signals", 1, 256)]
    logged.execute("set lock_timeout = '5s'")
    make_signal(logged)
    assert root(logged, "signals", 301) == tree_of(logged, "signals").root(301)
    sealer.rollback()
    assert nodes(logged, "signals") == []


def test_who_seals_the_same_waits_and_has_nothing_left_to_do(logged: Connection, connect: Connect) -> None:
    first = connect(dbname=logged.info.dbname, autocommit=False)
    seal(first)
    second = Background(connect(dbname=logged.info.dbname), "select * from seal_log()").blocked(logged)
    first.commit()
    assert second.result() == []
    assert nodes(logged, "signals") == [(8, 0)]


def test_and_has_everything_to_do_if_the_first_gave_up(logged: Connection, connect: Connect) -> None:
    first = connect(dbname=logged.info.dbname, autocommit=False)
    seal(first)
    second = Background(connect(dbname=logged.info.dbname), "select * from seal_log()").blocked(logged)
    first.rollback()
    assert [(row["sealed_table"], row["sealed_to"]) for row in second.result()] == [("signals", 256)]


def test_many_at_once(logged: Connection, connect: Connect) -> None:
    """Each block once, whoever comes first, while rows are written."""
    pour(logged, 2_000)
    sealers = [connect(dbname=logged.info.dbname) for _ in range(6)]
    writer = connect(dbname=logged.info.dbname)

    def in_parts(connection: Connection) -> Callable[[], list[tuple[str, int, int]]]:
        def run() -> list[tuple[str, int, int]]:
            found: list[tuple[str, int, int]] = []
            while part := seal(connection, max_rows=256):
                found += part
            return found

        return run

    def write() -> list[tuple[str, int, int]]:
        for n in range(40):
            write_signals(writer, 10, first=301 + 10 * n)
        return []

    parts = sorted(part for found in all_at_once([write, *map(in_parts, sealers)]) for part in found)
    parts += seal(logged)
    for table, blocks in (("signals", 2), (WIDE, 7)):
        covered = [(first, last) for name, first, last in sorted(parts) if name == table]
        assert covered[0][0] == 1
        assert [first for first, _ in covered[1:]] == [last + 1 for _, last in covered[:-1]]
        assert nodes(logged, table) == [(8, index) for index in range(blocks)]
        assert damage(logged, table) == []


def test_a_snapshot_older_than_the_nodes_is_sent_back(logged: Connection, connect: Connect) -> None:
    old = connect(dbname=logged.info.dbname, autocommit=False)
    old.execute("set transaction isolation level repeatable read")
    old.execute("select")
    seal(logged)
    with pytest.raises(psycopg.errors.SerializationFailure):
        seal(old)
    assert damage(logged, "signals") == []


def test_who_may_seal(logged: Connection) -> None:
    for role in ("app_trading", "app_risk"):
        with as_role(logged, role), pytest.raises(psycopg.errors.InsufficientPrivilege):
            seal(logged)
    with as_role(logged, "app_auditor"):
        assert seal(logged) == [("signals", 1, 256)]
        assert root(logged, "signals", 300) == tree_of(logged, "signals").root(300)
        assert one(logged, "select cardinality(inclusion_proof('signals', 300, 300))") == 5
        assert one(logged, "select cardinality(consistency_proof('signals', 100, 300))") == 8
        assert damage(logged, "signals") == []


def test_not_where_nothing_can_be_written(logged: Connection) -> None:
    """Sealing says so; roots and proofs need no stored node."""
    with logged.transaction():
        query(logged, "set transaction read only")
        assert root(logged, "signals", 300) == tree_of(logged, "signals").root(300)
        assert one(logged, "select count(*) from checkpoint_facts()") == one(
            logged, "select count(*) from chains"
        )
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), logged.transaction():
            seal(logged)


@pytest.mark.parametrize(
    "command", ["update log_nodes set hash = sha256('')", "delete from log_nodes", "truncate log_nodes"]
)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_nodes_are_not_changed(logged: Connection, command: str, role: str) -> None:
    seal(logged)
    with logged.transaction(force_rollback=True):
        query(logged, f"set local session_replication_role = {role}")
        with pytest.raises(psycopg.DatabaseError) as caught, logged.transaction():
            query(logged, command)
        assert caught.value.sqlstate == "AUD11"
    assert one(logged, "select sum(attempts) from vw_rejected_attempts where table_name = 'log_nodes'") == 1


@pytest.mark.parametrize(
    "setting",
    [
        "standard_conforming_strings = off",
        "bytea_output = 'escape'",
        "transform_null_equals = on",
        "search_path = pg_catalog",
    ],
)
def test_settings_change_no_hash(logged: Connection, setting: str) -> None:
    expected = tree_of(logged, "signals")
    query(logged, "set escape_string_warning = off")
    query(logged, f"set {setting}")
    assert bytes(one(logged, "select public.log_root('signals', 299)")) == expected.root(299)
    assert one(logged, "select public.inclusion_proof('signals', 17, 299)") == expected.inclusion(16, 299)
    assert one(
        logged,
        "select public.verify_inclusion(decode(%s, 'hex'), 16, 299, public.inclusion_proof('signals', 17, 299),"
        " public.log_root('signals', 299))",
        [expected.leaves[16].hex()],
    )


def test_columns_that_are_added_later_change_no_leaf(logged: Connection) -> None:
    seal(logged)
    before = root(logged, "signals", 300)
    query(logged, "alter table signals add column venue text")
    with as_role(logged, "alpha_owner"):
        query(logged, "select chain_extend('signals')")
    write_signals(logged, 220, first=301)
    assert root(logged, "signals", 300) == before
    assert seal(logged) == [("signals", 257, 512)]
    assert root(logged, "signals", 520) == tree_of(logged, "signals").root(520)
    assert damage(logged, "signals") == []


def test_a_table_that_is_chained_later_is_a_log(db: Connection) -> None:
    """As a later migration does it: attach, and record the guards."""
    with as_role(db, "alpha_owner"):
        query(
            db,
            'create table "Late, one" (id bigserial constraint late_pkey primary key, what text,'
            " row_hash char(64) not null, created_at timestamptz not null)",
        )
        query(db, "select _chain_attach('Late, one'), _protect_table('Late, one', 'AUD-011', 'AUD-011')")
        query(db, "select _revoke_from_public(), record_guards('a later migration')")
    query(db, """insert into "Late, one" (what) select 'n' || i from generate_series(1, 600) as i""")
    assert seal(db) == [("Late, one", 1, 512)]
    tree = tree_of(db, "Late, one")
    assert root(db, "Late, one", 600) == tree.root(600)
    (fact,) = query(db, "select origin, size, root from checkpoint_facts() where table_name = 'Late, one'")
    assert (fact["origin"].split("/")[2], fact["size"], bytes(fact["root"])) == (
        "Late, one",
        600,
        tree.root(600),
    )
    assert_healthy(db)

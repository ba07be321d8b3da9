"""Rows that are gone or forged, and stored nodes that are: an error or a finding, never a root that passes."""

from __future__ import annotations

import psycopg
import pytest

from tests.chain.by_force import behind_its_back
from tests.merkle.logs import WIDE, damage, forge, nodes, root, seal, tree_of, write_signals
from tests.support import PATIENCE, Connection, as_role, fill, one, query, tamper


def recomputed(connection: Connection, size: int, table: str = "signals") -> bytes:
    return bytes(one(connection, "select recompute_log_root(%s, %s)", [table, size]))


def refusal(connection: Connection, call: str) -> psycopg.Error:
    with pytest.raises(psycopg.DatabaseError) as caught, connection.transaction():
        query(connection, f"select {call}")
    return caught.value


@pytest.mark.parametrize("missing", [1, pytest.param(7, marks=pytest.mark.long), 256, 257, 299])
def test_a_missing_row_is_an_error(logged: Connection, missing: int) -> None:
    honest = tree_of(logged, "signals")
    tamper(logged, f"delete from signals where id = {missing}")
    assert root(logged, "signals", missing - 1) == honest.root(missing - 1)
    for call in (
        f"log_root('signals', {missing})",
        "log_root('signals', 300)",
        "recompute_log_root('signals', 300)",
        "inclusion_proof('signals', 300, 300)",
        "consistency_proof('signals', 150, 300)",
    ):
        error = refusal(logged, call)
        assert error.sqlstate == "AUD09", call
        assert str(error.diag.message_primary).startswith("AUD-009: ")
        assert error.diag.message_detail == f"Row {missing} is missing."
        assert "find_chain_damage" in str(error.diag.message_hint)
    assert one(logged, "select root from checkpoint_facts() where table_name = 'signals'") is None
    if missing <= 256:
        assert seal(logged) == []
        assert nodes(logged, "signals") == []


def test_what_was_sealed_before_stays_provable(logged: Connection) -> None:
    """The stored node stands for the row that is gone; what needs the row itself does not work any more."""
    honest = tree_of(logged, "signals")
    seal(logged)
    tamper(logged, "delete from signals where id = 7")
    assert root(logged, "signals", 300) == honest.root(300)
    assert one(logged, "select inclusion_proof('signals', 290, 300)") == honest.inclusion(289, 300)
    assert refusal(logged, "inclusion_proof('signals', 8, 300)").sqlstate == "AUD09"
    assert refusal(logged, "recompute_log_root('signals', 300)").sqlstate == "AUD09"
    assert damage(logged, "signals") == [(8, 0)]


@pytest.mark.parametrize("missing", [256, 512])
def test_the_node_stands_for_the_last_row_of_its_block_too(logged: Connection, missing: int) -> None:
    """A later block shows that the node is of these rows. Without one, nothing does."""
    write_signals(logged, 500, first=301)
    honest = tree_of(logged, "signals")
    assert seal(logged) == [("signals", 1, 768)]
    tamper(logged, f"delete from signals where id = {missing}")
    assert root(logged, "signals", 800) == honest.root(800)
    assert one(logged, "select inclusion_proof('signals', 790, 800)") == honest.inclusion(789, 800)
    assert refusal(logged, f"log_root('signals', {missing})").sqlstate == "AUD09"
    assert refusal(logged, "recompute_log_root('signals', 800)").sqlstate == "AUD09"
    assert damage(logged, "signals") == [(8, index) for index in range(missing // 256 - 1, 3)]


@pytest.mark.parametrize("forged", ["repeat('z', 64)", "null"])
def test_a_hash_that_is_none_is_an_error(logged: Connection, forged: str) -> None:
    with behind_its_back(logged, "signals"):
        query(logged, f"update signals set row_hash = {forged} where id = 5")
        assert root(logged, "signals", 4)
        error = refusal(logged, "log_root('signals', 300)")
        assert (error.sqlstate, error.diag.message_detail) == ("AUD09", "A row_hash among them is not hex.")


def test_a_hash_that_is_too_short_is_another_leaf(logged: Connection) -> None:
    honest = tree_of(logged, "signals").root(300)
    with behind_its_back(logged, "signals"):
        query(logged, "update signals set row_hash = 'ab' where id = 5")
        assert root(logged, "signals", 300) != honest


@pytest.mark.parametrize(
    "call",
    [
        "log_root('signals', 301)",
        "log_root('signals', -1)",
        "log_root('signals', null)",
        "log_root('votes', 1)",
        "recompute_log_root('signals', 301)",
        "inclusion_proof('signals', 1, 301)",
        "inclusion_proof('signals', 0, 300)",
        "inclusion_proof('signals', 300, 299)",
        "inclusion_proof('signals', null, 300)",
        "inclusion_proof('signals', 1, 0)",
        "consistency_proof('signals', 1, 301)",
        "consistency_proof('signals', 300, 299)",
        "consistency_proof('signals', -1, 300)",
        "consistency_proof('signals', null, 300)",
    ],
)
def test_sizes_that_the_log_never_had(logged: Connection, call: str) -> None:
    error = refusal(logged, call)
    assert error.sqlstate == "22023"
    assert error.diag.message_hint


def test_a_forged_node_is_found_and_proves_nothing(logged: Connection) -> None:
    honest = tree_of(logged, "signals")
    seal(logged)
    forge(logged, "update log_nodes set hash = sha256('forged') where level = 8 and index = 0")
    (found,) = query(logged, "select * from find_log_damage('signals')")
    assert (found["level"], found["index"]) == (8, 0)
    assert bytes(found["computed_hash"]) == honest.root(256)
    false_root = root(logged, "signals", 300)
    assert false_root != honest.root(300) == recomputed(logged, 300)

    check = "select verify_inclusion(%s, %s, 300, inclusion_proof('signals', %s, 300), %s)"
    # A proof that passes by the forged node does not give the true root, nor does a row below it give the false one.
    assert not one(logged, check, [honest.leaves[299], 299, 300, honest.root(300)])
    assert not one(logged, check, [honest.leaves[4], 4, 5, false_root])
    verdict = "select (verify_checkpoint('signals', 300, %s, false)).verdict"
    assert one(logged, verdict, [honest.root(300)]) == "intact"
    assert one(logged, verdict, [false_root]) == "checkpoint_mismatch"


def test_a_forged_node_further_up_is_found_where_it_stands(long: Connection) -> None:
    honest = root(long, WIDE, 65_536)
    forge(long, "update log_nodes set hash = sha256('forged') where level = 16")
    assert damage(long, WIDE) == [(16, 0)]
    assert root(long, WIDE, 65_536) != honest == recomputed(long, 65_536, WIDE)
    long.rollback()
    # and one below the other level leaves that one in contradiction to it
    forge(long, "update log_nodes set hash = sha256('forged') where level = 8 and index = 200")
    assert damage(long, WIDE) == [(8, 200), (16, 0)]


def test_a_node_that_is_gone_is_computed(long: Connection) -> None:
    tree = tree_of(long, WIDE)
    forge(long, "delete from log_nodes where level = 16 or index in (0, 17)")
    assert root(long, WIDE, 66_000) == tree.root(66_000)
    assert one(long, "select inclusion_proof(%s, 60000, 66000)", [WIDE]) == tree.inclusion(59_999, 66_000)
    assert damage(long, WIDE) == []
    assert seal(long) == [(WIDE, 65_537, 65_792)]
    assert (16, 0) in nodes(long, WIDE)


def test_nodes_without_rows(logged: Connection) -> None:
    """A tail was cut after it was sealed, and other rows came."""
    honest = tree_of(logged, "signals")
    seal(logged)
    tamper(logged, "delete from signals where id > 200")
    (found,) = query(logged, "select * from find_log_damage('signals')")
    assert (found["level"], found["index"], found["computed_hash"]) == (8, 0, None)
    assert root(logged, "signals", 200) == honest.root(200)
    assert seal(logged) == []
    write_signals(logged, 400, first=1001)
    assert root(logged, "signals", 600) == tree_of(logged, "signals").root(600)
    assert seal(logged) == [("signals", 1, 512)]
    assert query(logged, "select * from find_log_damage('signals')") == []
    assert recomputed(logged, 600) == tree_of(logged, "signals").root(600) == root(logged, "signals", 600)


def test_a_tail_that_was_lost_and_written_again(logged: Connection) -> None:
    """Stored nodes of the lost rows stand above the tail, then beside the nodes of the new rows."""
    write_signals(logged, 500, first=301)
    seal(logged)
    tamper(logged, "delete from signals where id > 300")
    write_signals(logged, 724, first=1001)
    sizes = (256, 300, 511, 512, 700, 768, 769, 1_024)

    def check() -> None:
        tree = tree_of(logged, "signals")
        for size in sizes:
            assert root(logged, "signals", size) == tree.root(size)
            assert one(logged, "select inclusion_proof('signals', 3, %s)", [size]) == tree.inclusion(2, size)
            proof = one(logged, "select consistency_proof('signals', 200, %s)", [size])
            assert proof == tree.consistency(200, size)

    check()
    assert seal(logged) == [("signals", 257, 1024)]
    assert nodes(logged, "signals") == [(8, 0), (8, 1), (8, 1), (8, 2), (8, 2), (8, 3)]
    check()
    assert damage(logged, "signals") == []


def test_nodes_at_impossible_places_are_refused(db: Connection) -> None:
    for level, index in ((7, 0), (0, 0), (12, 0), (64, 0), (8, -1), (8, 2**54), (56, 2**6), (8, 2**62)):
        with as_role(db, "alpha_owner"), pytest.raises(psycopg.errors.CheckViolation):
            query(
                db, "insert into log_nodes values ('signals', %s, %s, sha256(''), sha256(''))", [level, index]
            )
    with as_role(db, "alpha_owner"), pytest.raises(psycopg.errors.CheckViolation):
        query(db, "insert into log_nodes values ('signals', 8, 0, 'short', sha256(''))")


def test_a_node_far_beyond_the_tail_hides_nothing(logged: Connection) -> None:
    honest = tree_of(logged, "signals")
    with as_role(logged, "alpha_owner"):
        query(
            logged,
            "insert into log_nodes values ('signals', 8, %s, sha256(''), sha256('')),"
            " ('signals', 56, 63, sha256(''), sha256(''))",
            [2**54 - 1],
        )
    assert damage(logged, "signals") == [(8, 2**54 - 1), (56, 63)]
    assert seal(logged) == [("signals", 1, 256)]
    assert root(logged, "signals", 300) == honest.root(300)


def test_a_log_with_a_missing_row_does_not_stop_the_others(db: Connection) -> None:
    fill(db, signals=9)
    tamper(db, "delete from signals where id = 4")
    roots = {
        row["table_name"]: row["root"] for row in query(db, "select table_name, root from checkpoint_facts()")
    }
    assert roots["signals"] is None
    assert roots["ai_debates"] is not None
    assert query(db, "select * from seal_log()") == []


def test_a_forged_id_does_not_make_sealing_count_for_ever(logged: Connection) -> None:
    before = query(logged, "select level, index, hash from log_nodes order by 1, 2")
    tamper(logged, "update signals set id = 9000000000000000000 where id = (select max(id) from signals)")
    query(logged, f"set statement_timeout = '{PATIENCE}s'")
    query(logged, "select * from seal_log()")
    assert query(logged, "select level, index, hash from log_nodes order by 1, 2") == before


def test_after_a_cut_tail_a_new_checkpoint_holds_against_the_rows(db: Connection) -> None:
    many = (
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select %s || i, 'B', 'BUY', 1, 1, '{}' from generate_series(1, %s) as i"
    )
    query(db, many, ["a", 300])
    query(db, "select seal_log('signals')")
    tamper(db, "delete from signals where id > 200")
    query(db, many, ["b", 100])
    size, root = next(
        iter(f.values())
        for f in query(db, "select size, root from checkpoint_facts() where table_name = 'signals'")
    )
    found = query(db, "select * from verify_checkpoint('signals', %s, %s, false)", [size, root])[0]
    assert found["verdict"] == "intact"

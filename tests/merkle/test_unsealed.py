"""What a proof reads: of a sealed log little, and of an unsealed one each row once; and both give the same."""

from __future__ import annotations

import pytest

from tests.merkle.logs import WIDE, consistencies, forge, inclusions, root
from tests.merkle.reference import Tree
from tests.support import Connection, one, query

#: Rows of the log, and how many of them are sealed.
SIZE, SEALED = 66_000, 65_536


def unseal(connection: Connection) -> None:
    forge(connection, "delete from log_nodes")


def rows_read(connection: Connection, table: str, call: str) -> int:
    """How many rows of a table a call reads, whatever the plan."""
    count = (
        "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))"
        " from pg_stat_xact_user_tables where relname = %s"
    )
    before = one(connection, count, [table])
    query(connection, f"select {call}")
    return int(one(connection, count, [table]) - before)


@pytest.mark.parametrize(
    "size",
    [1, 257, 65_535, 65_537, SIZE, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 255, 256, 65_536))],
)
def test_what_an_unsealed_log_gives(long: Connection, long_tree: Tree, size: int) -> None:
    unseal(long)
    tree = long_tree
    leaf, smaller = size // 3, (size + 1) // 2
    assert root(long, WIDE, size) == tree.root(size)
    assert inclusions(long, WIDE, [(leaf, size)]) == [tree.inclusion(leaf, size)]
    assert consistencies(long, WIDE, [(smaller, size)]) == [tree.consistency(smaller, size)]


@pytest.mark.parametrize("size1", [1, 255, 256, 65_280, 65_535, 65_536, 65_537, 65_791, SIZE])
def test_consistency_across_the_last_sealed_row(long: Connection, long_tree: Tree, size1: int) -> None:
    assert consistencies(long, WIDE, [(size1, SIZE)]) == [long_tree.consistency(size1, SIZE)]


@pytest.mark.parametrize(
    "call",
    [
        "log_root('{}', 66000)",
        "recompute_log_root('{}', 66000)",
        pytest.param("inclusion_proof('{}', 1, 66000)", marks=pytest.mark.long),
        "inclusion_proof('{}', 40000, 66000)",
        pytest.param("inclusion_proof('{}', 66000, 66000)", marks=pytest.mark.long),
        pytest.param("consistency_proof('{}', 33333, 66000)", marks=pytest.mark.long),
        "consistency_proof('{}', 65537, 66000)",
    ],
)
def test_an_unsealed_row_is_read_once(long: Connection, call: str) -> None:
    unseal(long)
    read = rows_read(long, WIDE, call.format(WIDE))
    # and the tail
    assert SIZE <= read <= SIZE + 1


@pytest.mark.parametrize(
    ("call", "leaves"),
    [
        ("log_root('{}', 65536)", 0),
        ("log_root('{}', 65300)", 20),
        ("log_root('{}', 66000)", SIZE - SEALED),
        ("inclusion_proof('{}', 300, 65536)", 256),
        ("inclusion_proof('{}', 300, 66000)", 256 + SIZE - SEALED),
        ("inclusion_proof('{}', 66000, 66000)", SIZE - SEALED),
        ("consistency_proof('{}', 65536, 66000)", SIZE - SEALED),
    ],
)
def test_of_a_sealed_log_few_rows_are_read(long: Connection, call: str, leaves: int) -> None:
    """The leaves that stand beside the way to the root, and of each level of stored nodes one row."""
    read = rows_read(long, WIDE, call.format(WIDE))
    assert leaves <= read <= leaves + 4


def test_stored_nodes_are_read_once(long: Connection) -> None:
    """255 beside the one over the row, that one, and the one over all of these."""
    assert rows_read(long, "log_nodes", f"inclusion_proof('{WIDE}', 300, 66000)") <= 257

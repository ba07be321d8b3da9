"""Roots, proofs and their verification against an independent reference, at every size up to 300 and far beyond."""

from __future__ import annotations

import random

import psycopg
import pytest

from alpha_db.evidence.offline_check import MerkleTree
from tests.merkle.logs import WIDE, array_text, consistencies, inclusions, pour, root, seal, tree_of
from tests.merkle.reference import Tree, leaf_hash, split
from tests.support import Connection, one, query

SIZES = range(1, 301)


def edges(size: int) -> list[int]:
    """Leaves of a tree where something changes: at the ends, and where it splits."""
    k = split(size) if size > 1 else 0
    return sorted({0, k - 1, k, size - 1} & set(range(size)))


def check_proofs(connection: Connection, tree: Tree, pairs: list[tuple[int, int]]) -> None:
    """Inclusion of the leaf, and consistency of the size that ends with it, for each (leaf, size)."""
    assert inclusions(connection, "signals", pairs) == [tree.inclusion(*pair) for pair in pairs]
    pairs = [(leaf + 1, size) for leaf, size in pairs]
    assert consistencies(connection, "signals", pairs) == [tree.consistency(*pair) for pair in pairs]


def check_roots(connection: Connection, tree: Tree) -> None:
    found = query(
        connection, "select log_root('signals', s) as root from generate_series(0, 300) as s order by s"
    )
    assert [bytes(row["root"]) for row in found] == [tree.root(size) for size in range(301)]


def test_roots_and_proofs_at_every_size(logged: Connection) -> None:
    tree = tree_of(logged, "signals")
    check_roots(logged, tree)
    check_proofs(logged, tree, [(leaf, size) for size in SIZES for leaf in edges(size)])


def test_roots_and_proofs_from_a_stored_node(logged: Connection) -> None:
    """Below 256 nothing that is stored is of use."""
    tree = tree_of(logged, "signals")
    assert seal(logged) == [("signals", 1, 256)]
    check_roots(logged, tree)
    check_proofs(logged, tree, [(leaf, size) for size in range(255, 301) for leaf in edges(size)])


@pytest.mark.long
@pytest.mark.parametrize("sealed", [False, True])
def test_every_proof_of_every_size(logged: Connection, sealed: bool) -> None:
    tree = tree_of(logged, "signals")
    if sealed:
        seal(logged)
    for size in range(255 if sealed else 1, 301):
        check_proofs(logged, tree, [(leaf, size) for leaf in range(size)])


def accepted_leaves(connection: Connection, tree: Tree, size: int, leaves: list[int]) -> int:
    """Of how many leaves verify_inclusion accepts the reference's proof."""
    return int(
        one(
            connection,
            "select count(*) from unnest(%s::bytea[], %s::bigint[], %s::text[]) as p(leaf, index, proof)"
            " where verify_inclusion(p.leaf, p.index, %s, p.proof::bytea[], %s)",
            [
                [tree.leaves[leaf] for leaf in leaves],
                leaves,
                [array_text(tree.inclusion(leaf, size)) for leaf in leaves],
                size,
                tree.root(size),
            ],
        )
    )


def accepted_sizes(connection: Connection, tree: Tree, size: int, smaller: list[int]) -> int:
    """Of how many smaller sizes verify_consistency accepts the reference's proof."""
    return int(
        one(
            connection,
            "select count(*) from unnest(%s::bytea[], %s::bigint[], %s::text[]) as p(root, size, proof)"
            " where verify_consistency(p.size, %s, p.root, %s, p.proof::bytea[])",
            [
                [tree.root(size1) for size1 in smaller],
                smaller,
                [array_text(tree.consistency(size1, size)) for size1 in smaller],
                size,
                tree.root(size),
            ],
        )
    )


@pytest.mark.parametrize("every_to", [70, pytest.param(300, marks=pytest.mark.long)])
def test_verification_accepts_every_size(db: Connection, every_to: int) -> None:
    """Every leaf and every smaller size up to a size; beyond it the edges."""
    tree = Tree([number.to_bytes(32) for number in range(300)])
    for size in SIZES:
        leaves = list(range(size)) if size <= every_to else edges(size)
        assert accepted_leaves(db, tree, size, leaves) == len(leaves)
        smaller = [0, *(leaf + 1 for leaf in leaves)]
        assert accepted_sizes(db, tree, size, smaller) == len(smaller)


def compare(connection: Connection, tree: Tree, sizes: list[int], chance: random.Random) -> None:
    """Root, recomputed root, some proofs and their verification at each of these sizes."""
    for size in sizes:
        expected = tree.root(size)
        assert root(connection, WIDE, size) == expected, size
        leaves = [chance.randrange(size) for _ in range(3)]
        wanted = [(leaf, size) for leaf in [*leaves, size - 1]]
        proofs = inclusions(connection, WIDE, wanted)
        assert proofs == [tree.inclusion(*pair) for pair in wanted], size
        for (leaf, _), proof in zip(wanted, proofs, strict=True):
            assert one(
                connection,
                "select verify_inclusion(%s, %s, %s, %s, %s)",
                [tree.leaves[leaf], leaf, size, proof, expected],
            )
        wanted = [(leaf + 1, size) for leaf in leaves]
        proofs = consistencies(connection, WIDE, wanted)
        assert proofs == [tree.consistency(*pair) for pair in wanted], size
        for (size1, _), proof in zip(wanted, proofs, strict=True):
            assert one(
                connection,
                "select verify_consistency(%s, %s, %s, %s, %s)",
                [size1, size, tree.root(size1), expected, proof],
            )


def test_random_sizes(long: Connection, long_tree: Tree) -> None:
    """Partly with nodes over 65,536 rows, partly with those over 256, partly with rows that nothing is stored of."""
    chance = random.Random(6962)
    tree = long_tree
    around = [256, 257, 511, 512, 65_535, 65_536, 65_537, 65_791, 65_792, 65_793, 66_000]
    compare(long, tree, [*around, *(chance.randint(1, 66_000) for _ in range(12))], chance)
    for size in (65_535, 65_536, 66_000):
        assert bytes(one(long, "select recompute_log_root(%s, %s)", [WIDE, size])) == tree.root(size)


def test_the_roots_of_blocks_make_up_the_root(long: Connection, long_tree: Tree) -> None:
    """However the log is divided; of a block that is not full, over the rows that it has."""
    for parts in ([(1, 66_000)], [(1, 32_768), (32_769, 65_536), (65_537, 66_000)]):
        roots = b"".join(
            bytes(one(long, "select recompute_block_roots(%s, %s, %s)", [WIDE, *part])) for part in parts
        )
        blocks = MerkleTree()
        blocks.add(*(roots[place : place + 32] for place in range(0, len(roots), 32)))
        assert (blocks.size, blocks.root()) == (258, long_tree.root(66_000))


@pytest.mark.parametrize("ids", ["2, 256", "257, 256", "257, 301", "0, 256", "null, 256", "1, null"])
def test_what_is_no_range_of_blocks(logged: Connection, ids: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        query(logged, f"select recompute_block_roots('signals', {ids})")


def test_random_sizes_of_which_nothing_is_sealed(db: Connection) -> None:
    pour(db, 5_000)
    chance = random.Random(9162)
    compare(db, tree_of(db, WIDE), [5_000, *(chance.randint(1, 5_000) for _ in range(8))], chance)


@pytest.mark.long
def test_random_sizes_to_200_000(db: Connection) -> None:
    chance = random.Random(200_000)
    pour(db, 200_000)
    tree = tree_of(db, WIDE)
    compare(db, tree, [chance.randint(1, 200_000) for _ in range(5)], chance)
    seal(db)
    compare(db, tree, [200_000, *(chance.randint(1, 200_000) for _ in range(100))], chance)


def test_the_empty_log(db: Connection) -> None:
    """RFC 6962: the hash of nothing. Every log begins with it."""
    empty = Tree([]).root(0)
    assert root(db, "signals", 0) == empty
    assert bytes(one(db, "select recompute_log_root('signals', 0)")) == empty
    assert one(db, "select consistency_proof('signals', 0, 0)") == []
    assert one(db, "select verify_consistency(0, 0, %(e)s, %(e)s, '{}')", {"e": empty})
    assert one(db, "select verify_consistency(0, 7, %s, %s, '{}')", [empty, leaf_hash(b"any")])
    assert not one(db, "select verify_consistency(0, 7, %(e)s, %(e)s, %(p)s)", {"e": empty, "p": [empty]})


def test_known_answers_of_certificate_transparency(db: Connection) -> None:
    """The test vectors that the CT projects share: eight leaves of other lengths, here by their hashes."""
    entries = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    leaves = b"".join(leaf_hash(bytes.fromhex(entry)) for entry in entries)
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    for size, expected in enumerate(roots, start=1):
        assert bytes(one(db, "select _merkle_root(%s)", [leaves[: 32 * size]])).hex() == expected

"""The Merkle trees of offline_check against RFC 6962's own definition, and against everything near a proof."""

from __future__ import annotations

import random
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from alpha_db.evidence.offline_check import (
    MerkleTree,
    Unreadable,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from tests.evidence.made_by_hand import bit_flips, consistency_of, path_of, root_of

LEAVES = [sha256(n.to_bytes(2, "big")).digest() for n in range(300)]
ROOTS = [root_of(LEAVES[:size]) for size in range(301)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def test_the_tree_of_every_size_to_300() -> None:
    tree = MerkleTree()
    for size, leaf in enumerate(HASHES):
        assert tree.size == size
        assert tree.root() == ROOTS[size]
        # what is kept is the inclusion proof of the next leaf, and enough to go on with
        assert tree.subtrees == path_of(size, LEAVES[: size + 1])
        assert MerkleTree(size, tree.subtrees).root() == ROOTS[size]
        tree.add(leaf)
    assert tree.root() == ROOTS[300]


@given(st.lists(st.integers(0, 40), max_size=12))
def test_leaves_can_be_added_in_any_portions(portions: list[int]) -> None:
    tree, done = MerkleTree(), 0
    for portion in portions:
        part = HASHES[done : done + portion]
        tree.add(*part)
        done += len(part)
        assert (tree.size, tree.root()) == (done, ROOTS[done])


def test_subtrees_of_another_size_are_refused() -> None:
    for size, given_nodes in ((1, 0), (0, 1), (3, 1), (4, 2), (7, 2)):
        try:
            MerkleTree(size, [bytes(32)] * given_nodes)
        except Unreadable:
            continue
        raise AssertionError(size)


def test_inclusion_of_every_leaf_to_size_70() -> None:
    for size in range(1, 71):
        for index in range(size):
            proof = path_of(index, LEAVES[:size])
            assert verify_inclusion(HASHES[index], index, size, proof, ROOTS[size])
            assert not verify_inclusion(HASHES[index], index, size, proof, ROOTS[size + 1])
            assert not verify_inclusion(HASHES[index + 1], index, size, proof, ROOTS[size])


def test_inclusion_proofs_that_are_not() -> None:
    chance = random.Random(1)
    for _ in range(40):
        size = chance.randrange(2, 301)
        index = chance.randrange(size)
        leaf, root, proof = HASHES[index], ROOTS[size], path_of(index, LEAVES[:size])
        assert verify_inclusion(leaf, index, size, proof, root)
        for wrong in (-1, index - 1, index + 1, size, index + size, index ^ 1 << 10):
            assert not verify_inclusion(leaf, wrong, size, proof, root)
        # a size that gives the same path is told apart by the signed note, not by the proof
        for wrong in (0, -1, index, 2 * size):
            assert not verify_inclusion(leaf, index, wrong, proof, root)
        bad = [proof[:-1], proof[1:], [*proof, bytes(32)], [bytes(32), *proof], [*proof[:-1], proof[-1][:31]]]
        bad += [[*proof, proof[-1]], [*proof[:-1], proof[-1] + b"\0"], [root], []]
        bad += [proof[::-1]] if proof != proof[::-1] else []
        bad += [
            [*proof[:n], flip, *proof[n + 1 :]]
            for n in range(len(proof))
            for flip in bit_flips(proof[n], [3])
        ]
        assert not [one for one in bad if one != proof and verify_inclusion(leaf, index, size, one, root)]
        assert not [1 for flip in bit_flips(leaf) if verify_inclusion(flip, index, size, proof, root)]
        assert not [1 for flip in bit_flips(root) if verify_inclusion(leaf, index, size, proof, flip)]
        assert not verify_inclusion(root, 0, 1, [leaf], root)


def test_a_path_longer_than_the_tree_is_high_is_none_though_the_hashes_fit() -> None:
    more = bytes(32)
    assert not verify_inclusion(HASHES[0], 0, 1, [more], node_hash(more, HASHES[0]))
    path = path_of(4, LEAVES[:5])
    assert verify_inclusion(HASHES[4], 4, 5, path, ROOTS[5])
    assert not verify_inclusion(HASHES[4], 4, 5, [*path, more], node_hash(more, ROOTS[5]))
    proof = consistency_of(3, LEAVES[:5])
    assert verify_consistency(3, 5, ROOTS[3], ROOTS[5], proof)
    roots = node_hash(more, ROOTS[3]), node_hash(more, ROOTS[5])
    assert not verify_consistency(3, 5, *roots, [*proof, more])


def test_consistency_of_all_sizes_to_40() -> None:
    for size2 in range(41):
        for size1 in range(size2 + 1):
            proof = consistency_of(size1, LEAVES[:size2]) if size1 else []
            assert verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], proof), (size1, size2)
            assert not verify_consistency(size1, size2, ROOTS[size1 + 1], ROOTS[size2], proof)
            # every tree begins with the empty one
            other = verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2 + 1], proof)
            assert other == (size1 == 0 < size2)
            assert not verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], [*proof, bytes(32)])
            if proof:
                assert not verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], proof[:-1])
                assert not verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], proof[1:])


def test_consistency_proofs_that_are_not() -> None:
    chance = random.Random(2)
    for _ in range(40):
        size2 = chance.randrange(3, 301)
        size1 = chance.randrange(1, size2)
        proof = consistency_of(size1, LEAVES[:size2])
        assert verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], proof)
        assert not verify_consistency(size2, size1, ROOTS[size2], ROOTS[size1], proof)
        assert not verify_consistency(-size1, size2, ROOTS[size1], ROOTS[size2], proof)
        assert not verify_consistency(size1, size2, ROOTS[size2], ROOTS[size1], proof)
        assert not verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], [])
        for n, node in enumerate(proof):
            for flip in [*bit_flips(node, [0, 31]), node[:31], node + b"\0"]:
                changed = [*proof[:n], flip, *proof[n + 1 :]]
                assert not verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], changed)
        assert not [
            1 for f in bit_flips(ROOTS[size1]) if verify_consistency(size1, size2, f, ROOTS[size2], proof)
        ]
        assert not [
            1 for f in bit_flips(ROOTS[size2]) if verify_consistency(size1, size2, ROOTS[size1], f, proof)
        ]


@given(
    st.binary(max_size=33),
    st.integers(),
    st.integers(),
    st.lists(st.binary(max_size=33), max_size=70),
    st.binary(max_size=33),
)
def test_nonsense_is_false_and_never_an_error(
    leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes
) -> None:
    if not (index == 0 and size == 1 and not proof and leaf == root):
        assert not verify_inclusion(leaf, index, size, proof, root)
    if index != size and index != 0:
        assert not verify_consistency(index, size, leaf, root, proof)

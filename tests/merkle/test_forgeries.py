"""What verify_inclusion and verify_consistency refuse: everything that differs by a bit from what was proven.

Neither is ever null or an error. One thing a proof of inclusion does not bind: which of two sizes was meant, where the
way to the leaf is the same in both (RFC 6962). The roots of the two differ, and a checkpoint signs size and root.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from itertools import pairwise

import pytest

from tests.merkle.logs import array_text
from tests.merkle.reference import Tree, leaf_hash, sides
from tests.support import Connection, one, query

pytestmark = pytest.mark.reads_only

TREE = Tree([number.to_bytes(32) for number in range(40)])
HUGE = 2**63 - 1
CASES = [
    (0, 1),
    (0, 2),
    (1, 2),
    (2, 3),
    (0, 8),
    (5, 8),
    (6, 7),
    (12, 13),
    (3, 21),
    (20, 21),
    (32, 33),
    (17, 40),
]
PAIRS = [
    (1, 2),
    (1, 8),
    (2, 3),
    (3, 7),
    (4, 7),
    (6, 8),
    (7, 8),
    (8, 9),
    (13, 21),
    (16, 40),
    (32, 33),
    (39, 40),
]


@dataclass(frozen=True)
class Inclusion:
    leaf: bytes
    index: int
    size: int
    proof: list[bytes]
    root: bytes


@dataclass(frozen=True)
class Consistency:
    size1: int
    size2: int
    root1: bytes
    root2: bytes
    proof: list[bytes]


Claim = Inclusion | Consistency


def inclusion(index: int, size: int) -> Inclusion:
    return Inclusion(TREE.leaves[index], index, size, TREE.inclusion(index, size), TREE.root(size))


def consistency(size1: int, size2: int) -> Consistency:
    return Consistency(size1, size2, TREE.root(size1), TREE.root(size2), TREE.consistency(size1, size2))


CLAIMS: list[Claim] = [*(inclusion(*case) for case in CASES), *(consistency(*pair) for pair in PAIRS)]


def holds(connection: Connection, claims: list[Claim]) -> list[bool]:
    """The verdict on each, all of one kind, in one statement."""
    columns = [list(column) for column in zip(*(astuple(claim) for claim in claims), strict=True)]
    columns = [
        [array_text(value) for value in column] if isinstance(column[0], list) else column
        for column in columns
    ]
    if isinstance(claims[0], Inclusion):
        call, types = (
            "verify_inclusion(c.a, c.b, c.c, c.d::bytea[], c.e)",
            ("bytea", "bigint", "bigint", "text", "bytea"),
        )
    else:
        call = "verify_consistency(c.a, c.b, c.c, c.d, c.e::bytea[])"
        types = ("bigint", "bigint", "bytea", "bytea", "text")
    arrays = ", ".join(f"%s::{name}[]" for name in types)
    rows = connection.execute(
        f"select {call} from unnest({arrays}) with ordinality as c(a, b, c, d, e, place) order by c.place",
        columns,
    ).fetchall()
    return [row[0] for row in rows]


def refused(connection: Connection, claims: list[Claim]) -> None:
    wrong = [
        claim
        for claim, verdict in zip(claims, holds(connection, claims), strict=True)
        if verdict is not False
    ]
    assert wrong == []


def flipped(value: bytes) -> list[bytes]:
    """The value with one bit changed, for each of its bits."""
    number = int.from_bytes(value)
    return [(number ^ 1 << bit).to_bytes(len(value)) for bit in range(8 * len(value))]


def with_a_bit_changed(claim: Claim) -> list[Claim]:
    found: list[Claim] = []
    for place, value in enumerate(claim.proof):
        before, after = claim.proof[:place], claim.proof[place + 1 :]
        found += [replace(claim, proof=[*before, other, *after]) for other in flipped(value)]
    if isinstance(claim, Inclusion):
        found += [replace(claim, leaf=other) for other in flipped(claim.leaf)]
        found += [replace(claim, root=other) for other in flipped(claim.root)]
    else:
        found += [replace(claim, root1=other) for other in flipped(claim.root1)]
        found += [replace(claim, root2=other) for other in flipped(claim.root2)]
    return found


@pytest.mark.parametrize("first", [0, pytest.param(1, marks=pytest.mark.long)])
def test_every_bit(db: Connection, first: int) -> None:
    """Of every second claim, and with --all of the others."""
    for claim in CLAIMS[first::2]:
        assert holds(db, [claim]) == [True]
        refused(db, with_a_bit_changed(claim))


def reshaped(proof: list[bytes]) -> list[list[bytes]]:
    """The proof with hashes taken away, added, repeated, in another order, and of another length."""
    other = leaf_hash(b"other")
    found = [proof[1:], proof[:-1], [*proof, other], [other, *proof], [*proof, *proof], proof[::-1], []]
    found += [[*proof, bytes(32)], [bytes(32), *proof], [*proof, proof[-1]] if proof else [other]]
    for place in range(len(proof)):
        before, value, after = proof[:place], proof[place], proof[place + 1 :]
        found += [[*before, *after], [*before, value, value, *after]]
        found += [[*before, odd, *after] for odd in (value[:31], value + b"\0", b"", bytes(32))]
    for place, (one_hash, next_hash) in enumerate(pairwise(proof)):
        found.append([*proof[:place], next_hash, one_hash, *proof[place + 2 :]])
    return [shape for shape in found if shape != proof]


def test_other_shapes_of_a_proof(db: Connection) -> None:
    for kind in (Inclusion, Consistency):
        claims = [claim for claim in CLAIMS if isinstance(claim, kind)]
        refused(db, [replace(claim, proof=shape) for claim in claims for shape in reshaped(claim.proof)])


def test_another_leaf_or_index(db: Connection) -> None:
    forged: list[Claim] = []
    for index, size in CASES:
        claim = inclusion(index, size)
        forged += [replace(claim, index=other) for other in range(size + 2) if other != index]
        forged += [replace(claim, leaf=TREE.leaves[other]) for other in range(40) if other != index]
        forged += [replace(claim, leaf=claim.root), replace(claim, root=claim.leaf)] if size > 1 else []
    refused(db, forged)


def test_another_size(db: Connection) -> None:
    """Refused with the root of that size, always; with the old root, unless the way to the leaf is the same."""
    for index, size in CASES:
        claim = inclusion(index, size)
        sizes = [other for other in range(41) if other != size]
        refused(db, [replace(claim, size=other, root=TREE.root(other)) for other in sizes])
        same_way = [index < other and sides(index, other) == sides(index, size) for other in sizes]
        assert holds(db, [replace(claim, size=other) for other in sizes]) == same_way
    assert holds(db, [replace(inclusion(20, 21), size=size) for size in (20, 22)]) == [False, False]


def test_other_sizes_of_two_logs(db: Connection) -> None:
    for size1, size2 in PAIRS:
        claim = consistency(size1, size2)
        others = [other for other in range(41) if other != size1]
        refused(db, [replace(claim, size1=other, root1=TREE.root(other)) for other in others])
        others = [other for other in range(41) if other != size2]
        refused(db, [replace(claim, size2=other, root2=TREE.root(other)) for other in others])
        refused(db, [replace(claim, root1=claim.root2), replace(claim, root2=claim.root1)])
        refused(db, [replace(claim, root1=claim.root2, root2=claim.root1)])
        refused(db, [replace(claim, size1=size2, size2=size1), replace(claim, size1=size1 + 1)])
        refused(db, [replace(claim, size1=size1 - 1)])


def test_a_rewritten_log_is_not_consistent(db: Connection) -> None:
    """The first rows are others: no proof of the new log shows the old root."""
    rewritten = Tree([b"\xff" * 32, *TREE.entries[1:]])
    forged: list[Claim] = []
    for size1, size2 in PAIRS:
        honest = consistency(size1, size2)
        forged += [
            replace(honest, root2=rewritten.root(size2), proof=proof)
            for proof in (rewritten.consistency(size1, size2), honest.proof)
        ]
    refused(db, forged)


@pytest.mark.parametrize(
    "arguments",
    [
        "null, 0, 1, '{}', sha256('')",
        "sha256(''), null, 1, '{}', sha256('')",
        "sha256(''), 0, null, '{}', sha256('')",
        "sha256(''), 0, 1, null, sha256('')",
        "sha256(''), 0, 1, '{}', null",
        "sha256(''), 0, 2, '{null}', sha256('')",
        "sha256(''), 0, 1, '{null}', sha256('')",
        "sha256(''), 0, 0, '{}', sha256('')",
        "sha256(''), 0, -1, '{}', sha256('')",
        "sha256(''), -1, 1, '{}', sha256('')",
        "sha256(''), 1, 1, '{}', sha256('')",
        f"sha256(''), {-HUGE - 1}, {-HUGE - 1}, '{{}}', sha256('')",
        f"sha256(''), 0, {-HUGE - 1}, '{{}}', sha256('')",
        f"sha256(''), {HUGE - 1}, {HUGE}, '{{}}', sha256('')",
        f"sha256(''), {HUGE}, {HUGE}, '{{}}', sha256('')",
        "'', 0, 1, '{}', ''",
        "'short', 0, 1, '{}', 'short'",
        "sha256('a'), 0, 4, array[array[sha256('b')], array[sha256('c')]], sha256('')",
    ],
)
def test_nonsense_is_false(db: Connection, arguments: str) -> None:
    assert one(db, f"select verify_inclusion({arguments})") is False


@pytest.mark.parametrize(
    "arguments",
    [
        "null, 1, sha256(''), sha256(''), '{}'",
        "1, null, sha256(''), sha256(''), '{}'",
        "1, 1, null, sha256(''), '{}'",
        "1, 1, sha256(''), null, '{}'",
        "1, 1, null, null, '{}'",
        "1, 1, sha256(''), sha256(''), null",
        "1, 2, sha256(''), sha256(''), '{null}'",
        "0, 0, sha256('a'), sha256('a'), '{}'",
        "0, 1, sha256('a'), sha256('a'), '{}'",
        "2, 1, sha256(''), sha256(''), '{}'",
        "-1, 1, sha256(''), sha256(''), '{}'",
        "3, 4, sha256(''), sha256(''), '{}'",
        f"{-HUGE - 1}, {HUGE}, sha256(''), sha256(''), '{{}}'",
        f"{-HUGE - 1}, {-HUGE - 1}, sha256(''), sha256(''), '{{}}'",
        f"{HUGE - 1}, {HUGE}, sha256(''), sha256(''), array[sha256('')]",
        "1, 1, '', '', '{}'",
        "1, 1, 'short', 'short', '{}'",
        "1, 2, sha256('a'), sha256('b'), array[array[sha256('b')]]",
    ],
)
def test_nonsense_about_two_sizes_is_false(db: Connection, arguments: str) -> None:
    assert one(db, f"select verify_consistency({arguments})") is False


def test_an_array_that_begins_elsewhere_is_the_same_proof(db: Connection) -> None:
    """Bounds of an array are no part of a proof."""
    for claim in (inclusion(5, 8), consistency(4, 7)):
        proof = array_text(claim.proof)
        moved = f"[7:{6 + len(claim.proof)}]={proof}"
        values = [moved if isinstance(value, list) else value for value in astuple(claim)]
        name = "verify_inclusion" if isinstance(claim, Inclusion) else "verify_consistency"
        places = ", ".join("%s::text::bytea[]" if value is moved else "%s" for value in values)
        assert one(db, f"select {name}({places})", values) is True


def test_no_function_of_verification_reads_a_table(db: Connection) -> None:
    """They are immutable: an auditor may run them on any server."""
    found = query(
        db,
        "select proname, provolatile from pg_proc where proname in ('verify_inclusion', 'verify_consistency')",
    )
    assert {(row["proname"], row["provolatile"]) for row in found} == {
        ("verify_inclusion", "i"),
        ("verify_consistency", "i"),
    }

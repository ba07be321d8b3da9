"""Our checkpoints and proofs before a judge that is not us (metamorphic-log); what it must refuse, we refuse, too."""

from __future__ import annotations

import base64
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import metamorphic_log as judge
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.evidence import offline_check as ours
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.note import compose_note
from alpha_db.security.ed25519 import verify
from tests.checkpoint.book import Book as SignedBook
from tests.checkpoint.book import run as run_command
from tests.evidence.foreign import judge_proof, refuses
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, bit_flips, tlog_proof
from tests.merkle.reference import Tree, sides
from tests.support import one

ORIGIN = "audit.example.org/trading"  # of the log of runs, which is the key's name
KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ENTRIES = [sha256(n.to_bytes(3, "big")).digest() for n in range(1500)]
TREE = Tree(ENTRIES)
SIZES = [*range(1, 18), 255, 256, 257, 1023, 1024, 1025, *random.Random(15).sample(range(18, 1500), 12)]


def text_of(size: int, tree: Tree = TREE) -> str:
    """The three lines of a checkpoint, c2sp.org/tlog-checkpoint."""
    return f"{ORIGIN}\n{size}\n{base64.b64encode(tree.root(size)).decode()}\n"


def note_of(size: int, tree: Tree = TREE) -> str:
    return compose_note(size, tree.root(size), KEY)


def signed(text: str, *lines: str) -> str:
    return f"{text}\n{KEY.sign(text)}{''.join(lines)}"


def cosignature(text: str, time: int = 1_790_000_000) -> str:
    """A witness's line, c2sp.org/tlog-cosignature: Ed25519 with a time, key type 0x04."""
    witness, name = Ed25519PrivateKey.from_private_bytes(bytes(32)), "witness.example/one"
    key_id = sha256(name.encode() + b"\n\4" + witness.public_key().public_bytes_raw()).digest()[:4]
    signature = witness.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
    return f"— {name} {base64.b64encode(key_id + time.to_bytes(8, 'big') + signature).decode()}\n"


def we_refuse_note(note: str, key: SigningKey = KEY) -> bool:
    try:
        ours.open_note(note, [key.trusted], verify)  # OpenSSL's, which is quick
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("size", [0, *SIZES])
def test_a_checkpoint_is_opened(size: int) -> None:
    head = judge.checkpoint_verify(note_of(size), [KEY.vkey])
    assert (head.origin, head.size, head.root, head.extensions) == (ORIGIN, size, TREE.root(size), [])
    assert ours.open_note(note_of(size), [KEY.trusted]) == (text_of(size), KEY.trusted)


def test_every_character_of_a_checkpoint_is_signed() -> None:
    note = note_of(1025)
    for place, character in enumerate(note):
        for other in ("A" if character != "A" else "B", "\n" if character != "\n" else " ", "é"):
            changed = f"{note[:place]}{other}{note[place + 1 :]}"
            assert refuses(judge.checkpoint_verify, changed, [KEY.vkey]), (place, other)
            assert we_refuse_note(changed), (place, other)


def test_checkpoints_that_are_none() -> None:
    text, note = text_of(300), note_of(300)
    other = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
    wrong = [
        f"{text}\n{other.sign(text)}",
        f"{text}\n{KEY.sign(text_of(301))}",
        signed(text, KEY.sign(text_of(301))),
        f"{text_of(301)}\n{KEY.sign(text)}",
        f"{text}\n",
        text,
        KEY.sign(text),
        note.removesuffix("\n"),
        note + "more\n",
        note.replace("\n", "\r\n"),
        "\ufeff" + note,
        note.replace("\n\n", "\n"),
        "",
    ]
    for number, changed in enumerate(wrong):
        assert refuses(judge.checkpoint_verify, changed, [KEY.vkey]), number
        assert we_refuse_note(changed), number
    assert refuses(judge.checkpoint_verify, note, [])
    assert refuses(judge.checkpoint_verify, note, [other.vkey])
    assert we_refuse_note(note, other)


def test_lines_of_others_are_passed_over() -> None:
    text = text_of(300)
    stranger = SigningKey.generate("stranger.example")
    note = signed(text, cosignature(text), stranger.sign("something else\n"))
    assert judge.checkpoint_verify(note, [KEY.vkey]).size == 300
    assert judge.verify_signed_note(note, [KEY.vkey]) == 1
    assert ours.open_note(note, [KEY.trusted]) == (text, KEY.trusted)
    assert refuses(judge.checkpoint_verify, note, [stranger.vkey])
    assert we_refuse_note(note, stranger)


@pytest.mark.parametrize("size", SIZES)
def test_inclusion(size: int) -> None:
    chance = random.Random(size)
    note, root = note_of(size), TREE.root(size)
    for index in {0, size - 1, chance.randrange(size), chance.randrange(size)}:
        leaf, proof = TREE.leaves[index], TREE.inclusion(index, size)
        judge.verify_inclusion(index, size, leaf, proof, root)
        judge.checkpoint_verify_inclusion(note, [KEY.vkey], index, leaf, proof)
        assert ours.verify_inclusion(leaf, index, size, proof, root)

        wrong = [(index, size, leaf, bad, root) for bad in near(proof, chance)]
        wrong += [(index, size, flip, proof, root) for flip in bit_flips(leaf, [chance.randrange(32)])]
        wrong += [(index, size, leaf, proof, flip) for flip in bit_flips(root, [chance.randrange(32)])]
        wrong += [
            (n, size, leaf, proof, root)
            for n in {index - 1, index + 1, size, 2 * size}
            if n >= 0 and n != index
        ]
        # of a size that gives the same path only the signed note tells
        wrong += [
            (index, n, leaf, proof, root)
            for n in {size - 1, size + 1, 2 * size, index, 0}
            if is_told(index, size, n)
        ]
        for number, (i, n, hashed, path, top) in enumerate(wrong):
            assert refuses(judge.verify_inclusion, i, n, hashed, path, top), (index, number)
            assert not ours.verify_inclusion(hashed, i, n, path, top), (index, number)
        for bad in near(proof, chance):
            assert refuses(judge.checkpoint_verify_inclusion, note, [KEY.vkey], index, leaf, bad)


@pytest.mark.parametrize("size", SIZES)
def test_what_our_tree_keeps_proves_the_next_leaf(size: int) -> None:
    tree = ours.MerkleTree()
    tree.add(*TREE.leaves[: size - 1])
    proof = list(tree.subtrees)
    tree.add(TREE.leaves[size - 1])
    judge.verify_inclusion(size - 1, size, TREE.leaves[size - 1], proof, tree.root())
    assert tree.root() == judge.checkpoint_verify(note_of(size), [KEY.vkey]).root
    if proof:
        assert refuses(judge.verify_inclusion, size - 1, size, TREE.leaves[size - 1], proof[1:], tree.root())


@pytest.mark.parametrize("size", SIZES)
def test_consistency(size: int) -> None:
    """Of an empty log there is nothing to prove: the judge refuses that, and we say yes to the one root it can have."""
    chance = random.Random(-size)
    for old in {1, size, chance.randrange(1, size + 1), chance.randrange(1, size + 1)}:
        roots, proof = (TREE.root(old), TREE.root(size)), TREE.consistency(old, size)
        judge.verify_consistency(old, size, proof, *roots)
        judge.checkpoint_verify_consistency(note_of(old), note_of(size), [KEY.vkey], proof)
        assert ours.verify_consistency(old, size, *roots, proof)

        wrong = [(old, size, bad, *roots) for bad in near(proof, chance)]
        wrong += [(old, size, proof, flip, roots[1]) for flip in bit_flips(roots[0], [chance.randrange(32)])]
        wrong += [(old, size, proof, roots[0], flip) for flip in bit_flips(roots[1], [chance.randrange(32)])]
        if old != size:
            wrong += [(size, old, proof, roots[1], roots[0]), (old, size, proof, roots[1], roots[0])]
            wrong += [(size, size, proof, *roots), (old, old, proof, *roots)]
        for number, (first, second, path, before, after) in enumerate(wrong):
            assert refuses(judge.verify_consistency, first, second, path, before, after), (old, number)
            assert not ours.verify_consistency(first, second, before, after, path), (old, number)


@pytest.mark.parametrize("size", [2, 3, 256, 1025])
def test_a_fork_has_no_proof(size: int) -> None:
    """The last row that was signed is another one now, and everything after it was computed again."""
    fork = Tree([*ENTRIES[: size - 1], bytes(32), *ENTRIES[size : size + 40]])
    grown = size + 40
    judge.checkpoint_verify_consistency(
        note_of(size, fork), note_of(grown, fork), [KEY.vkey], fork.consistency(size, grown)
    )
    for proof in (fork.consistency(size, grown), TREE.consistency(size, grown), []):
        pair = (note_of(size), note_of(grown, fork))
        assert refuses(judge.checkpoint_verify_consistency, *pair, [KEY.vkey], proof)
        assert not ours.verify_consistency(size, grown, TREE.root(size), fork.root(grown), proof)


def test_a_file_of_a_proof() -> None:
    """Changed in one place, it is refused: the row, the hash before it, the run, the paths, the note."""
    book = Book.of(11)
    for n in (1, 6, 11):
        told = judge_proof(book.proof(n), SIGNER.vkey)
        assert (told["table"], told["id"], told["row_data"]) == ("signals", n, book.rows[n - 1])
    assert "run" not in judge_proof(book.run(), SIGNER.vkey)

    def changed(extra: dict[str, Any]) -> str:
        return tlog_proof(extra, book.runs(), book.note())

    extra, another = book.extra(6), book.extra(7)
    wrong = [changed({**extra, name: another[name]}) for name in ("id", "previous_hash", "row_data", "proof")]
    run = {"previous_hash": extra["run"]["previous_hash"], "row_data": Book.of(12).runs().rows[2]}
    wrong.append(changed({**extra, "run": run}))
    wrong.append(book.proof(6).replace(SIGNER.sign(book.text()), OTHER.sign(book.text(signer=OTHER))))
    for number, file in enumerate(wrong):
        assert refuses(judge_proof, file, SIGNER.vkey), number
        with pytest.raises(ValueError):
            ours.verify_proof(file, [ours.parse_vkey(SIGNER.vkey)])


def test_a_directory_of_checkpoints(signed_book: SignedBook, tmp_path: Path) -> None:
    """As the commands write it: each run, what lies between two of them, and rows of the tables that they name."""
    vkey = signed_book.vkey
    notes = [(run / "checkpoint.note").read_text(encoding="utf-8") for run in signed_book.runs]
    sizes = [judge.checkpoint_verify(note, [vkey]).size for note in notes]
    assert [f"{size:09d}" for size in sizes] == [run.name for run in signed_book.runs]
    assert len(sizes) == 3
    for run, note in zip(signed_book.runs, notes, strict=True):
        file = (run / "run.tlog-proof").read_text(encoding="utf-8")
        assert file.endswith(f"\n\n{note}")
        judge_proof(file, vkey)
    with signed_book.connect() as conn:
        for old in range(3):
            for new in range(old, 3):
                proof = one(
                    conn, "select consistency_proof('checkpoint_runs', %s, %s)", [sizes[old], sizes[new]]
                )
                judge.checkpoint_verify_consistency(notes[old], notes[new], [vkey], proof)
                if old != new:
                    assert refuses(
                        judge.checkpoint_verify_consistency, notes[old], notes[new], [vkey], proof[1:]
                    )
    for table, n in (("signals", 1), ("signals", 9), ("order_events", 4)):
        checkpoints = ("--checkpoints", signed_book.checkpoints, "--trust", vkey)
        written = tmp_path / f"{table}-{n}.tlog-proof"
        run_command("--dsn", signed_book.dsn, "prove", table, n, *checkpoints, "-o", written)
        told = judge_proof(written.read_text(encoding="utf-8"), vkey)
        assert (told["table"], told["id"]) == (table, n)


def near(proof: list[bytes], chance: random.Random) -> list[list[bytes]]:
    """Lists of hashes that are nearly the proof: longer, shorter, swapped, with a bit turned."""
    more = [[*proof, bytes(32)], [bytes(32), *proof], [*proof, *proof[-1:], *([] if proof else [bytes(32)])]]
    if not proof:
        return more
    place = chance.randrange(len(proof))
    cut = [
        proof[:-1],
        proof[1:],
        proof[::-1],
        [*proof[:-1], proof[-1][:31]],
        [*proof[:-1], proof[-1] + b"\0"],
        [],
    ]
    turned = [
        [*proof[:place], flip, *proof[place + 1 :]]
        for flip in bit_flips(proof[place], [chance.randrange(32)])
    ]
    return [bad for bad in (*more, *cut, *turned) if bad != proof]


def is_told(index: int, size: int, other: int) -> bool:
    """Whether a proof of the index in the tree of this size shows that it is not one in a tree of the other size."""
    return other != size and (other <= index or sides(index, other) != sides(index, size))

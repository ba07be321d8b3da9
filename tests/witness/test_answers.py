"""What a witness answers: the statuses of c2sp.org/tlog-witness, one by one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.witness.by_hand import LOG, OTHER, WITNESS, Log, Signer, b64, request
from tests.witness.running import Answered, Running, in_process

PLAIN = "text/plain; charset=utf-8"
OTHER_LOG = Log("other.example/log")
EMPTY = b64(bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Running]:
    with in_process(tmp_path, (LOG, OTHER_LOG)) as running:
        yield running


def holds(answer: Answered, text: str, signer: Signer = WITNESS) -> int:
    """The time of the one cosignature in an answer, which must be the witness's for this text."""
    assert (answer.status, answer.kind) == (200, PLAIN)
    mark, name, encoded = answer.body.removesuffix("\n").split(" ")
    blob = base64.b64decode(encoded)
    seconds = int.from_bytes(blob[4:12], "big")
    signer.private.public_key().verify(blob[12:], f"cosignature/v1\ntime {seconds}\n{text}".encode())
    assert (mark, name, blob[:4], answer.body[-1]) == ("—", signer.name, signer.key_id, "\n")
    return seconds


def test_the_first_checkpoint_and_those_that_follow_are_cosigned(witness: Running) -> None:
    old = 0
    for size in (1, 2, 3, 7, 8, 9, 64, 100, 200):
        seconds = holds(witness.post(LOG.request(old, size)), LOG.text(size))
        assert abs(seconds - time.time()) < 60
        assert witness.size() == size
        old = size


def test_the_same_checkpoint_is_cosigned_again(witness: Running) -> None:
    for old in (0, 42, 42):
        holds(witness.post(LOG.request(old, 42)), LOG.text(42))


def test_logs_do_not_mind_each_other(witness: Running) -> None:
    holds(witness.post(LOG.request(0, 42)), LOG.text(42))
    holds(witness.post(OTHER_LOG.request(0, 7)), OTHER_LOG.text(7))
    holds(witness.post(LOG.request(42, 43)), LOG.text(43))
    assert (witness.size(LOG), witness.size(OTHER_LOG)) == (43, 7)


def test_extension_lines_are_cosigned_with_the_rest(witness: Running) -> None:
    note = LOG.note(5, "one more line", "and another")
    holds(witness.post(request(0, [], note)), LOG.text(5, "one more line", "and another"))


def test_signatures_of_others_are_ignored(witness: Running) -> None:
    strangers = [Signer(f"s{n}.example").line("something else\n") for n in range(15)]
    note = f"{LOG.text(5)}\n{''.join(strangers)}{LOG.key.line(LOG.text(5))}{OTHER.line(LOG.text(5))}"
    holds(witness.post(request(0, [], note)), LOG.text(5))
    kept = witness.remembered()[LOG.name]
    assert [line.split(" ")[1] for line in kept.split("\n\n")[1].splitlines()] == [LOG.name, WITNESS.name]


def test_404_for_a_log_that_is_not_known(witness: Running) -> None:
    stranger = Log("stranger.example/log")
    assert witness.post(stranger.request(0, 5)).status == 404


def test_404_for_another_path(witness: Running) -> None:
    for path in ("/", "/add-checkpoint/", "/x/add-checkpoint", "/add-checkpoint?x", "/sign-subtree"):
        assert witness.post(LOG.request(0, 5), path).status == 404
    assert witness.size() == 0


@pytest.mark.parametrize(
    "line",
    [
        Signer("stranger.example").line(LOG.text(5)),
        Signer(LOG.name, 1, bytes(32)).line(LOG.text(5)),
        Signer(LOG.name, 4).line(LOG.text(5)),
        LOG.key.line(LOG.text(6)),
        LOG.key.line(LOG.text(5)) + LOG.key.line(LOG.text(6)),
    ],
    ids=[
        "a stranger's",
        "another key of that name",
        "another kind",
        "of another text",
        "one that holds, one not",
    ],
)
def test_403_without_a_signature_of_the_log(witness: Running, line: str) -> None:
    assert witness.post(request(0, [], f"{LOG.text(5)}\n{line}")).status == 403
    assert witness.size() == 0


def test_403_for_the_signature_of_another_log_that_is_known(witness: Running) -> None:
    note = f"{LOG.text(5)}\n{OTHER_LOG.key.line(LOG.text(5))}"
    assert witness.post(request(0, [], note)).status == 403


def test_400_if_the_old_size_is_larger(witness: Running) -> None:
    witness.post(LOG.request(0, 42))
    for old in (6, 42):
        assert witness.post(request(old, [], LOG.note(5))).status == 400


def test_409_names_the_size_that_was_cosigned_last(witness: Running) -> None:
    assert witness.post(LOG.request(3, 5)) == Answered(409, "text/x.tlog.size", "0\n")
    witness.post(LOG.request(0, 42))
    for old in (0, 1, 41, 43, 100):
        assert witness.post(LOG.request(old, 100)) == Answered(409, "text/x.tlog.size", "42\n")
    assert witness.size() == 42


def test_409_for_a_rollback(witness: Running) -> None:
    witness.post(LOG.request(0, 42))
    assert witness.post(LOG.request(0, 41)) == Answered(409, "text/x.tlog.size", "42\n")
    assert witness.post(LOG.request(41, 41)) == Answered(409, "text/x.tlog.size", "42\n")


FORK = Log(fork_at=30)


def test_a_fork_of_the_same_size_is_refused_and_kept(witness: Running) -> None:
    witness.post(LOG.request(0, 42))
    note = FORK.note(42)
    answer = witness.post(request(42, [], note))
    assert (answer.status, answer.kind) == (422, PLAIN)
    kept = json.loads(witness.state.read_text(encoding="utf-8"))["forks"]
    assert kept == {LOG.name: note}, "with the cosigned note it proves that the log forked"
    assert witness.remembered()[LOG.name].startswith(LOG.text(42))
    assert "FORK" in witness.told[-1]


@pytest.mark.parametrize("size", [43, 64, 200])
def test_a_fork_that_went_on_is_refused(witness: Running, size: int) -> None:
    """Whatever proof the forger brings: that of the fork, that of the log, none, or what fits one of the roots."""
    witness.post(LOG.request(0, 42))
    for proof in (FORK.proof(42, size), LOG.proof(42, size), [], [FORK.tree.root(42)], [LOG.tree.root(42)]):
        assert witness.post(request(42, proof, FORK.note(size))).status == 422
    assert witness.size() == 42
    holds(witness.post(LOG.request(42, 43)), LOG.text(43))


def test_422_for_every_proof_that_is_not_the_one(witness: Running) -> None:
    witness.post(LOG.request(0, 42))
    proof = LOG.proof(42, 100)
    wrong = [proof[:-1], [*proof, proof[-1]], proof[::-1], [*proof[:-1], bytes(32)], [], [bytes(32)] * 63]
    for hashes in wrong:
        assert witness.post(request(42, hashes, LOG.note(100))).status == 422
    assert witness.size() == 42


def test_422_for_a_proof_where_none_belongs(witness: Running) -> None:
    assert witness.post(request(0, [bytes(32)], LOG.note(42))).status == 422
    witness.post(LOG.request(0, 42))
    assert witness.post(request(42, [bytes(32)], LOG.note(42))).status == 422


def test_an_empty_log_has_the_root_of_nothing(witness: Running) -> None:
    def note(root: str) -> str:
        text = f"{LOG.name}\n0\n{root}\n"
        return f"{text}\n{LOG.key.line(text)}"

    assert witness.post(request(0, [], note(b64(bytes(32))))).status == 422
    assert witness.post(request(0, [], note(EMPTY))).status == 200
    assert witness.post(request(0, [], note(b64(bytes(32))))).status == 422
    assert witness.post(LOG.request(0, 7)).status == 200
    assert witness.post(request(0, [], note(EMPTY))) == Answered(409, "text/x.tlog.size", "7\n")


def signed(text: str) -> str:
    return f"{text}\n{LOG.key.line(text)}"


ROOT = b64(LOG.tree.root(5))
NOTE = LOG.note(5)
MALFORMED = {
    "nothing": b"",
    "an empty line": b"\n",
    "no note": b"old 0\n\n",
    "no empty line": f"old 0\n{NOTE}".encode(),
    "no old size": f"\n{NOTE}".encode(),
    "the note alone": NOTE.encode(),
    "another word": f"new 0\n\n{NOTE}".encode(),
    "two blanks": f"old  0\n\n{NOTE}".encode(),
    "no size": f"old \n\n{NOTE}".encode(),
    "a size with zeros": f"old 00\n\n{NOTE}".encode(),
    "a size with a sign": f"old +0\n\n{NOTE}".encode(),
    "a negative size": f"old -1\n\n{NOTE}".encode(),
    "a size of other digits": f"old \u0660\n\n{NOTE}".encode(),
    "a size of 64 bits": f"old {1 << 63}\n\n{NOTE}".encode(),
    "a size of ten thousand digits": f"old {'1' * 10_000}\n\n{NOTE}".encode(),
    "CRLF": f"old 0\n\n{NOTE}".replace("\n", "\r\n").encode(),
    "a hash that is no base64": f"old 1\n!\n\n{NOTE}".encode(),
    "a hash that is too short": f"old 1\n{b64(bytes(31))}\n\n{NOTE}".encode(),
    "a hash that is too long": f"old 1\n{b64(bytes(33))}\n\n{NOTE}".encode(),
    "a hash with other last bits": f"old 1\n{'A' * 42}B=\n\n{NOTE}".encode(),
    "64 hashes": request(1, [bytes(32)] * 64, NOTE),
    "not UTF-8": b"old 0\n\n\xff" + NOTE.encode(),
    "a note without its end": request(0, [], NOTE[:-1]),
    "a note without signatures": request(0, [], LOG.text(5)),
    "a note with a tab": request(0, [], signed(f"{LOG.text(5)}\tx\n")),
    "a signature line that is none": request(0, [], f"{NOTE}- x y\n"),
    "101 signatures": request(0, [], NOTE + Signer("x.example").line("x") * 100),
    "signed, but no checkpoint": request(0, [], signed(f"{LOG.name}\n5\n")),
    "signed, with an empty line": request(0, [], signed(f"{LOG.text(5)}\nx\n")),
    "signed, with a root that is too short": request(0, [], signed(f"{LOG.name}\n5\n{b64(bytes(31))}\n")),
    "signed, with a size with zeros": request(0, [], signed(f"{LOG.name}\n05\n{ROOT}\n")),
    "signed, with a size of 64 bits": request(0, [], signed(f"{LOG.name}\n{1 << 63}\n{ROOT}\n")),
    "signed, with a negative size": request(0, [], signed(f"{LOG.name}\n-5\n{ROOT}\n")),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_400_for_what_is_malformed(witness: Running, name: str) -> None:
    answer = witness.post(MALFORMED[name])
    assert answer.status == 400, answer
    assert answer.body.count("\n") == 1
    assert witness.size() == 0
    holds(witness.post(LOG.request(0, 5)), LOG.text(5))


def test_every_answer_is_told_in_one_line(witness: Running) -> None:
    name = "x\x1b[2J\u202ey"
    witness.post(f"old 0\n\n{name}\n5\n{ROOT}\n\n— x AAAAAAAA\n".encode())
    witness.post(LOG.request(0, 5))
    assert witness.told == [
        "127.0.0.1 404 x\\u001b[2J\\u202ey: this witness does not know the log",
        f"127.0.0.1 200 {LOG.name}: cosigned at size 5",
    ]

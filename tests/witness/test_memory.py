"""A witness remembers before it answers, whatever happens to it; without its memory it does not cosign."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from alpha_db.errors import NotThere
from alpha_db.evidence.witness.state import StateError, create, opened
from tests.witness.by_hand import LOG, OTHER, Log, request
from tests.witness.running import Running, command, in_process, kill, own_key, until

ROWS = 6000
HONEST = Log(rows=ROWS)
FORK = Log(rows=ROWS, fork_at=30)
KILLS = 8


class Client(Thread):
    """Keeps asking for the next checkpoints of its log, honest or forked, until the witness is gone."""

    def __init__(
        self, witness: Running, log: Log, seed: int, cosigned: list[tuple[int, str]], over: Event
    ) -> None:
        super().__init__()
        self.witness, self.log, self.random = witness, log, random.Random(seed)
        self.cosigned, self.over = cosigned, over

    def run(self) -> None:
        old = 0
        while not self.over.is_set():
            size = min(old + self.random.randrange(3), ROWS)
            try:
                answer = self.witness.post(
                    request(old, self.log.proof(old, size), self.log.note(max(size, 1)))
                )
            except (OSError, HTTPException):
                continue  # it was killed: perhaps before, perhaps after it remembered
            if answer.status == 200:
                self.cosigned.append((max(size, 1), self.log.text(max(size, 1))))
                old = max(size, 1)
            elif answer.kind == "text/x.tlog.size":
                old = int(answer.body)


def test_a_witness_that_is_killed_has_remembered_whatever_it_cosigned(tmp_path: Path) -> None:
    """Two honest logs and two forged ones race; the witness is killed again and again in the middle of it."""
    cosigned: list[tuple[int, str]] = []
    chance = random.Random(15)
    largest = 0
    for round_ in range(KILLS):
        with command(tmp_path) as witness:
            over, before = Event(), len(cosigned)
            logs = [HONEST, FORK, HONEST, FORK]
            clients = [Client(witness, log, 100 * round_ + n, cosigned, over) for n, log in enumerate(logs)]
            for client in clients:
                client.start()
            until(partial(_has, cosigned, before + chance.randrange(1, 60)), "some were cosigned")
            kill(witness)
            over.set()
            for client in clients:
                client.join()
            size = witness.size()
            assert size >= max(size for size, _ in cosigned), "given out, and not remembered"
            assert size >= largest, "the memory went back"
            largest = size
    texts = dict(cosigned)
    assert [size for size, text in cosigned if texts[size] != text] == [], "two roots of one size"
    kept = (tmp_path / "state.json").read_text(encoding="utf-8")
    winner = HONEST if json.loads(kept)["logs"][HONEST.name].startswith(HONEST.text(largest)) else FORK
    assert [size for size, text in cosigned if text != winner.text(size)] == [], "both branches were cosigned"
    assert largest > FORK.fork_at


def _has(cosigned: list[tuple[int, str]], count: int) -> bool:
    return len(cosigned) >= count


def test_what_a_killed_witness_left_is_cleaned_up(tmp_path: Path) -> None:
    with in_process(tmp_path) as witness:
        witness.post(LOG.request(0, 5))
    (tmp_path / ".state.json.0badcafe.part").write_text('{"format": "alpha-db/wit')
    with in_process(tmp_path) as witness:
        assert witness.post(LOG.request(5, 6)).status == 200
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state.json", "state.json.lock"]


def test_it_goes_on_from_where_it_was(tmp_path: Path) -> None:
    with in_process(tmp_path) as witness:
        assert witness.post(LOG.request(0, 42)).status == 200
    with in_process(tmp_path) as witness:
        assert witness.post(FORK.request(42, 43)).status == 422
        assert witness.post(LOG.request(0, 41)).body == "42\n"
        assert witness.post(LOG.request(42, 43)).status == 200


def test_one_process_has_the_memory(tmp_path: Path) -> None:
    with in_process(tmp_path):
        link = tmp_path / "elsewhere"
        link.symlink_to(tmp_path / "state.json")
        for path in (tmp_path / "state.json", link):
            with pytest.raises(StateError, match="another witness is running"), opened(path, own_key()):
                pass
    with opened(tmp_path / "state.json", own_key()):
        pass


def test_if_the_memory_cannot_be_written_nothing_is_cosigned(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    with in_process(folder) as witness:
        assert witness.post(LOG.request(0, 5)).status == 200
        folder.rename(tmp_path / "gone")
        answer = witness.post(LOG.request(5, 6))
        assert (answer.status, "—" in answer.body) == (500, False)
        assert "No such file" in witness.told[-1]
        (tmp_path / "gone").rename(folder)
        assert witness.post(LOG.request(5, 6)).status == 200


def test_a_fork_that_cannot_be_kept_is_told_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    with in_process(folder) as witness:
        assert witness.post(HONEST.request(0, 50)).status == 200
        folder.rename(tmp_path / "gone")
        fork = request(50, [], FORK.note(50))
        assert witness.post(fork).status == 422
        assert "FORK" in witness.told[-1]
        assert "it could not be kept" in witness.told[-1]
        assert "No such file" in witness.told[-1]
        (tmp_path / "gone").rename(folder)
        assert json.loads(witness.state.read_text(encoding="utf-8"))["forks"] == {}
        assert witness.post(fork).status == 422
        assert json.loads(witness.state.read_text(encoding="utf-8"))["forks"] == {LOG.name: FORK.note(50)}


@pytest.mark.parametrize("failing", [1, 2], ids=["the file", "the directory"])
def test_what_may_not_be_on_disk_is_not_cosigned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    with in_process(tmp_path) as witness:
        assert witness.post(LOG.request(0, 5)).status == 200
        calls = 0

        def fsync(descriptor: int) -> None:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(5, "Input/output error")
            os.fdatasync(descriptor)

        monkeypatch.setattr("alpha_db.security.files.os.fsync", fsync)
        assert witness.post(LOG.request(5, 6)).status == 500
        monkeypatch.undo()
        assert "Input/output error" in witness.told[-1]
        # Nobody knows what is on disk if the directory is not: only a new start, which syncs it, may go on.
        assert witness.post(LOG.request(5, 7)).status == (200 if failing == 1 else 500)
    with in_process(tmp_path) as witness:
        assert witness.post(LOG.request(1, 8)).body == ("7\n" if failing == 1 else "6\n")


@pytest.mark.parametrize("change", ["an older copy was put back", "it was edited"])
def test_if_somebody_else_changes_the_memory_nothing_is_cosigned(tmp_path: Path, change: str) -> None:
    with in_process(tmp_path) as witness:
        older = witness.state.read_bytes()
        assert witness.post(LOG.request(0, 5)).status == 200
        if change == "it was edited":
            witness.state.write_text(witness.state.read_text(encoding="utf-8") + " ", encoding="utf-8")
        else:
            copy = tmp_path / "copy"
            copy.write_bytes(older)
            copy.replace(witness.state)
        left = witness.state.read_bytes()
        assert witness.post(LOG.request(5, 6)).status == 500
        assert witness.state.read_bytes() == left
        assert "changed by somebody else" in witness.told[-1]


def test_a_memory_that_is_gone_is_not_begun_again(tmp_path: Path) -> None:
    with pytest.raises(NotThere) as refused, opened(tmp_path / "state.json", own_key()):
        pass
    assert "alpha-db witness init" in str(refused.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_a_memory_is_never_overwritten_by_a_new_one(tmp_path: Path) -> None:
    create(tmp_path / "state.json")
    with pytest.raises(StateError, match="File exists"):
        create(tmp_path / "state.json")


def other_key(document: dict[str, Any]) -> None:
    document["logs"][LOG.name] = f"{LOG.note(5)}{OTHER.line(LOG.text(5))}"


def other_root(document: dict[str, Any]) -> None:
    note = document["logs"][LOG.name]
    document["logs"][LOG.name] = note.replace(base64.b64encode(LOG.tree.root(5)).decode(), "A" * 43 + "=")


def other_origin(document: dict[str, Any]) -> None:
    document["logs"]["other"] = document["logs"].pop(LOG.name)


def no_cosignature(document: dict[str, Any]) -> None:
    document["logs"][LOG.name] = LOG.note(5)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "cosigned by another key": other_key,
    "another root": other_root,
    "under another origin": other_origin,
    "not cosigned": no_cosignature,
    "another format": lambda document: document.update(format={"alpha-db/witness/v2": ""}),
    "no text": lambda document: document["logs"].update({LOG.name: 5}),
    "a member is missing": lambda document: document.pop("forks"),
    "logs is a list": lambda document: document.update(logs=[]),
}
CONTENTS = {
    "empty": b"",
    "cut": b'{"format": "alpha-db/witness/v1", "logs": {',
    "no JSON": b"x",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "not UTF-8": b"\xff",
    "NaN": b"NaN",
}


@pytest.mark.parametrize("damage", [*DAMAGES, *CONTENTS])
def test_a_damaged_memory_is_not_used(tmp_path: Path, damage: str) -> None:
    with in_process(tmp_path) as witness:
        witness.post(LOG.request(0, 5))
    if damage in CONTENTS:
        witness.state.write_bytes(CONTENTS[damage])
    else:
        document = json.loads(witness.state.read_text(encoding="utf-8"))
        DAMAGES[damage](document)
        witness.state.write_text(json.dumps(document), encoding="utf-8")
    left = witness.state.read_bytes()
    with (
        pytest.raises(StateError, match="is not the state of this witness"),
        opened(witness.state, own_key()),
    ):
        pass
    assert witness.state.read_bytes() == left


def test_a_fifo_is_no_memory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state.json")
    with pytest.raises(StateError), opened(tmp_path / "state.json", own_key()):
        pass
    with suppress(FileNotFoundError):
        (tmp_path / "state.json.lock").unlink()

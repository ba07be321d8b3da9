"""Whether a witness cosigns a checkpoint: the checks of c2sp.org/tlog-witness, in its order, and the answers."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from threading import Lock
from typing import NamedTuple

from alpha_db.evidence.offline_check import (
    Key,
    MerkleTree,
    Refused,
    Unreadable,
    open_note,
    shown,
    verify_consistency,
)
from alpha_db.evidence.witness.keys import WitnessKey
from alpha_db.evidence.witness.request import SIZE_TYPE, Head, parse_head, parse_request
from alpha_db.evidence.witness.state import State, StateError
from alpha_db.security.ed25519 import verify

_EMPTY = MerkleTree().root()


class Answer(NamedTuple):
    """What is answered, and what is said of it on the terminal."""

    status: int
    body: str
    told: str
    content_type: str = "text/plain; charset=utf-8"


class Judge:
    """Cosigns what follows from what it cosigned before, and remembers it first. Safe for threads."""

    def __init__(self, key: WitnessKey, logs: Iterable[Key], state: State) -> None:
        self._key, self._state, self._lock, self._is_over = key, state, Lock(), False
        self._logs: dict[str, list[Key]] = {}  #: by origin, which is the name of a log's key
        for log in logs:
            self._logs.setdefault(log.name, []).append(log)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Return the answer to a request, once the cosignature in it is remembered. Raises StateError."""
        try:
            request = parse_request(body)
            origin = request.note.partition("\n")[0]
            if origin not in self._logs:
                return _refuse(404, "this witness does not know the log", origin)
            text, _ = open_note(request.note, self._logs[origin], verify)
            head = parse_head(text)
        except Unreadable as problem:
            return _refuse(400, str(problem))
        except Refused as problem:
            return _refuse(403, str(problem), origin)
        if request.old > head.size:
            return _refuse(400, "the old size is larger than that of the checkpoint", origin)
        with self._lock:
            if self._is_over:
                raise StateError("the witness ends")
            return self._cosign(head, request.old, request.proof, text, request.note)

    def end(self) -> None:
        """Cosign nothing from now on: another process may have the state next."""
        with self._lock:
            self._is_over = True

    def _cosign(self, head: Head, old: int, proof: list[bytes], text: str, note: str) -> Answer:
        origin, latest = head.origin, self._state.latest(head.origin) or Head(head.origin, 0, _EMPTY)
        if old != latest.size:
            told = f"{shown(origin)}: asked from size {old}, cosigned last at {latest.size}"
            return Answer(409, f"{latest.size}\n", told, SIZE_TYPE)
        if 0 < head.size == latest.size and head.root != latest.root:
            # as the witness in Go; 409 without a size, which older texts of the specification want, is no conflict
            answer = _refuse(422, f"FORK: of size {head.size} another root was cosigned", origin)
            try:
                if not self._state.has_fork(origin):
                    self._state.keep_fork(origin, note)
            except StateError as problem:  # a full disk must not hide it
                return answer._replace(told=f"{answer.told}; it could not be kept: {problem}")
            return answer
        if not verify_consistency(old, head.size, latest.root, head.root, proof):
            return _refuse(
                422, f"no proof that size {head.size} follows from the size {old} cosigned last", origin
            )
        line = self._key.sign(text)
        self._state.remember(head, f"{text}\n{self._of_log(note, origin)}{line}")
        return Answer(200, line, f"{shown(origin)}: cosigned at size {head.size}")

    def _of_log(self, note: str, origin: str) -> str:
        """The signature lines of the log: those of others were not verified."""
        ids = {(key.name, key.key_id) for key in self._logs[origin]}
        lines = [line.split(" ") for line in note[note.rindex("\n\n") + 2 : -1].split("\n")]
        own = [line for line in lines if (line[1], b64decode(line[2])[:4]) in ids]
        return "".join(f"{' '.join(line)}\n" for line in own)


def _refuse(status: int, reason: str, origin: str = "") -> Answer:
    return Answer(status, f"{reason}\n", f"{shown(origin)}: {reason}" if origin else reason)

"""Checkpoints as text: what is signed, and what a run of them says. Source: c2sp.org/tlog-checkpoint.

alpha-db/<installation id>/<table>
<size>
<base64 of the root>
installation <uuid>
guards <sha-256>
server <system identifier> timeline <n> lsn <X/Y>
time <2026-01-25T12:00:00.123456Z>
logs <count> <sha-256 of the lines "origin size root" of every log of the run>
<empty line>
— <key name> <base64 of key id and signature>
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from alpha_db.errors import shown
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.offline_check import digest_of_run

_SERVER = re.compile(r"(\d+) timeline (\d+) lsn ([0-9A-F]+/[0-9A-F]+)", re.ASCII)
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_NAME = "%Y%m%dT%H%M%S.%fZ"
_GLANCE = re.compile(r"[^\n]+\n(\d+)\n[^\n]+\n(?:[^\n]+\n)*?guards (\S+)\n(?:[^\n]+\n)*\n— (\S+) ")
_FILE_NAME = re.compile(r"[^./\x00][^/\x00]*")


@dataclass(frozen=True)
class Position:
    """Where a server is: which cluster, on which timeline, how far."""

    system_identifier: str
    timeline: int
    lsn: str

    def __str__(self) -> str:
        return f"{self.system_identifier} timeline {self.timeline} lsn {self.lsn}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Return the position that str() printed. Raises ValueError."""
        found = _SERVER.fullmatch(text)
        if not found:
            raise ValueError(f"not a server's position: {shown(text)}")
        return cls(found[1], int(found[2]), found[3])

    def is_before(self, other: Position) -> bool:
        """Return whether the same server was here earlier than there."""
        is_same = self.system_identifier == other.system_identifier
        return is_same and (self.timeline, self.offset) < (other.timeline, other.offset)

    @property
    def offset(self) -> int:
        """The WAL position as a number."""
        return offset_of(self.lsn)


@dataclass(frozen=True)
class Facts:
    """What the database says of one log, all logs of a run in one snapshot."""

    origin: str
    table: str
    size: int
    root: bytes
    installation: str
    guards: str
    server: Position
    time: datetime


def offset_of(lsn: str) -> int:
    """Return a WAL position, printed as X/Y, as a number."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def run_name(time: datetime) -> str:
    """Return the name of the directory of a run that was made at that time."""
    return time.astimezone(UTC).strftime(_NAME)


def signed_time(time: datetime) -> str:
    """Return a time as a checkpoint prints it."""
    return time.astimezone(UTC).strftime(_TIME)


class Glance(NamedTuple):
    """What a note says of itself, unverified."""

    size: int
    guards: str
    signer: str


def glance(note: str) -> Glance | None:
    """Return what a note says, without believing it; None for what is no checkpoint."""
    found = _GLANCE.match(note) if note.endswith("\n") else None
    return Glance(int(found[1]), found[2], found[3]) if found else None


def server_of(note: str) -> Position | None:
    """Return the position that a note names, without believing it; None if it names none."""
    found = re.search(r"^server (.+)$", note, re.MULTILINE)
    try:
        return Position.parse(found[1]) if found else None
    except ValueError:
        return None


def compose(run: Sequence[Facts], key: SigningKey) -> dict[str, str]:
    """Return the signed notes of a run, by table, in the run's order. ValueError for an unfit table name."""
    digest = digest_of_run((facts.origin, facts.size, facts.root) for facts in run)
    notes = {}
    for facts in run:
        if not _FILE_NAME.fullmatch(facts.table) or "\n" in facts.origin:
            raise ValueError(f"a log cannot be called {shown(facts.table)}")
        text = (
            f"{facts.origin}\n{facts.size}\n{base64.b64encode(facts.root).decode()}\n"
            f"installation {facts.installation}\n"
            f"guards {facts.guards}\n"
            f"server {facts.server}\n"
            f"time {signed_time(facts.time)}\n"
            f"logs {digest}\n"
        )
        notes[facts.table] = f"{text}\n{key.sign(text)}"
    return notes

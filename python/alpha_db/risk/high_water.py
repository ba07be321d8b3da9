"""The highest verified version, kept on disk: an older state that is restored is known by it.

A restored older database is consistent in itself and every signature in it is good; only who remembers more
can tell.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from alpha_db.errors import AlphaDbError, FileUnreadable, NotThere
from alpha_db.security.config_integrity import Verified
from alpha_db.security.files import whole_file
from alpha_db.security.reading import read_json, reason_of
from alpha_db.security.replay import Replay, tampered

_NOBODY = sha256(b"").hexdigest()


class HighWaterError(AlphaDbError):
    """The file of the highest version cannot be read or written, or does not hold one."""


@dataclass(frozen=True)
class Mark:
    """What was verified last: installation, agents of its bootstrap, version with its hash, and the lockdown.

    locked_at counts the lockdown releases that there were while the lockdown was engaged; None: it is not.
    """

    origin: str
    agents: str
    version: int
    state_hash: str
    locked_at: int | None = None


class HighWater:
    """A mark in memory and, if a path is given, in a file."""

    def __init__(self, path: Path | str | None = None) -> None:
        self._path = Path(path) if path is not None else None
        self._mark: Mark | None = None
        self._loaded = self._path is None

    def accept(self, verified: Verified) -> None:
        """Compare what was verified with the mark, and raise the mark.

        Raises RiskTampered (RSK-007) for another installation or bootstrap, an older version, another state
        under a known version, or a lockdown that ended without a release; HighWaterError if the mark cannot
        be read or kept.
        """
        mark = self._load()
        replay = verified.replay
        if mark:
            _compare(mark, verified)
        was_locked = mark.locked_at if mark else None
        locked_at = None
        if verified.is_locked:
            locked_at = replay.releases
        elif was_locked is not None and replay.releases <= was_locked:
            raise tampered("the lockdown ended without an approved release")
        new = Mark(
            verified.origin, _fingerprint(replay), verified.state.version, verified.state_hash, locked_at
        )
        if new != mark:
            self._store(new)
            self._mark = new

    def _load(self) -> Mark | None:
        if self._loaded:
            return self._mark
        assert self._path is not None
        try:
            said = read_json(self._path)
            known = set(Mark.__dataclass_fields__)
            if not (isinstance(said, dict) and known - {"locked_at"} <= set(said) <= known):
                raise TypeError("its members are others")
            mark = Mark(**said)
            if [type(v) for v in (mark.origin, mark.agents, mark.version, mark.state_hash)] != [
                str,
                str,
                int,
                str,
            ]:
                raise TypeError("its members are of other types")
            if type(mark.locked_at) not in (int, type(None)):
                raise TypeError("its members are of other types")
        except NotThere:
            mark = None
        except (FileUnreadable, TypeError) as problem:
            raise HighWaterError(
                f"{self._path} does not hold the highest version: {problem}",
                hint="restore it from a backup; to begin again, remove it after alpha-db risk verify",
            ) from None
        self._mark, self._loaded = mark, True
        return mark

    def _store(self, mark: Mark) -> None:
        if self._path is None:
            return
        try:
            with whole_file(self._path, mode=0o600) as stream:
                stream.write(json.dumps(asdict(mark)).encode())
        except (OSError, ValueError) as problem:
            raise HighWaterError(f"cannot write {self._path}: {reason_of(problem)}") from None


def _compare(mark: Mark, verified: Verified) -> None:
    hashes = verified.replay.hashes
    if verified.origin != mark.origin:
        raise tampered(f"the installation is {verified.origin}, and was {mark.origin}")
    # Before the bootstrap there are no agents: the first ones may still come.
    if mark.agents != _NOBODY and _fingerprint(verified.replay) != mark.agents:
        raise tampered("the agents of the bootstrap are not those that were seen before")
    if verified.state.version < mark.version:
        raise tampered(
            f"the version is {verified.state.version}, and {mark.version} was seen before",
            detail="An older state was restored, or the end of the log removed.",
        )
    if hashes[mark.version] != mark.state_hash:
        raise tampered(f"version {mark.version} is not the one that was seen before")


def _fingerprint(replay: Replay) -> str:
    agents = sorted(f"{agent} {key.hex()}" for agent, key in replay.first.items())
    return sha256("\n".join(agents).encode()).hexdigest()

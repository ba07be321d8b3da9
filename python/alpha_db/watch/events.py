"""What happened since, and how far it was told: events of the tables, and the guards, which are compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alpha_db.errors import AlphaDbError
from alpha_db.queries import Row
from alpha_db.security.files import whole_file
from alpha_db.watch.database import Asks

FORMAT = "alpha-db/watch-state/v1"
#: The tables whose rows are events.
TABLES = ("lockdown_events", "proposals", "risk_change_log")
_MAX_STATE = 65536
_MAX_GUARDS = 20


class StateError(AlphaDbError):
    """The file of --remember cannot be read or written, or belongs to another installation."""


@dataclass
class Position:
    """How far events were told: the last id of each table, and which changed guards."""

    installation_id: str
    after: dict[str, int]
    guards: str = ""

    @classmethod
    def now(cls, database: Asks) -> Position:
        """Return the end of each table: what happens from now on is to be told. Raises AlphaDbError."""
        heads = {row["table_name"]: row for row in database.ask("chain_status")}
        for table in TABLES:
            if table not in heads or heads[table]["error_code"]:
                raise AlphaDbError(f"{table} cannot be read")
        return cls(_installation(database), {table: heads[table]["last_id"] or 0 for table in TABLES})

    @classmethod
    def read(cls, path: Path, database: Asks) -> Position:
        """Return what a file remembers, or now if there is none. Raises StateError, and AlphaDbError."""
        try:
            with path.open("rb") as stream:
                state = json.loads(stream.read(_MAX_STATE))
        except FileNotFoundError:
            return cls.now(database)
        except OSError as problem:
            raise StateError(f"cannot read {path}: {problem.strerror}") from None
        except (ValueError, RecursionError):
            raise StateError(
                f"{path} is no state of alpha-db watch", hint="move it away to begin with now"
            ) from None
        if not _is_state(state):
            raise StateError(f"{path} is no state of alpha-db watch", hint="move it away to begin with now")
        if state["installation_id"] != _installation(database):
            raise StateError(
                f"{path} is of another installation, {state['installation_id']}",
                hint="give each desk a file of its own",
            )
        # An older database may have been restored since: what happens there from now on is told.
        now = cls.now(database)
        after = {table: min(last, now.after[table]) for table, last in state["after"].items()}
        return cls(now.installation_id, after, state["guards"])

    def write(self, path: Path) -> None:
        """Keep it in a file, durably. Raises StateError."""
        state = {
            "format": FORMAT,
            "installation_id": self.installation_id,
            "after": self.after,
            "guards": self.guards,
        }
        try:
            with whole_file(path, mode=0o600) as stream:
                stream.write(json.dumps(state, indent=2).encode() + b"\n")
        except OSError as problem:
            raise StateError(f"cannot write {path}: {problem.strerror}") from None

    def pass_by(self, row: Row) -> None:
        """Take an event for told."""
        if row["table_name"] in TABLES:
            self.after[row["table_name"]] = row["id"]
        else:
            self.guards = row["id"]


def events(database: Asks, position: Position, guards_changed: float | None) -> list[Row]:
    """Return what is to be told, oldest first. Raises AlphaDbError.

    Takes how many guards are known to be changed, None if that is not known: then nothing is said about them.
    """
    found = database.ask("watch_events", after=json.dumps(position.after))
    if guards_changed is None or (not guards_changed and not position.guards):
        return found
    changed = database.ask("guards")
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest() if changed else ""
    if digest != position.guards:
        found.append(
            {
                "table_name": None,
                "id": digest,
                "happened_at": datetime.now(UTC),
                "event": "guards_changed" if changed else "guards_restored",
                "what": f"guards that are not as last recorded: {len(changed)}"
                if changed
                else "all guards are as last recorded again",
                "detail": {"changed": len(changed), "guards": changed[:_MAX_GUARDS]},
            }
        )
    return found


def _installation(database: Asks) -> str:
    found = database.ask("installation")
    if not found:
        raise AlphaDbError("there is no row of installation")
    return str(found[0]["installation_id"])


def _is_state(state: Any) -> bool:
    return (
        isinstance(state, dict)
        and state.get("format") == FORMAT
        and isinstance(state.get("installation_id"), str)
        and isinstance(state.get("guards"), str)
        and isinstance(state.get("after"), dict)
        and state["after"].keys() == set(TABLES)
        and all(type(last) is int and 0 <= last < 2**63 for last in state["after"].values())
    )

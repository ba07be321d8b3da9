"""What changed in the guards since a checkpoint was made, also if somebody accepted it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from alpha_db.errors import AlphaDbError, ChainMismatch
from alpha_db.evidence.checkpoint.history import Run, whole
from alpha_db.evidence.checkpoint.note import run_name
from alpha_db.evidence.checkpoint.store import StoreError
from alpha_db.queries import query

Row = dict[str, Any]


@dataclass(frozen=True)
class Since:
    """Facts that differ, states recorded since, uses of the maintenance setting since (None: not known)."""

    run: str
    signer: str
    changed: bool
    facts: list[Row]
    states: list[Row]
    maintenance: list[Row] | None
    note: str | None

    @property
    def document(self) -> Row:
        """All of it as one JSON object."""
        return {
            "run": self.run,
            "signer": self.signer,
            "changed": self.changed,
            "facts": self.facts,
            "guard_states": self.states,
            "maintenance_events": self.maintenance,
            "note": self.note,
        }


def guards_since(conn: psycopg.Connection[Any], run: Run) -> Since:
    """Compare the guards of a database with those of a run whose signatures were verified.

    The facts of then stand in guard_states, whose rows the run pins. Raises ChainMismatch (AUD-009) if these
    rows are not those that were signed, or the run is of another installation; StoreError if it has no
    root of guard_states; psycopg.Error.
    """
    facts = whole(run)
    name = run_name(facts.id)  # an older one, if the row of the latest could not be read
    states = run.logs.get("guard_states")
    if states is None:
        raise StoreError(f"run {name} has no root of guard_states", hint="name another run")
    with conn.cursor(row_factory=dict_row) as cursor:
        here = cursor.execute(query("whereabouts")).fetchone()
        if here is None:
            raise AlphaDbError("the table installation is empty")
        if here["installation"] != facts.installation:
            said = f"{name} is of installation {facts.installation}, this is {here['installation']}"
            raise ChainMismatch(f"AUD-009: checkpoint_refused: {said}", sqlstate="AUD09")
        values = {
            "table_name": "guard_states",
            "size": states.size,
            "root": states.root,
            "engage_lockdown": False,
        }
        verdict = cursor.execute(query("verify_checkpoint"), values).fetchone()
        if verdict is None or verdict["verdict"] not in ("intact", "acknowledged"):
            said = f"{verdict['verdict']}: {verdict['detail']}" if verdict else "no verdict"
            raise ChainMismatch(
                f"AUD-009: guard_states is not what was signed in {name}: {said}",
                hint="alpha-db verify-chain --checkpoints tells more",
                sqlstate="AUD09",
            )
        changes = cursor.execute(query("guards_since"), {"size": states.size}).fetchall()
        recorded = cursor.execute(query("guard_states_since"), {"size": states.size}).fetchall()
        events = run.logs.get("maintenance_events")
        maintenance = (
            cursor.execute(query("maintenance_since"), {"size": events.size}).fetchall() if events else None
        )
        row = cursor.execute(query("recorded_guards_hash"), {"size": states.size}).fetchone()
    changed = here["guards"] != facts.guards
    note = None
    if row is None or row["state_hash"] != facts.guards:
        note = (
            f"When {name} was made, the guards were not those last recorded, which is what is listed here:"
            " something had been changed before."
        )
    return Since(name, states.signer, changed or bool(changes), changes, recorded, maintenance, note)

"""The demo's findings as data, for --json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alpha_db.demo.story import Step


def document(steps: Sequence[Step]) -> dict[str, Any]:
    """Return the findings of a demo that ran to its end as one JSON object's members."""
    found = {step.name: step.data for step in steps}
    tampered = found["tampering"]["found"]
    return {
        "ok": all(step.ok for step in steps),
        "migrations": found["migrate"]["applied"],
        "rows_written": found["replay"]["rows"],
        "replay_seconds": round(found["replay"]["seconds"], 3),
        "intact": found["verify"]["intact"],
        "trade": found["views"]["trade"],
        "kill_switch": next(iter(found["views"]["kill_switches"]), None),
        "refused": _by_code(found["refusals"]["refused"]),
        "refused_to_trader": _by_code(found["refusals"]["by_privilege"]),
        "not_refused": found["refusals"]["not_refused"],
        "tamper_found": tampered
        and {name: tampered[name] for name in ("table", "id", "expected_hash", "actual_hash")},
        "locked_down": found["lockdown"]["status"]["is_locked"],
        "lockdown_refusal": found["lockdown"]["code"],
        "checkpoint": {
            name: found["cut"][name] for name in ("signer", "logs", "rows", "deleted", "unnoticed", "found")
        },
        "risk": {
            name: found["risk"][name]
            for name in ("agents", "refused", "applied", "seen_by_hydrator_ms", "safe_mode")
        },
        "own_table": found["years"]["own_table"],
        "history": found["years"]["history"],
        "retention": found["years"]["retention"],
    }


def _by_code(refused: Sequence[tuple[str, str]]) -> dict[str, str]:
    statements: dict[str, str] = {}
    for code, statement in refused:
        statements[code] = f"{statements[code]}; {statement}" if code in statements else statement
    return statements

"""alpha-db verify-proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from alpha_db.cli.common import debug_option, json_option
from alpha_db.cli.output import DIM, GOOD, clean, emit_json, line
from alpha_db.errors import AlphaDbError
from alpha_db.evidence.cli.notes import judged, verdict_of
from alpha_db.evidence.offline_check import (
    MAX_PROOF,
    MAX_SHOWN,
    Key,
    Policy,
    Proof,
    read_text,
    require_quorum,
    shown_seconds,
    verify_proof,
)
from alpha_db.security import ed25519
from alpha_db.shell.columns import rows
from alpha_db.verify.cli.checkpoint_options import all_keys, policy_option, trusted_keys_option


@click.command("verify-proof", short_help="Check the proof of a row, without a database.")
@click.argument("file")
@policy_option
@trusted_keys_option(required=False)
@json_option
@debug_option
def verify_proof_command(file: str, keys: Sequence[Key], policy: Policy | None, as_json: bool) -> None:
    """Check that a row was in the log that a trusted key signed, with neither a database nor a network.

    With --policy the checkpoint must be cosigned by its quorum of witnesses, too.

    Exits 0 if it was, 1 if the proof does not hold, 3 if the file cannot be read or is no proof, 5 if there is none.

    \b
    Examples:
      alpha-db verify-proof signals-17.tlog-proof --trust desk.vkey
      alpha-db verify-proof - --trust desk.example+9d2a4c01+AX... \\
        --json < signals-17.tlog-proof
    """
    trusted = all_keys(keys, policy)
    try:
        with judged(file):
            proof = verify_proof(read_text(file, MAX_PROOF), trusted)
            times = require_quorum(proof.note, policy, ed25519.verify) if policy else {}
    except AlphaDbError as problem:
        reason = problem.message.removeprefix(f"{file}: ")
        emit_json({"file": file, "verdict": verdict_of(problem), "reason": reason})
        raise
    cosigned = {name: shown_seconds(time) for name, time in times.items()}
    if as_json:
        emit_json(
            {"file": file, "verdict": "holds", "reason": None, **_document(proof), "cosigned": cosigned}
        )
        return
    head, run = proof.head, proof.run
    line(
        ("ok", GOOD), f"  row {proof.id:,} was among the {head.size:,} rows that {clean(head.signer)} signed"
    )
    told = [("log", head.origin), ("row_hash", proof.row_hash), ("root", head.root.hex())]
    told += (
        [("cosigned", ", ".join(f"{name} ({time})" for name, time in cosigned.items()))] if cosigned else []
    )
    told += [("run", f"{run.id:,}, recorded {clean(run.time)}"), ("row_data", _shortened(proof.row_data))]
    rows(told, styles=[DIM] * len(told), indent="    ")


def _shortened(row_data: str) -> str:
    if len(row_data) <= MAX_SHOWN:
        return row_data
    return f"{row_data[:MAX_SHOWN]}… ({len(row_data):,} characters; --json prints all)"


def _document(proof: Proof) -> dict[str, Any]:
    head, run = proof.head, proof.run
    return {
        "origin": head.origin,
        "table": proof.table,
        "id": proof.id,
        "row_data": proof.row_data,
        "row_hash": proof.row_hash,
        "size": head.size,
        "root": head.root.hex(),
        "run": {"id": run.id, "time": run.time, "guards": run.guards},
        "checkpoint": {"size": run.checkpoint.size, "root": run.checkpoint.root.hex(), "signer": head.signer},
    }

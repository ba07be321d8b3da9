"""A judge that is not us: metamorphic-log, a client of transparency logs in Rust, by another maker.

It opens signed notes and checkpoints and checks proofs of RFC 6962. It knows no file of proofs (tlog-proof) and no
cosignatures, so `judge_proof` reads the file by the letter of c2sp.org/tlog-proof and hands over what is in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256

import metamorphic_log
from metamorphic_log import (
    CheckpointHead,
    VerifyError,
    checkpoint_parse,
    checkpoint_verify,
    checkpoint_verify_consistency,
    checkpoint_verify_inclusion,
    verify_consistency,
    verify_inclusion,
    verify_signed_note,
)

__all__ = [
    "CheckpointHead",
    "checkpoint_parse",
    "checkpoint_verify",
    "checkpoint_verify_consistency",
    "checkpoint_verify_inclusion",
    "judge_proof",
    "metamorphic_log",
    "refuses",
    "verify_consistency",
    "verify_inclusion",
    "verify_signed_note",
]


def refuses(check: Callable[..., object], *arguments: object) -> bool:
    """Whether the judge says that it does not hold. What it cannot take as an argument raises, as elsewhere."""
    try:
        check(*arguments)
    except VerifyError:
        return True
    return False


def judge_proof(file: str, vkey: str) -> CheckpointHead:
    """Have the judge check a run.tlog-proof: its row is in the log whose checkpoint it carries.

    The row's hash is computed from `extra`, SHA-256 of the hash before it and of its text. Raises VerifyError.
    """
    head, _, note = file.partition("\n\n")
    version, extra, index, *hashes = head.split("\n")
    assert version == "c2sp.org/tlog-proof@v1"
    assert extra.startswith("extra ")
    assert index.startswith("index ")
    row = json.loads(base64.b64decode(extra.removeprefix("extra "), validate=True))
    row_hash = sha256(bytes.fromhex(row["previous_hash"]) + row["row_data"].encode()).digest()
    number = int(index.removeprefix("index "))
    assert number == row["id"] - 1
    nodes = [base64.b64decode(line, validate=True) for line in hashes]
    checkpoint_verify_inclusion(note, [vkey], number, sha256(b"\0" + row_hash).digest(), nodes)
    return checkpoint_verify(note, [vkey])

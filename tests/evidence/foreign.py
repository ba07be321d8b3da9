"""A judge that is not us: metamorphic-log, a client of transparency logs in Rust, by another maker.

It opens signed notes and checkpoints and checks proofs of RFC 6962. It does not know files of proofs (tlog-proof) and
refuses the keys of witnesses, so `judge_proof` reads the file by the letter of c2sp.org/tlog-proof and hands over
what is in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from metamorphic_log import VerifyError, checkpoint_verify_inclusion, verify_inclusion


def refuses(check: Callable[..., object], *arguments: object) -> bool:
    """Whether the judge says that it does not hold. What it cannot take as an argument raises, as elsewhere."""
    try:
        check(*arguments)
    except VerifyError:
        return True
    return False


def judge_proof(file: str, vkey: str) -> dict[str, Any]:
    """Have the judge check a run.tlog-proof, or what `prove` wrote; gives what its extra line holds.

    The run is in the log whose checkpoint is in the file, and the row, if there is one, in the log of its table as the
    run names it. Raises VerifyError.
    """
    head, _, note = file.partition("\n\n")
    version, extra, index, *path = head.split("\n")
    assert version == "c2sp.org/tlog-proof@v1"
    assert extra.startswith("extra ")
    assert index.startswith("index ")
    told: dict[str, Any] = json.loads(base64.b64decode(extra.removeprefix("extra "), validate=True))
    run = told.get("run", told)
    number = int(index.removeprefix("index "))
    row = json.loads(run["row_data"])
    assert row["id"] == number + 1
    checkpoint_verify_inclusion(note, [vkey], number, leaf_of(run), nodes_of(path))
    if run is not told:
        signed = row["heads"][told["table"]]
        root = bytes.fromhex(signed["root"])
        verify_inclusion(told["id"] - 1, signed["size"], leaf_of(told), nodes_of(told["proof"]), root)
    return told


def leaf_of(row: dict[str, Any]) -> bytes:
    """A row's leaf in the Merkle log: of the hash of the hash before it and of its text."""
    row_hash = sha256(bytes.fromhex(row["previous_hash"]) + row["row_data"].encode()).digest()
    return sha256(b"\0" + row_hash).digest()


def nodes_of(lines: list[str]) -> list[bytes]:
    return [base64.b64decode(line, validate=True) for line in lines]

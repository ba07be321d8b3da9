"""Test vectors of the evidence formats, for readers that are not ours: `python -m tests.evidence.vectors` writes them.

Nothing of alpha_db is used here, so that a mistake of ours is in the tests and not in the vectors.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tests.evidence.made_by_hand import (
    OTHER,
    SIGNER,
    Book,
    checkpoint_text,
    line,
    path_of,
    run_proof,
    tlog_proof,
    without,
)

FOLDER = Path(__file__).parents[1] / "vectors"
LIST = "evidence.json"

BOOK = Book.of(7)
VOTES = Book.of(3, "votes")
RUNS = BOOK.runs(5)
EXTRA = BOOK.extra(3, 5)
NOTE, RUN, PROOF = BOOK.note(5), BOOK.run(5), BOOK.proof(3, 5)
#: The same with row 3 written again, and everything behind it computed again.
AGAIN = Book([*BOOK.rows[:2], BOOK.rows[2].replace("3.50", "3.51"), *BOOK.rows[3:]])


def _proof(extra: dict[str, Any]) -> str:
    return tlog_proof(extra, RUNS, NOTE)


def _run(old: str, new: str) -> str:
    """A signed run with something else in its row."""
    assert old in RUNS.rows[2]
    return run_proof(Book([*RUNS.rows[:2], RUNS.rows[2].replace(old, new, 1)], "checkpoint_runs"))


def _swapped(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def _export(lines: list[bytes]) -> str:
    return b"".join(lines).decode()


LINES = BOOK.export()
_OTHER_PATH = [base64.b64encode(node).decode() for node in path_of(3, BOOK.leaves[:5])]

#: By kind: the name, the verdict, why, and the text. Exports are compared with run.tlog-proof.
VECTORS: list[tuple[str, str, str, str, str]] = [
    ("checkpoint", "checkpoint.note", "holds", "three runs", NOTE),
    ("checkpoint", "two-signatures.note", "holds", "signed by an unknown key, too",
     NOTE + OTHER.signature_line(BOOK.text(5))),
    ("checkpoint", "foreign.note", "refused", "signed by an unknown key only", BOOK.note(5, OTHER)),
    ("checkpoint", "changed.note", "refused", "four runs, and the signature of three",
     _swapped(NOTE, "\n3\n", "\n4\n")),
    ("checkpoint", "other-log.note", "refused", "the name of another log, signed by this key",
     SIGNER.sign(checkpoint_text(RUNS, OTHER))),
    ("checkpoint", "bad-second.note", "refused", "beside the good signature, one of the same key that is wrong",
     NOTE + SIGNER.signature_line("x\n")),
    ("checkpoint", "extension.note", "unreadable", "signed, with a fourth line", SIGNER.sign(BOOK.text(5) + "more\n")),
    ("checkpoint", "zero.note", "unreadable", "signed, with a zero before the size",
     SIGNER.sign(_swapped(BOOK.text(5), "\n3\n", "\n03\n"))),
    ("checkpoint", "crlf.note", "unreadable", "CRLF line ends", NOTE.replace("\n", "\r\n")),
    ("checkpoint", "cut.note", "unreadable", "the last line end is missing", NOTE[:-1]),
    ("proof", "run.tlog-proof", "holds", "run 3, which names five rows of signals", RUN),
    ("proof", "signals-3.tlog-proof", "holds", "row 3 of signals", PROOF),
    ("proof", "later-member.tlog-proof", "holds", "the run has a member of a later version",
     _run('+00:00"}', '+00:00","later":{"x":[1]}}')),
    ("proof", "row.tlog-proof", "refused", "another row with the path of row 3",
     _proof({**EXTRA, "row_data": AGAIN.rows[2]})),
    ("proof", "again.tlog-proof", "refused", "row 3 written again, with its own path and the signed run",
     _proof({**AGAIN.extra(3, 5), "run": EXTRA["run"]})),
    ("proof", "path.tlog-proof", "refused", "the path of row 4", _proof({**EXTRA, "proof": _OTHER_PATH})),
    ("proof", "long-path.tlog-proof", "refused", "a node too many",
     _proof({**EXTRA, "proof": [*EXTRA["proof"], EXTRA["proof"][0]]})),
    ("proof", "id.tlog-proof", "refused", "row 3, passed off as row 4", _proof({**EXTRA, "id": 4})),
    ("proof", "table.tlog-proof", "refused", "of a table that the run does not name",
     _proof({**EXTRA, "table": "votes"})),
    ("proof", "run-again.tlog-proof", "refused", "a run written again under the signature of the true one",
     run_proof(AGAIN.runs(5)).split("\n\n")[0] + f"\n\n{NOTE}"),
    ("proof", "index.tlog-proof", "refused", "the index of another run", _swapped(PROOF, "index 2", "index 1")),
    ("proof", "foreign.tlog-proof", "refused", "signed by an unknown key only", BOOK.proof(3, 5, OTHER)),
    ("proof", "index-zero.tlog-proof", "unreadable", "a zero before the index", _swapped(PROOF, "index 2", "index 02")),
    ("proof", "no-extra.tlog-proof", "unreadable", "of another application: no extra line",
     _swapped(PROOF, f"{PROOF.split(chr(10))[1]}\n", "")),
    ("proof", "member.tlog-proof", "unreadable", "a member is missing", _proof(without(EXTRA, "previous_hash"))),
    ("proof", "twice.tlog-proof", "unreadable", "a member stands there twice",
     tlog_proof(b'{"format":"alpha-db/row/v1",' + line(EXTRA).rstrip(b"\n")[1:], RUNS, NOTE)),
    ("proof", "root.tlog-proof", "unreadable", "a signed run with a root in upper case",
     _run(BOOK.head(5)["root"], BOOK.head(5)["root"].upper())),
    ("proof", "size.tlog-proof", "unreadable", "a signed run with a size below zero", _run('"size": 5', '"size": -5')),
    ("export", "signals.jsonl", "holds", "rows 1 to 7, of which five were signed", _export(LINES)),
    ("export", "signals-from-4.jsonl", "holds", "rows 4 to 7, with the subtrees of rows 1 to 3",
     _export(BOOK.export(4))),
    ("export", "signals-none.jsonl", "holds", "no row since the checkpoint", _export(BOOK.export(6, 5))),
    ("export", "changed.jsonl", "refused", "row 3 was changed", _export(LINES).replace("3.50", "3.51")),
    ("export", "again.jsonl", "refused", "row 3 and all hashes since were written again", _export(AGAIN.export())),
    ("export", "missing.jsonl", "refused", "row 3 is missing", _export([*LINES[:3], *LINES[4:]])),
    ("export", "short.jsonl", "refused", "ends at row 4, and five were signed", _export(BOOK.export(last=4))),
    ("export", "behind.jsonl", "refused", "a row behind the end", _export([*LINES, LINES[-2]])),
    ("export", "cut.jsonl", "unreadable", "the end line is missing", _export(LINES[:-1])),
    ("export", "blanks.jsonl", "unreadable", "a row that is written with blanks",
     _export([*LINES[:3], json.dumps(BOOK.row(3), ensure_ascii=False).encode() + b"\n", *LINES[4:]])),
    ("segment", "signals-1-4.segment", "holds", "rows 1 to 4, and a run of five", _export(BOOK.segment(1, 4, 5))),
    ("segment", "signals-3-5.segment", "holds", "rows 3 to 5, and a run of five", _export(BOOK.segment(3, 5, 5))),
    ("segment", "again.segment", "refused", "row 3 written again, and the signed run",
     _export([BOOK.segment(1, 4, 5)[0], *AGAIN.export(1, 4)])),
    ("segment", "before.segment", "refused", "rows 4 and 5, behind a row 3 that was written again",
     _export([BOOK.segment(4, 5, 5)[0], *AGAIN.export(4, 5)])),
    ("segment", "long.segment", "refused", "rows 1 to 6, and a run of five",
     _export([BOOK.segment(1, 5, 5)[0], *BOOK.export(1, 6)])),
    ("segment", "foreign.segment", "refused", "signed by an unknown key only", _export(BOOK.segment(1, 4, 5, OTHER))),
    ("segment", "votes.segment", "refused", "of a table that its run does not name",
     _export([BOOK.segment(1, 3, 5)[0], *VOTES.export()])),
    ("segment", "cut.segment", "unreadable", "the end line is missing", _export(BOOK.segment(1, 4, 5)[:-1])),
    ("segment", "row.segment", "unreadable", "the proof of a row in the place of the run's",
     _export([line({"format": "alpha-db/segment/v1", "consistency": [], "run": PROOF}), *BOOK.export(1, 5)])),
    ("export", "votes.jsonl", "not_there", "of a table that the run does not name", _export(VOTES.export())),
]  # fmt: skip


def files() -> dict[str, str]:
    """Every file below tests/vectors, by name."""
    entries = [
        {"kind": kind, "file": f"evidence/{name}", "verdict": verdict, "why": why}
        | ({"checkpoint": "evidence/run.tlog-proof"} if kind == "export" else {})
        for kind, name, verdict, why, _ in VECTORS
    ]
    facts = {
        "trust": SIGNER.vkey,
        "seed": SIGNER.seed.hex(),
        "table": BOOK.table,
        "origin": BOOK.origin,
        "row_hashes": [row.hex() for row in BOOK.leaves],
        "root": BOOK.head(5)["root"],
        "log": {
            "origin": SIGNER.name,
            "row_hashes": [row.hex() for row in RUNS.leaves],
            "root": base64.b64decode(NOTE.split("\n")[2]).hex(),
        },
        "vectors": entries,
    }
    return {LIST: json.dumps(facts, indent=1) + "\n"} | {
        f"evidence/{name}": text for _, name, _, _, text in VECTORS
    }


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_bytes(text.encode())


if __name__ == "__main__":
    main()

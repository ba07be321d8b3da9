"""alpha-db verify-export."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import click
from rich.cells import cell_len

from alpha_db.cli.common import debug_option, finish, json_option
from alpha_db.cli.evidence import EvidenceRefused, EvidenceUnreadable, Notes, judged, open_notes
from alpha_db.cli.output import BAD, GOOD, WARN, clean, emit_json, line
from alpha_db.cli.progress import progress_bar
from alpha_db.cli.trusted_keys import trusted_keys_option
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_OK
from alpha_db.offline_check import Checkpoint, Key, read_lines, verify_export

_NOT_COMPARED = (
    "Not compared with a checkpoint: a chain that was written anew, or cut at its end, holds as well."
)


@click.command("verify-export", short_help="Check exported rows, without a database.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--checkpoint",
    "checkpoint_path",
    metavar="NOTE|DIR",
    type=click.Path(path_type=Path),
    help="What the rows must be: a note, a run's directory, or a directory of runs (its latest). Needs --trust.",
)
@trusted_keys_option(required=False)
@json_option
@debug_option
def verify_export_command(
    files: Sequence[str], checkpoint_path: Path | None, keys: Sequence[Key], as_json: bool
) -> None:
    """Recompute every hash in exports, and with a checkpoint that the rows are those that were signed.

    Neither a database nor a network is used, and memory does not grow with the rows. Packed files are recognised;
    - is standard input. Exits 0 if all hold, 1 if one does not, 3 if one could not be checked: it is cut short, or
    is no export.

    \b
    Examples:
      alpha-db verify-export signals.jsonl
      alpha-db verify-export book/*.jsonl --checkpoint checkpoints/ \\
        --trust desk.vkey
      gunzip < signals.jsonl.gz | alpha-db verify-export - --json
    """
    if checkpoint_path and not keys:
        raise click.UsageError("--checkpoint needs --trust: without a trusted key a signature says nothing")
    notes = open_notes(checkpoint_path, keys) if checkpoint_path else None
    results = [_check(file, notes) for file in files]
    verdicts = {result["verdict"] for result in results}
    code = EXIT_DAMAGE if "refused" in verdicts else EXIT_NOT_RUN if "not_run" in verdicts else EXIT_OK
    if as_json:
        emit_json({"exports": results})
    else:
        _show(results)
    finish(code)


def _check(file: str, notes: Notes | None) -> dict[str, Any]:
    try:
        with _opened(file) as (stream, total), progress_bar(f"checking {file}", total) as progress:
            lines = read_lines(stream)  # type: ignore[arg-type]

            def tell(_rows: int) -> None:
                if total is not None:
                    progress(stream.tell())

            # what the header says is believed only as far as choosing the note; the note's own origin must fit
            with judged(file):
                header = next(lines, b"")
                checkpoint = notes.of(_table(header)) if notes else None
                found = verify_export(chain([header], lines), checkpoint, tell)
    except (EvidenceRefused, EvidenceUnreadable, OSError) as problem:
        verdict = "refused" if isinstance(problem, EvidenceRefused) else "not_run"
        reason = problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)
        reason = reason.removeprefix(f"{file}: ")
        return {"file": file, "verdict": verdict, "reason": reason, "checkpoint": None}
    told: dict[str, Any] = {"file": file, "verdict": "holds", "reason": None, **found._asdict()}
    return told | {"checkpoint": None if checkpoint is None else _described(checkpoint)}


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[IO[bytes], int | None]]:
    """The stream, unbuffered, and how long it is, if that is known."""
    if file == "-":
        yield sys.stdin.buffer, None
        return
    with Path(file).open("rb", buffering=0) as stream:
        size = Path(file).stat().st_size if Path(file).is_file() else None
        yield stream, size


def _table(header: bytes) -> str:
    try:
        return str(json.loads(header)["table"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _described(checkpoint: Checkpoint) -> dict[str, Any]:
    described = {"size": checkpoint.size, "root": checkpoint.root.hex(), "signer": checkpoint.signer}
    return {**described, **checkpoint.extensions}


def _show(results: Sequence[dict[str, Any]]) -> None:
    width = max(cell_len(clean(result["file"])) for result in results)
    for result in results:
        name = clean(result["file"])
        name += " " * (width - cell_len(name))
        if result["verdict"] != "holds":
            word, style = ("not ok ", BAD) if result["verdict"] == "refused" else ("not run", WARN)
            line((word, style), f"  {name}  ", (clean(result["reason"]), style))
        else:
            line(("ok     ", GOOD), f"  {name}  {clean(result['table'])}  {_rows(result)}")
            if len(results) == 1:
                line(f"         log        {clean(result['origin'])}")
                line(f"         last hash  {result['last_hash']}")
    for signed in dict.fromkeys(_signed(result["checkpoint"]) for result in results if result["checkpoint"]):
        line(f"Signed by {signed}.")
    if any(result["verdict"] == "holds" and not result["checkpoint"] for result in results):
        line((_NOT_COMPARED, WARN))


def _rows(result: dict[str, Any]) -> str:
    """The rows that are there, and how many of them are signed."""
    rows = f"rows {result['first_id']:,} to {result['last_id']:,}" if result["rows"] else "no rows"
    checkpoint = result["checkpoint"]
    if checkpoint is None or not result["rows"]:
        return rows
    later = result["last_id"] - checkpoint["size"]
    return (
        f"{rows}, all signed"
        if not later
        else f"{rows}, signed to {checkpoint['size']:,}, {later:,} came later"
    )


def _signed(checkpoint: dict[str, Any]) -> str:
    when = f" at {checkpoint['time']}" if "time" in checkpoint else ""
    return clean(f"{checkpoint['signer']}{when}")

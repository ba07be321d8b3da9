"""alpha-db verify-export."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import click

from alpha_db.cli.common import debug_option, finish, json_option
from alpha_db.cli.output import BAD, GOOD, WARN, clean, emit_json, line, width_of
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_NOT_THERE, EXIT_OK, AlphaDbError
from alpha_db.evidence.checkpoint.history import UnreadableFile
from alpha_db.evidence.checkpoint.quorum import require_quorum
from alpha_db.evidence.cli.notes import Notes, judged, open_notes, verdict_of
from alpha_db.evidence.offline_check import (
    SEGMENT_LINE,
    Key,
    Policy,
    Proof,
    Run,
    Signed,
    open_file,
    read_lines,
    verify_export,
)
from alpha_db.verify.cli.checkpoint_options import chosen_keys, policy_option, trusted_keys_option
from alpha_db.verify.cli.progress import progress_bar
from alpha_db.verify.cli.verify_report import worst

_NOT_COMPARED = (
    "Not compared with a checkpoint: a chain that was written again, or cut at its end, holds as well."
)
_NOT_KNOWN = "Not compared, because the checkpoint could not be used: nothing is known of whether the rows were signed."


@click.command("verify-export", short_help="Check exported rows, without a database.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--checkpoint",
    metavar="RUN",
    type=click.Path(path_type=Path, readable=False),
    help="What the rows must be: a run, or its run.tlog-proof. Needs --trust.",
)
@click.option(
    "--checkpoints",
    metavar="DIR",
    type=click.Path(path_type=Path, readable=False),
    help="The same: a directory of checkpoints, of which the latest run counts. Needs --trust.",
)
@policy_option
@trusted_keys_option(required=False)
@json_option
@debug_option
def verify_export_command(
    files: Sequence[str],
    checkpoint: Path | None,
    checkpoints: Path | None,
    keys: Sequence[Key],
    policy: Policy | None,
    as_json: bool,
) -> None:
    """Recompute every hash in exports, and with a checkpoint that the rows are those that were signed.

    Neither a database nor a network is used, and memory does not grow with the rows. Packed files are recognised;
    - is standard input. A segment of alpha-db retention has its own checkpoint in it, so --trust is enough. Exits 0 if
    all hold, 1 if one does not, 3 if one could not be checked (it cannot be read, is cut short, or is no export), 5 if
    one, or its checkpoint, is not there. Of several, 1 comes before 3 before 5. With --policy the checkpoint must be
    cosigned by its quorum of witnesses, too.

    \b
    Examples:
      alpha-db verify-export signals.jsonl
      alpha-db verify-export signals.jsonl --checkpoint run.tlog-proof \\
        --trust desk.vkey
      alpha-db verify-export book/*.jsonl --checkpoints checkpoints/ \\
        --trust desk.vkey
      gunzip < signals.jsonl.gz | alpha-db verify-export - --json
      alpha-db verify-export segments/*.segment --trust desk.vkey
    """
    if checkpoint and checkpoints:
        raise click.UsageError("--checkpoint and --checkpoints exclude each other")
    path = checkpoint or checkpoints
    keys = chosen_keys(keys, policy)
    if path and not keys:
        name = "--checkpoint" if checkpoint else "--checkpoints"
        raise click.UsageError(f"{name} needs --trust: without a trusted key a signature says nothing")
    notes, problem = _notes(path, keys, policy)
    results = [_check(file, notes, keys, policy) for file in files]
    told = [_told(problem, path)] if problem else []
    if notes:
        told += [_unread(one, notes) for one in notes.unreadable]
    if as_json:
        emit_json({"exports": results, "checkpoints": told})
    else:
        _show(results, told, is_compared=path is not None)
    finish(worst([CODES[one["verdict"]] for one in [*results, *told]]))


CODES = {"holds": EXIT_OK, "refused": EXIT_DAMAGE, "not_run": EXIT_NOT_RUN, "not_there": EXIT_NOT_THERE}


def _notes(
    path: Path | None, keys: Sequence[Key], policy: Policy | None
) -> tuple[Notes | None, AlphaDbError | None]:
    """The checkpoints, or why they cannot be used: the rows are checked all the same."""
    if path is None:
        return None, None
    try:
        return open_notes(path, keys, policy), None
    except AlphaDbError as problem:
        return None, problem


def _told(problem: AlphaDbError, path: Path | None) -> dict[str, Any]:
    reason = problem.message.removeprefix("checkpoint_refused: ").removeprefix(f"{path}: ")
    return {"checkpoint": str(path), "verdict": verdict_of(problem), "reason": reason}


def _unread(one: UnreadableFile, notes: Notes) -> dict[str, Any]:
    return {"checkpoint": str(notes.path / one.name), "verdict": "not_run", "reason": one.reason}


def _check(file: str, notes: Notes | None, keys: Sequence[Key], policy: Policy | None) -> dict[str, Any]:
    missing = checkpoint = segment = None
    try:
        with (
            judged(file),
            _opened(file) as (stream, total),
            progress_bar(f"checking {file}", total) as progress,
        ):
            lines = read_lines(stream)

            def tell(_rows: int) -> None:
                if total is not None:
                    progress(stream.tell())

            # what the header says is believed only as far as choosing the note; the note's own origin must fit
            head = [next(lines, b"")]
            if head[0].startswith(SEGMENT_LINE):
                head.append(next(lines, b""))
            table = _table(head[-1])
            try:
                checkpoint = notes.of(table) if notes and table else None
            except AlphaDbError as problem:
                missing = problem  # by itself it is checked all the same
            found = verify_export(chain(head, lines), checkpoint, tell, keys=keys)
            if found.proof:
                missing, segment = None, _signed_by(found.proof, table, policy)
    except AlphaDbError as problem:
        reason = problem.message.removeprefix(f"{file}: ")
        return {"file": file, "verdict": verdict_of(problem), "reason": reason, "checkpoint": None}
    told: dict[str, Any] = {"file": file, "verdict": "holds", "reason": None, **found._asdict()}
    del told["proof"]
    if missing:
        reason = f"{missing.message}; by itself it holds"
        told |= {"verdict": verdict_of(missing), "reason": reason}
    return told | {"checkpoint": segment or _described(checkpoint, notes)}


def _signed_by(proof: Proof, table: str, policy: Policy | None) -> dict[str, Any]:
    """The run in a segment, which must have a policy's quorum. Raises Refused."""
    require_quorum([proof.note], policy)
    return _described_run(proof.run.head(table), proof.run)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The stream, unbuffered, and how long it is, if that is known."""
    stream = open_file(file)
    if file == "-":
        yield stream, None
        return
    with stream:
        mode = os.fstat(stream.fileno())
        yield stream, mode.st_size if stat.S_ISREG(mode.st_mode) else None


def _table(header: bytes) -> str:
    try:
        return str(json.loads(header)["table"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _described(signed: Signed | None, notes: Notes | None) -> dict[str, Any] | None:
    if signed is None or notes is None:
        return None
    facts = notes.run.facts
    if facts:
        return _described_run(signed, facts)
    return _described_run(signed, None) | {"run": notes.run.checkpoint.size}


def _described_run(signed: Signed, run: Run | None) -> dict[str, Any]:
    return {
        "size": signed.size,
        "root": signed.root.hex(),
        "signer": signed.signer,
        "run": run.id if run else None,
        "time": run.time if run else None,
    }


_WORDS = {
    "holds": ("ok     ", GOOD),
    "refused": ("not ok ", BAD),
    "not_run": ("not run", WARN),
    "not_there": ("absent ", WARN),
}


def _show(results: Sequence[dict[str, Any]], told: Sequence[dict[str, Any]], *, is_compared: bool) -> None:
    names = [clean(one.get("file", one.get("checkpoint"))) for one in [*results, *told]]
    width = max(map(width_of, names))
    for name, result in zip(names, [*results, *told], strict=True):
        word, style = _WORDS[result["verdict"]]
        padded = name + " " * (width - width_of(name))
        if result["verdict"] != "holds":
            line((word, style), f"  {padded}  ", (clean(result["reason"]), style))
        else:
            line((word, style), f"  {padded}  {clean(result['table'])}  {_rows(result)}")
            if len(results) == 1:
                line(f"         log        {clean(result['origin'])}")
                line(f"         last hash  {result['last_hash']}")
    for signed in dict.fromkeys(_signed(result["checkpoint"]) for result in results if result["checkpoint"]):
        line(f"Signed by {signed}.")
    if any(result["verdict"] == "holds" and not result["checkpoint"] for result in results):
        line((_NOT_KNOWN if is_compared else _NOT_COMPARED, WARN))


def _rows(result: dict[str, Any]) -> str:
    """The rows that are there, and how many of them are signed."""
    rows = f"rows {result['first_id']:,} to {result['last_id']:,}" if result["rows"] else "no rows"
    checkpoint = result["checkpoint"]
    if checkpoint is None:
        return rows
    if not result["rows"]:
        return f"{rows}, none was signed since row {checkpoint['size']:,}"
    later = result["last_id"] - checkpoint["size"]
    return (
        f"{rows}, all signed"
        if later <= 0  # a segment's run may be of more rows
        else f"{rows}, signed to {checkpoint['size']:,}, {later:,} came later"
    )


def _signed(checkpoint: dict[str, Any]) -> str:
    when = f" at {checkpoint['time']}" if checkpoint["time"] else ""
    return clean(f"{checkpoint['signer']}{when}")

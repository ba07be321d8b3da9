"""alpha-db verify-export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import debug_option, finish, json_option
from alpha_db.cli.options import Integer
from alpha_db.cli.output import BAD, GOOD, WARN, clean, emit_json, line, note, width_of
from alpha_db.errors import AlphaDbError
from alpha_db.evidence.checkpoint.history import UnreadableFile
from alpha_db.evidence.cli.notes import Notes, open_notes, verdict_of
from alpha_db.evidence.exports import CODES, Against, files_of, passed_over
from alpha_db.evidence.joined import join_exports, with_continued
from alpha_db.evidence.offline_check import Key, Policy
from alpha_db.evidence.side_by_side import check_exports, size_of
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
@click.option(
    "--jobs",
    type=Integer(1, 64),
    default=1,
    show_default=True,
    help="How many files are checked side by side, each in a process of its own.",
)
@policy_option
@trusted_keys_option(required=False)
@json_option
@debug_option
def verify_export_command(
    files: Sequence[str],
    checkpoint: Path | None,
    checkpoints: Path | None,
    jobs: int,
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

    Of a directory it checks the files *.segment and *.jsonl, packed or not. Several files of one log are also held
    against each other: rows that are missing between them are exit code 5, two versions of a row 1. Segments begin with
    row 1, so a missing first one is 5, too. A part that ends before the checkpoint holds if the files that continue it
    do; otherwise it was not compared, which is 3, or its end is missing, which is 1. Files of a table that name several
    logs are not held against each other; if one of them is unsigned, a warning names the logs.

    \b
    Examples:
      alpha-db verify-export signals.jsonl
      alpha-db verify-export signals.jsonl --checkpoint run.tlog-proof \\
        --trust desk.vkey
      alpha-db verify-export book/*.jsonl --checkpoints checkpoints/ \\
        --trust desk.vkey
      gunzip < signals.jsonl.gz | alpha-db verify-export - --json
      alpha-db verify-export segments/*.segment --trust desk.vkey
      alpha-db verify-export segments/ --jobs 8 --trust desk.vkey
    """
    if checkpoint and checkpoints:
        raise click.UsageError("--checkpoint and --checkpoints exclude each other")
    path = checkpoint or checkpoints
    keys = chosen_keys(keys, policy)
    if path and not keys:
        name = "--checkpoint" if checkpoint else "--checkpoints"
        raise click.UsageError(f"{name} needs --trust: without a trusted key a signature says nothing")
    notes, problem = _notes(path, keys, policy)
    given, files = files, files_of(files)
    skipped = passed_over(given)
    total = sum(size_of(file) or 0 for file in files)
    what = f"checking {files[0]}" if len(files) == 1 else f"checking {len(files)} files"
    with progress_bar(what, total or None) as progress:
        results = check_exports(files, Against(keys, notes, policy), jobs, progress)
    results = with_continued(results)
    logs = join_exports(results, is_directory=list(files) != list(given))
    told = [_told(problem, path)] if problem else []
    if notes:
        told += [_unread(one, notes) for one in notes.unreadable]
    if as_json:
        emit_json({"exports": results, "logs": logs, "checkpoints": told, "passed_over": skipped})
    else:
        _show(results, told, is_compared=path is not None)
        _show_logs([log for log in logs if log["files"] > 1 or log["gaps"]])
        _show_others(logs, {one["origin"] for one in results if "origin" in one and not one["checkpoint"]})
    if skipped:
        names = ", ".join(map(clean, skipped[:3])) + (" …" if len(skipped) > 3 else "")
        note((f"Passed over, because of their names: {len(skipped)}", WARN), f" ({names})")
    finish(worst([CODES[one["verdict"]] for one in [*results, *logs, *told]]))


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


def _show_logs(logs: Sequence[dict[str, Any]]) -> None:
    """What several files of a log are together."""
    tables = [log["table"] for log in logs]
    for log in logs:
        word, style = _WORDS[log["verdict"]]
        name = log["table"] if tables.count(log["table"]) == 1 else log["origin"]
        there = "no rows"
        if log["last_id"] >= log["first_id"]:
            there = f"rows {log['first_id']:,} to {log['last_id']:,}"
        rows = f"{there} in {log['files']} file{'s' * (log['files'] > 1)}"
        if log["doubles"]:
            rows += f", {sum(last - first + 1 for first, last in log['doubles']):,} of them in several"
        said = f"{rows}, without a gap" if log["verdict"] == "holds" else f"{rows}: {log['reason']}"
        line((word, style), f"  {clean(name)}  ", (clean(said), "" if log["verdict"] == "holds" else style))
        if log["begins_at"] > 1 and log["gaps"][:1] != [[1, log["begins_at"] - 1]]:
            before = log["begins_at"] - 1
            line((f"         rows 1 to {before:,} are in none of these files", WARN))


def _show_others(logs: Sequence[dict[str, Any]], unsigned: set[str]) -> None:
    """Name the logs of a table that were not held against each other, if an unsigned file says there are several."""
    for log in {log["table"]: log for log in logs if log["others"]}.values():
        origins = sorted([log["origin"], *log["others"]])
        if not unsigned.isdisjoint(origins):
            said = (
                f"{log['table']}: these files name {len(origins)} logs, {', '.join(origins)}. They were not held"
                " against each other. A file without a checkpoint may name any log, so one may be a fork of another."
            )
            line((clean(said), WARN))


def _rows(result: dict[str, Any]) -> str:
    """The rows that are there, and how many of them are signed."""
    rows = f"rows {result['first_id']:,} to {result['last_id']:,}" if result["rows"] else "no rows"
    checkpoint = result["checkpoint"]
    if checkpoint is None:
        return rows
    if not result["rows"]:
        return f"{rows}, none was signed since row {checkpoint['size']:,}"
    later = result["last_id"] - checkpoint["size"]
    continued = f", as {result['continued_in']} continues them" if result.get("continued_in") else ""
    return (
        f"{rows}, all signed{continued}"
        if later <= 0  # a segment's run may be of more rows
        else f"{rows}, signed to {checkpoint['size']:,}, {later:,} came later"
    )


def _signed(checkpoint: dict[str, Any]) -> str:
    when = f" at {checkpoint['time']}" if checkpoint["time"] else ""
    return clean(f"{checkpoint['signer']}{when}")

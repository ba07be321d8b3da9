"""alpha-db export."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import psycopg

from alpha_db.cli.common import NamedOption, Settings, database_options, finish
from alpha_db.cli.options import Integer, table_option
from alpha_db.cli.output import BAD, GOOD, WARN, clean, emit_json, leave_stdout, line, note
from alpha_db.errors import EXIT_DAMAGE, EXIT_OK, AlphaDbError, NotThere, from_database, squeeze
from alpha_db.evidence.archived import archived_row
from alpha_db.evidence.cli.export_rows import Log, Written, snapshot, write_export
from alpha_db.evidence.cli.new_file import NotWritten, force_option, new_file, refuse_existing
from alpha_db.evidence.cli.notes import EvidenceRefused, Notes, open_notes, seal_first, verdict_of
from alpha_db.evidence.cli.surplus import MANIFEST, Common, Over, open_over
from alpha_db.evidence.offline_check import Key, Policy
from alpha_db.queries import query
from alpha_db.verify.cli.checkpoint_options import chosen_keys, policy_option, trusted_keys_option
from alpha_db.verify.cli.progress import progress_bar
from alpha_db.verify.cli.verify_report import worst


class Part(NamedTuple):
    """Rows of a log that go into a file."""

    log: Log
    first_id: int
    last_id: int
    path: Path


@click.command(short_help="Write rows with their hashes into files that can be checked offline.")
@table_option
@click.option(
    "--from-id", metavar="ID", type=Integer(min=1), help="First row; default: the first that is not archived."
)
@click.option("--to-id", metavar="ID", type=Integer(min=0), help="Last row; default: the last there is.")
@click.option(
    "--since-checkpoint",
    metavar="DIR|RUN",
    type=click.Path(path_type=Path, readable=False),
    help="Only the rows after those of this checkpoint (of a directory: its latest). Needs --trust.",
)
@click.option(
    "--surplus-over",
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),
    help="On a former primary: only the rows that the new one has not. PATH has checkpoints (these need --trust) of"
    " the new primary, or exports from there.",
)
@policy_option
@trusted_keys_option(required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR|-",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    help="With --table a file, packed if its name ends with .gz, or - for standard output; otherwise a directory.",
)
@click.option(
    "--gzip", "packed", is_flag=True, cls=NamedOption, help="Pack the files in a directory: TABLE.jsonl.gz."
)
@force_option
@database_options
def export(
    settings: Settings,
    as_json: bool,
    table: str | None,
    from_id: int | None,
    to_id: int | None,
    since_checkpoint: Path | None,
    surplus_over: Path | None,
    keys: Sequence[Key],
    policy: Policy | None,
    output: Path,
    packed: bool,
    force: bool,
) -> None:
    """Write rows as they were hashed into files that verify-export, or anybody's own program, can check offline.

    A file has one JSON object on each line: a header, the rows (id, row_hash, row_data), and an end line, so that
    a file cut short is told from a whole one. Without --table, -o names a directory (it is made if need be) that
    gets TABLE.jsonl for each chained table, of empty ones too, all from one snapshot. A file gets its name only
    when it is complete. What is written is checked at the same time: exit code 1 if it does not hold; the file is
    there nevertheless, and says what the database says. Rows that were archived are in their segment, and no more
    here. Exit code 3 if a table cannot be read, 5 if the table, the
    rows or the checkpoint are not there; the other tables are written all the same.

    A part that ends before a checkpoint does cannot be checked against it: only against one of no more rows.

    --surplus-over is for a former primary that was cut off, before pg_rewind overwrites it. What both servers have is
    found from the checkpoints of the new one (a run, or a directory with a run that was made after the failover), or
    row by row from an export of it. The directory gets surplus.json besides, which says over what. Exit code 5 if
    nothing says up to where the two are the same.

    \b
    Examples:
      alpha-db export -o book/
      alpha-db export --table signals -o signals.jsonl.gz
      alpha-db export --table signals --from-id 1000 --to-id 2000 -o - | gzip \\
        > part.jsonl.gz
      alpha-db export --since-checkpoint checkpoints/ --trust desk.vkey \\
        -o today/ --gzip
      alpha-db export --since-checkpoint checkpoints/000000042 \\
        --trust desk.vkey -o since/
      alpha-db export --surplus-over checkpoints/000000042 \\
        --trust desk.vkey -o surplus/
      alpha-db export --surplus-over new-primary/ -o surplus/
    """
    keys = chosen_keys(keys, policy)
    if surplus_over and (since_checkpoint or from_id is not None or to_id is not None):
        raise click.UsageError("--surplus-over excludes --since-checkpoint, --from-id and --to-id")
    if since_checkpoint and not keys:
        raise click.UsageError("--since-checkpoint needs --trust, or an edited note could leave rows out")
    if since_checkpoint and from_id is not None:
        raise click.UsageError("--since-checkpoint and --from-id exclude each other")
    if table is None and (from_id is not None or to_id is not None):
        raise click.UsageError("--from-id and --to-id need --table")
    if str(output) == "-":
        leave_stdout()
    if from_id is not None and to_id is not None and to_id < from_id - 1:
        raise click.UsageError(f"--to-id {to_id} is before --from-id {from_id}")
    notes = open_notes(since_checkpoint, keys, policy) if since_checkpoint else None
    over = open_over(surplus_over, keys, policy) if surplus_over else None
    is_single = table is not None and not output.is_dir()
    if not is_single:
        _prepare(output, table is None)
    elif str(output) != "-":
        refuse_existing(output, force)
    wish = _Wish(table, from_id, to_id, notes, over)
    with settings.installed() as (conn, place):
        if notes is not None or (from_id or 1) > 1:
            for name in _tables(conn, table):
                seal_first(conn, place, name)
        with snapshot(conn) as logs:
            if over:
                over.require(conn)
            chosen = [
                (log, output if is_single else output / f"{log.table}.jsonl{'.gz' if packed else ''}")
                for log in _chosen(logs, table)
            ]
            for _, path in () if is_single else chosen:
                refuse_existing(path, force)
            if over and not is_single:
                refuse_existing(output / MANIFEST, force)
            results = [_one(conn, log, path, wish, force, is_alone=table is not None) for log, path in chosen]
    surplus = _surplus(over, results, None if is_single else output / MANIFEST, force) if over else None
    _report(results, surplus, as_json)
    finish(worst([result.code for result in results]))


@dataclass(frozen=True)
class _Wish:
    """Which rows are wanted."""

    table: str | None
    from_id: int | None
    to_id: int | None
    notes: Notes | None
    over: Over | None = None


class Result(NamedTuple):
    """What came of one table: what was written, or why nothing was."""

    log: Log
    path: Path
    written: Written | None
    problem: str | None
    verdict: str
    code: int
    common: Common | None = None


def _one(
    conn: psycopg.Connection[Any], log: Log, path: Path, wish: _Wish, force: bool, *, is_alone: bool
) -> Result:
    """Write one table. What is wrong with it keeps no other from being written, but is raised if it is alone."""
    common = None
    try:
        with conn.transaction():  # a savepoint
            log.require()
            if wish.over:
                common = wish.over.common(conn, log)
                first = common.size + 1
            else:
                first = _first(log, wish) if wish.notes is None else _after(conn, log, wish.notes, is_alone)
            if min(first, wish.to_id or first) <= log.start_id:
                raise archived_row(conn, log.table, min(first, wish.to_id or first))
            written = _write(conn, Part(log, first, _last(log, first, wish.to_id), path), force)
    except (AlphaDbError, psycopg.Error) as raised:
        problem = from_database(raised) if isinstance(raised, psycopg.Error) else raised
        if is_alone or conn.closed:
            raise
        return Result(log, path, None, squeeze(problem.message), verdict_of(problem), problem.exit_code)
    verdict, code = ("refused", EXIT_DAMAGE) if written.problem else ("holds", EXIT_OK)
    return Result(log, path, written, written.problem, verdict, code, common)


def _first(log: Log, wish: _Wish) -> int:
    return wish.from_id or log.start_id + 1


def _tables(conn: psycopg.Connection[Any], table: str | None) -> list[str]:
    rows = conn.execute(query("chain_status")).fetchall()
    return [row[0] for row in rows if table in (None, row[0])]


def _prepare(directory: Path, is_new: bool) -> None:
    if str(directory) == "-" or directory.is_file():
        raise click.UsageError(f"without --table there is a file for each table: {directory} is no directory")
    if is_new and not directory.is_dir():
        if not directory.parent.is_dir():
            raise click.UsageError(f"there is no directory {directory.parent}")
        try:
            directory.mkdir()
        except OSError as problem:
            raise NotWritten(f"cannot make the directory {directory}: {problem.strerror}") from None


def _chosen(logs: Sequence[Log], table: str | None) -> list[Log]:
    chosen = [log for log in logs if table in (None, log.table)]
    if not chosen:
        names = ", ".join(log.table for log in logs)
        raise NotThere(f"{clean(table)} is not a chained table; these are: {names}")
    return chosen


def _after(conn: psycopg.Connection[Any], log: Log, notes: Notes, is_needed: bool) -> int:
    """The first row after a checkpoint, if the database still holds what was signed."""
    if log.table not in notes.logs and not notes.unreadable and not is_needed:
        return log.start_id + 1  # chained since then
    signed = notes.of(log.table)
    notes.tell_unread()
    if signed.origin != log.origin:
        raise EvidenceRefused(f"the checkpoint is of {signed.origin}, this is {log.origin}")
    if signed.size < log.start_id:
        return signed.size + 1  # archived
    arguments = {"table_name": log.table, "size": signed.size}
    hint = "alpha-db verify-chain --checkpoints tells more"
    if signed.size > log.last_id:
        message = f"{log.table} has {log.last_id} rows, and had {signed.size} when the checkpoint was signed"
        raise EvidenceRefused(message, hint=hint)
    row = conn.execute(query("log_root"), arguments).fetchone()
    if row is None or row[0] != signed.root:
        message = f"rows 1 to {signed.size} of {log.table} are not those that {signed.signer} signed"
        raise EvidenceRefused(message, hint=hint)
    return signed.size + 1


def _last(log: Log, first: int, to_id: int | None) -> int:
    last = log.last_id if to_id is None else to_id
    if last > log.last_id or first > log.last_id + 1:
        raise NotThere(f"row {max(last, first)} of {log.table} is not there: it ends at row {log.last_id}")
    return last


def _write(conn: psycopg.Connection[Any], part: Part, force: bool) -> Written:
    total = part.last_id - part.first_id + 1
    with new_file(part.path, force) as stream, progress_bar(f"exporting {part.log.table}", total) as progress:
        return write_export(conn, part.log, part.first_id, part.last_id, stream, progress)


def _surplus(over: Over, results: Sequence[Result], manifest: Path | None, force: bool) -> dict[str, Any]:
    """What the surplus is over, for each table up to where both have it; written to the manifest, if there is one."""
    tables = [
        {"table": one.log.table, "origin": one.log.origin, "file": one.path.name}
        | {"same_to": one.common.size, "by": one.common.by}
        | {"is_exact": one.common.is_exact, "is_claimed": one.common.is_claimed}
        | {"rows": one.written.rows, "last_id": one.written.last_id}
        for one in results
        if one.common and one.written
    ]
    found = {"format": "alpha-db/surplus/v1", "over": over.document(), "tables": tables}
    if manifest:
        with new_file(manifest, force) as stream:
            stream.write(json.dumps(found, ensure_ascii=False, indent=1).encode() + b"\n")
    return found


def _tell_surplus(found: dict[str, Any], say: Callable[..., None]) -> None:
    some = [table for table in found["tables"] if table["rows"]]
    total = sum(table["rows"] for table in some)
    over = found["over"]
    than = clean(f"{over['path']}, run {over['run']}" if over["kind"] == "checkpoint" else over["path"])
    if some:
        say((f"Surplus of {total:,} {'row' if total == 1 else 'rows'}", WARN), f" over {than}.")
    else:
        say(("No surplus", GOOD), f" over {than}: no row stands here behind what both have.")
    if not all(table["is_exact"] for table in found["tables"]):
        say(
            ("The checkpoint was made before the failover", WARN),
            ": the new primary may have some of these rows, too.",
        )
    if any(table["is_claimed"] for table in found["tables"]):
        say(
            "If the new primary does not have all rows of the checkpoint, those that it lacks are not in these files."
        )


def _report(results: Sequence[Result], surplus: dict[str, Any] | None, as_json: bool) -> None:
    # the rows themselves may be on stdout
    to_stdout = str(results[0].path) == "-"
    if as_json:
        empty = dict.fromkeys(Written._fields)
        document = [
            {"file": str(path), "origin": log.origin, "table": log.table, "verdict": verdict}
            | (written._asdict() if written else empty)
            | {"problem": problem}
            for log, path, written, problem, verdict, *_ in results
        ]
        emit_json({"exports": document} | ({"surplus": surplus} if surplus else {}))
        return
    width = max(len(result.log.table) for result in results)
    for log, path, written, problem, verdict, *_ in results:
        style, word = _WORDS[verdict]
        told = f"  {clean(problem)}" if problem else ""
        rows = "not written"
        if written:
            rows = f"rows {written.first_id:,} to {written.last_id:,}" if written.rows else "no rows"
        parts = ((word, style), f"  {log.table:<{width}}  {rows}  {clean(path)}", (told, style))
        (note if to_stdout else line)(*parts)
    if surplus and all(result.code == EXIT_OK for result in results):
        _tell_surplus(surplus, note if to_stdout else line)


_WORDS = {
    "holds": (GOOD, "ok    "),
    "refused": (BAD, "not ok"),
    "not_run": (WARN, "not run"),
    "not_there": (WARN, "absent "),
}

"""alpha-db tiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import psycopg

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.options import table_option
from alpha_db.cli.output import BAD, GOOD, WARN, clean, emit_json, line
from alpha_db.errors import EXIT_OK, AlphaDbError, NotThere, from_database, squeeze
from alpha_db.evidence.checkpoint.durable import make_durable
from alpha_db.evidence.checkpoint.quorum import merged_note
from alpha_db.evidence.checkpoint.store import Store
from alpha_db.evidence.cli.export_rows import Log, snapshot
from alpha_db.evidence.cli.new_file import writing
from alpha_db.evidence.cli.notes import (
    EvidenceUnreadable,
    Notes,
    judged,
    open_notes,
    seal_first,
    verdict_of,
)
from alpha_db.evidence.offline_check import LOG_OF_RUNS, Key, Policy, Refused
from alpha_db.evidence.tiles.folder import CHECKPOINT, TREE
from alpha_db.evidence.tiles.publish import Head, Published, publish
from alpha_db.evidence.tiles.source import DatabaseLog
from alpha_db.installation import Place
from alpha_db.queries import ask, ask_one
from alpha_db.verify.cli.checkpoint_options import (
    chosen_keys,
    policy_option,
    require_keys,
    trusted_keys_option,
)
from alpha_db.verify.cli.progress import progress_bar
from alpha_db.verify.cli.verify_report import worst

_FOLDER = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")

Connection = psycopg.Connection[Any]


class Result(NamedTuple):
    """What came of one log: what was published, or why nothing was."""

    log: Log
    published: Published | None
    problem: str | None
    verdict: str
    code: int


@click.command(short_help="Write the logs as static files, for any web server.")
@click.argument("directory", type=click.Path(path_type=Path, readable=False))
@table_option
@click.option(
    "--checkpoints",
    metavar="DIR|RUN",
    type=click.Path(path_type=Path, readable=False),
    help="Compare with the latest checkpoint in DIR first, and publish it. Needs --trust.",
)
@policy_option
@trusted_keys_option(required=False)
@click.option("--full", is_flag=True, help="Read all rows again, and write again what is missing or damaged.")
@database_options
def tiles(
    settings: Settings,
    as_json: bool,
    directory: Path,
    table: str | None,
    checkpoints: Path | None,
    keys: Sequence[Key],
    policy: Policy | None,
    full: bool,
) -> None:
    """Write the Merkle log of each chained table into DIRECTORY/TABLE, as C2SP tlog-tiles.

    The files have hashes only; nothing of what a row says leaves the database. Any web server or object storage can
    serve them, and anybody can compute roots and proofs from them. Later runs write only what is new. First they make
    sure that the database still holds the rows whose tiles are there. If it does not, nothing is published for that
    table, and the exit code is 1 (AUD-009). DIRECTORY/TABLE/tree says what the tiles are of, and is written last.

    With --checkpoints each log must begin with what was signed of it, and the signed note is written beside the tiles
    of the log that it is of, as DIRECTORY/checkpoint_runs/checkpoint.

    DIRECTORY is made if need be. Exit code 3 if a table or a file cannot be read or written, 5 if there is no such
    table; the others are written all the same.

    \b
    Examples:
      alpha-db tiles /srv/www/audit
      alpha-db tiles /srv/www/audit --checkpoints /mnt/checkpoints/trading \\
        --trust checkpoint.key.vkey
      alpha-db tiles /srv/www/audit --table signals
      alpha-db tiles /srv/www/audit --full
    """
    if checkpoints:
        keys = chosen_keys(keys, policy)
        require_keys(keys)
    _prepare(directory)
    notes = open_notes(checkpoints, keys, policy) if checkpoints else None
    if notes:
        only = merged_note(notes.run.notes, keys, policy)  # what others added is not published
        notes = replace(notes, run=replace(notes.run, notes=[only]))
        notes.tell_unread()
    with settings.installed() as (conn, place), Store(directory).locked(settings.seconds):
        sizes = _durable_sizes(conn, place)
        if table not in (None, *sizes):
            raise NotThere(f"{clean(table)} is not a chained table; these are: {', '.join(sizes)}")
        for name in sizes:
            if table in (None, name):
                seal_first(conn, place, name)
        with snapshot(conn) as logs:
            results = [
                _one(conn, place, log, directory, min(log.last_id, sizes.get(log.table, 0)), notes, full)
                for log in logs
                if table in (None, log.table)
            ]
    _report(directory, results, as_json)
    finish(worst([result.code for result in results]))


def _prepare(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise click.UsageError(f"{directory} is not a directory")
    if any((directory / name).is_file() for name in (TREE, CHECKPOINT)):
        raise click.UsageError(f"{directory} has a log in it: name the directory that has one for each table")
    if not directory.is_dir():
        if not directory.parent.is_dir():
            raise click.UsageError(f"there is no directory {directory.parent}")
        with writing(directory):
            directory.mkdir()


def _durable_sizes(conn: Connection, place: Place) -> dict[str, int]:
    """The size of each log, whose rows are on disk: what is published cannot be taken back by a crash."""
    sizes = {row["table"]: row["last_id"] for row in ask(conn, "logs")}
    if not place.in_recovery:  # a standby gets nothing that is not on its primary's disk
        make_durable(conn, ask_one(conn, "wal_insert_position"))
    return sizes


def _one(
    conn: Connection, place: Place, log: Log, directory: Path, size: int, notes: Notes | None, full: bool
) -> Result:
    """Publish one log. What is wrong with it keeps no other from being published."""
    try:
        log.require()
        if not _FOLDER.fullmatch(log.table):
            raise EvidenceUnreadable("the table's name cannot be that of a directory")
        folder = directory / log.table
        with (
            conn.transaction(),  # a savepoint
            progress_bar(f"tiles of {log.table}", size) as progress,
            judged(folder),
            writing(folder),
        ):
            published = publish(
                DatabaseLog(conn, log.table, log.origin, size, place.in_recovery, log.start_id),
                folder,
                signed=_signed(log, notes) if notes else None,
                every_size=log.table == LOG_OF_RUNS,
                full=full,
                progress=progress,
            )
    except (AlphaDbError, psycopg.Error) as raised:
        if conn.closed:
            raise
        problem = from_database(raised) if isinstance(raised, psycopg.Error) else raised
        said = squeeze(problem.message) + (f" ({problem.hint})" if problem.hint else "")
        return Result(log, None, said, verdict_of(problem), problem.exit_code)
    return Result(log, published, None, "holds", EXIT_OK)


def _signed(log: Log, notes: Notes) -> Head | None:
    """What a checkpoint says of a log; nothing of one that was chained since. Raises Refused."""
    found = notes.logs.get(log.table)
    if found is None:
        return None
    if notes.run.is_whole and found.origin != log.origin:
        raise Refused(f"the checkpoint is of {found.origin}, this is {log.origin}")
    return Head(found.size, found.root, notes.run.notes[0] if log.table == LOG_OF_RUNS else None)


def _report(directory: Path, results: Sequence[Result], as_json: bool) -> None:
    if as_json:
        empty = dict.fromkeys(("previous", "size", "root", "files"))
        emit_json(
            {
                "directory": str(directory),
                "logs": [
                    {"table": log.table, "origin": log.origin, "verdict": verdict}
                    | (published._asdict() | {"root": published.root.hex()} if published else empty)
                    | {"problem": problem}
                    for log, published, problem, verdict, _ in results
                ],
            }
        )
        return
    width = max((len(clean(result.log.table)) for result in results), default=0)
    for log, published, problem, verdict, _ in results:
        style, word = _WORDS[verdict]
        said = ""
        if published:
            new = published.size - published.previous
            said = f"{published.size:,} rows, {new:,} new, {published.files:,} files written"
        line(
            (word, style),
            f"  {clean(log.table):<{width}}  {said}",
            (clean(problem) if problem else "", style),
        )


_WORDS = {
    "holds": (GOOD, "ok     "),
    "refused": (BAD, "not ok "),
    "not_run": (WARN, "not run"),
    "not_there": (WARN, "absent "),
}

"""alpha-db checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alpha_db.checkpoint.create import Created
from alpha_db.checkpoint.create import Progress as Listener
from alpha_db.checkpoint.create import create as make
from alpha_db.checkpoint.keys import BadKey, SigningKey
from alpha_db.checkpoint.note import glance
from alpha_db.checkpoint.read import Checked, check_path
from alpha_db.checkpoint.store import Store, StoreError
from alpha_db.cli.common import NamedOption, Settings, database_options, finish, json_option
from alpha_db.cli.options import KEY_HELP
from alpha_db.cli.output import BAD, DIM, GOOD, WARN, PlainConsole, clean, emit_json, line, note, rows
from alpha_db.cli.trusted_keys import trusted_keys_option
from alpha_db.errors import EXIT_DAMAGE
from alpha_db.offline_check import Key

_WAIT = 60.0


@click.group()
def checkpoint() -> None:
    """Signed checkpoints of all logs, to be kept outside of the database."""


@checkpoint.command()
@click.option(
    "--name", metavar="NAME", required=True, help="Name of the key, which stands in every signature."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="New file for the private key; the public one goes into FILE.vkey.",
    metavar="FILE",
)
@json_option
def keygen(as_json: bool, name: str, output: Path) -> None:
    """Make a key that signs checkpoints; print its public half.

    The private key belongs where checkpoints are made, readable by that account only. The public key belongs to
    everybody who verifies. The encoding is the one of C2SP signed notes and of Go's note package.

    \b
    Examples:
      alpha-db checkpoint keygen --name audit.example.org/trading \\
        -o checkpoint.key
    """
    try:
        key = SigningKey.generate(name)
    except BadKey as problem:
        raise click.BadParameter(f"{problem.message}. {problem.hint}", param_hint="--name") from None
    if not output.name:
        raise click.UsageError("--output names no file")
    public = output.with_name(f"{output.name}.vkey")
    if public.exists():
        raise StoreError(f"cannot write the public key {public}: File exists")
    key.save(output)
    try:
        with public.open("x", encoding="utf-8") as stream:
            stream.write(f"{key.vkey}\n")
    except OSError as problem:
        raise StoreError(f"cannot write the public key {public}: {problem.strerror}") from None
    if as_json:
        emit_json(
            {
                "name": name,
                "key_id": key.key_id.hex(),
                "vkey": key.vkey,
                "private_file": str(output),
                "public_file": str(public),
            }
        )
        return
    line(key.vkey)
    note(("private  ", DIM), f"{clean(output)}: keep it where checkpoints are made, and nowhere else")
    note(("public   ", DIM), f"{clean(public)}: give it to everybody who verifies")


@checkpoint.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option(
    "--key",
    "key_file",
    cls=NamedOption,
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=KEY_HELP,
)
@click.option(
    "--stdout",
    "to_stdout",
    is_flag=True,
    cls=NamedOption,
    help="Write the notes to stdout, not into DIRECTORY; if that is given, they must follow the last ones there.",
)
@click.option("--wait-for-standby", is_flag=True, help="Only when every connected standby has the rows, too.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help=f"How long to wait for standbys, in seconds; default: {_WAIT:g}.",
)
@trusted_keys_option(required=False)
@database_options
def create(
    settings: Settings,
    as_json: bool,
    directory: Path | None,
    key_file: Path,
    to_stdout: bool,
    wait_for_standby: bool,
    timeout: float | None,
    keys: list[Key],
) -> None:
    """Sign where every log stands now, and write it to DIRECTORY.

    The rows are on disk before anything is signed. The last checkpoint in DIRECTORY is compared first: if this
    log is not its continuation, nothing is written, and the exit code is 1. Nothing is ever overwritten.
    --trust names other keys whose checkpoints in DIRECTORY are believed, after a change of keys.

    \b
    Examples:
      alpha-db checkpoint create --key checkpoint.key /mnt/witness/trading
      alpha-db checkpoint create --key checkpoint.key /mnt/witness/trading \\
        --wait-for-standby --timeout 300
      alpha-db checkpoint create --key new.key \\
        --trust old.key.vkey /mnt/witness/trading
      alpha-db checkpoint create --key checkpoint.key --stdout
    """
    if directory is None and not to_stdout:
        raise click.UsageError("name a DIRECTORY, or give --stdout")
    if timeout is not None and not wait_for_standby:
        raise click.UsageError("--timeout is for --wait-for-standby")
    key = SigningKey.load(key_file)
    if directory and not directory.is_dir():
        # never made by us: on a disk that is not mounted a new series would begin, and nothing be compared
        raise StoreError(
            f"there is no directory {directory}", hint=f"mkdir {directory}, if a new series begins"
        )
    store = Store(directory) if directory else None
    with settings.installed() as (conn, place), _bar() as listener:
        made = make(
            conn,
            place,
            key,
            store,
            trusted=keys,
            write=not to_stdout,
            standby_timeout=(_WAIT if timeout is None else timeout) if wait_for_standby else None,
            lock_timeout=settings.seconds,
            progress=listener,
        )
    if made.guards_changed:
        note(
            ("The guards are not those of the last checkpoint, and are signed as they are now", WARN),
            f": alpha-db guards --checkpoints {clean(made.previous)} names what changed.",
        )
    if made.broken:
        note(
            ("Rows are missing, so this checkpoint is without ", BAD),
            (clean(", ".join(made.broken)), BAD),
            ": alpha-db verify-chain tells which.",
        )
    if as_json:
        emit_json(_created(made, key, with_notes=to_stdout))
    else:
        if to_stdout:
            sys.stdout.write("\n".join(made.notes.values()))
        _tell_created(made, key, store, err=to_stdout)
    finish(EXIT_DAMAGE if made.broken else 0)


@checkpoint.command()
@click.argument("paths", nargs=-1, required=True, metavar="DIR|NOTE...")
@trusted_keys_option
@json_option
def verify(as_json: bool, paths: Sequence[str], keys: list[Key]) -> None:
    """Verify checkpoints by themselves: signatures, whole runs, sizes that never decrease. Asks no database.

    Takes directories of runs, single runs, notes, and - for notes on stdin. Exits 0 if all hold, 1 if any does
    not, 3 if something cannot be read or is no checkpoint.

    \b
    Examples:
      alpha-db checkpoint verify /mnt/witness/trading --trust checkpoint.key.vkey
      alpha-db checkpoint verify signals.note \\
        --trust 'audit.example.org/trading+0a1b2c3d+ARq…'
    """
    results = [checked for path in paths for checked in check_path(path, keys)]
    bad = [checked for checked in results if checked.reason]
    if as_json:
        emit_json({"checked": [_checked(result) for result in results]})
    else:
        _tell_checked(results)
    finish(EXIT_DAMAGE if bad else 0)


@checkpoint.command("list")
@click.argument("directory", type=click.Path(path_type=Path))
@json_option
def list_(as_json: bool, directory: Path) -> None:
    """List the runs of a directory, oldest first. Signatures are not verified: that is checkpoint verify.

    \b
    Examples:
      alpha-db checkpoint list /mnt/witness/trading
      alpha-db checkpoint list /mnt/witness/trading --json
    """
    found: list[dict[str, Any]] = []
    for stored in Store(directory).runs():
        notes = [glance(text) for text in stored.notes.values()]
        if None in notes:
            raise StoreError(f"there is a note in {stored.path} that is no checkpoint")
        told = [one for one in notes if one is not None]
        found.append(
            {
                "run": stored.name,
                "logs": len(told),
                "rows": sum(one.size for one in told),
                "guards": told[0].guards,
                "signers": sorted({one.signer for one in told}),
                "sizes": {table: one.size for table, one in zip(stored.notes, told, strict=True)},
            }
        )
    if as_json:
        emit_json(found)
    elif not found:
        line(f"There is no checkpoint in {clean(directory)}.")
    else:
        table = [
            [run["run"], f"{run['logs']}", f"{run['rows']:,}", run["guards"][:16], ", ".join(run["signers"])]
            for run in found
        ]
        rows(table, head=("run", "logs", "rows", "guards", "signed by (not verified)"), right=[1, 2])


def _created(made: Created, key: SigningKey, *, with_notes: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "run": made.name,
        "path": None if made.path is None else str(made.path),
        "previous": made.previous,
        "guards_changed": made.guards_changed,
        "signer": key.name,
        "time": made.facts[0].time,
        "standbys": made.standbys,
        "broken": made.broken,
        "logs": [
            {"table": one.table, "origin": one.origin, "size": one.size, "root": one.root.hex()}
            for one in made.facts
        ],
    }
    return document | ({"notes": made.notes} if with_notes else {})


def _tell_created(made: Created, key: SigningKey, store: Store | None, *, err: bool) -> None:
    say = note if err else line
    total = sum(one.size for one in made.facts)
    say(
        (f"Checkpoint {made.name}", GOOD),
        f": {len(made.facts)} logs, {total:,} rows, signed by {clean(key.name)}.",
    )
    if made.path:
        say(("  written to  ", DIM), clean(made.path))
    if made.standbys:
        say(("  replayed by ", DIM), clean(", ".join(made.standbys)))
    if made.previous:
        say(("  continues   ", DIM), f"{made.previous}, by a consistency proof for each log")
    elif store:
        say(f"It is the first one in {clean(store.path)}: there was nothing to compare it with.")
    else:
        say("It was compared with nothing: no directory was named.")


def _checked(result: Checked) -> dict[str, Any]:
    run = result.run
    return {
        "what": result.what,
        "ok": result.reason is None,
        "reason": result.reason,
        "is_whole_run": result.is_whole,
        "time": run.any.time if run else None,
        "signers": sorted({one.checkpoint.signer for one in run.logs.values()}) if run else [],
        "sizes": {table: one.size for table, one in run.logs.items()} if run else {},
    }


def _tell_checked(results: Sequence[Checked]) -> None:
    width = max((len(clean(result.what)) for result in results), default=0)
    for result in results:
        run = result.run
        if run is None:
            line(("not ok  ", BAD), f"{clean(result.what):<{width}}  ", clean(result.reason))
            continue
        total = sum(one.size for one in run.logs.values())
        signers = ", ".join(sorted({one.checkpoint.signer for one in run.logs.values()}))
        told = f"{len(run.logs)} logs, " if result.is_whole else ""
        line(
            ("ok      ", GOOD),
            f"{clean(result.what):<{width}}  {told}{total:,} rows, signed by {clean(signers)}",
        )
    bad = sum(result.reason is not None for result in results)
    if bad:
        line((f"{bad} of {len(results)} must not be relied on.", BAD))
        return
    line((f"All {len(results)} hold." if len(results) > 1 else "It holds.", GOOD))
    if not all(result.is_whole for result in results):
        line("A note alone does not tell whether the others of its run are there: name the directory.")


@contextmanager
def _bar() -> Iterator[Listener]:
    """Show on a terminal's stderr how far sealing has come."""
    console = PlainConsole(stderr=True)
    columns = (TextColumn("sealing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

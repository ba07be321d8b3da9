"""alpha-db migrate."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

import alpha_db
from alpha_db.cli.common import NamedOption, Settings, database_options, finish
from alpha_db.cli.optional import load
from alpha_db.cli.output import BAD, DIM, GOOD, WARN, emit_json, line, note
from alpha_db.connection import be_read_only
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN
from alpha_db.installation import RESTORE, locate
from alpha_db.migrate import Event, find_directory, read_files, read_states
from alpha_db.migrate import migrate as apply_pending
from alpha_db.migrate.state import MigrationState, Status, missing_tables

_FOR_EVER = 1_000_000.0
_STYLES = {
    Status.APPLIED: GOOD,
    Status.PENDING: WARN,
    Status.EDITED: BAD,
    Status.UNKNOWN: BAD,
    Status.FOREIGN: DIM,
}


@click.command(short_help="Apply the pending migrations.")
@click.option(
    "--list",
    "list_only",
    is_flag=True,
    cls=NamedOption,
    help="List the migrations and their state; change nothing.",
)
@click.option(
    "--check",
    is_flag=True,
    help="List them likewise, and exit 1 if any is pending or was edited; change nothing.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be applied; change nothing.")
@click.option(
    "--sources",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Directory of the .sql files; default: the package's.",
)
@click.option(
    "--role-prefix", metavar="PREFIX", help="First install: what stands before the names of the roles."
)
@database_options
def migrate(
    settings: Settings,
    as_json: bool,
    list_only: bool,
    check: bool,
    dry_run: bool,
    sources: Path | None,
    role_prefix: str | None,
) -> None:
    """Apply the pending migrations, in the first schema of the search_path.

    Leaves yoyo's marks, so "yoyo apply" and "psql -f" go on where it stopped, and the other way round.
    Running it again, or in many places at once, does no harm: one waits for the other, as long as
    --lock-timeout says. An applied file that was edited since is reported (exit 1), and so is a
    table that is gone though its migration is applied: no migration brings it back. For CI there is --check:
    it exits 0 only if every migration is applied as it is here.

    Applying needs the server itself, not a pooler such as PgBouncer: the lock that keeps two migrations apart is a
    session's. --list and --dry-run work through a pooler.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db migrate --dry-run
      alpha-db --dsn postgresql://dba@db.example/trading --schema desk_a migrate
      alpha-db migrate --schema desk_b --role-prefix desk_b_
      alpha-db migrate --list --json
      alpha-db migrate --check
    """
    if list_only + check + dry_run > 1:
        raise click.UsageError("--list, --check and --dry-run exclude each other")
    if list_only or check:
        _list(settings, sources, as_json, check=check)
        return

    def show(event: Event) -> None:
        if event.kind == "waiting":
            note("waiting for another migrate of this schema ...")
        elif not as_json:
            _show(event)

    events = apply_pending(
        settings.dsn,
        schema=settings.schema,
        role_prefix=role_prefix,
        directory=sources,
        lock_timeout=settings.seconds or _FOR_EVER,
        dry_run=dry_run,
        listener=show,
    )
    done = [event for event in events if event.kind != "waiting"]
    if as_json:
        emit_json({"dry_run": dry_run, "migrations": [asdict(event) for event in done]})
    elif not done:
        line("Nothing to apply: the database is up to date.")


def _show(event: Event) -> None:
    if event.kind == "applied":
        line(("Applied: ", GOOD), event.name, (f" in {event.milliseconds} ms", DIM))
    elif event.kind == "marked":
        line(("Marked: ", GOOD), event.name, (" (applied before, but not in yoyo's history)", DIM))
    else:
        line(("Would apply: ", WARN), event.name)


def _list(settings: Settings, sources: Path | None, as_json: bool, *, check: bool) -> None:
    files = read_files(find_directory(sources))
    with closing(settings.connect()) as conn:
        be_read_only(conn)
        states = read_states(conn, locate(conn, settings.schema), files)
        missing = missing_tables(conn, states)
    if as_json:
        emit_json([{**asdict(state), "checksum_state": state.checksum_state} for state in states])
    else:
        load("alpha_db.shell.columns:rows")(
            [_listed(state) for state in states], styles=[_STYLES[state.status] for state in states]
        )
    statuses = {state.status for state in states}
    pending = sum(state.status is Status.PENDING for state in states)
    if check and pending:
        is_are = "migration is" if pending == 1 else "migrations are"
        note((f"{pending} {is_are} pending", WARN), ": alpha-db migrate applies what is pending.")
    if Status.UNKNOWN in statuses:
        note(f"the database is newer than this alpha-db ({alpha_db.__version__}): upgrade the package")
    if missing:
        note((f"Gone, though its migration is applied: {', '.join(missing)}", BAD), f" ({RESTORE}).")
    is_bad = bool(missing) or Status.EDITED in statuses or (check and pending > 0)
    finish(EXIT_DAMAGE if is_bad else EXIT_NOT_RUN if Status.UNKNOWN in statuses else 0)


def _listed(state: MigrationState) -> list[object]:
    box = "[ ]" if state.status is Status.PENDING or (state.problem and not state.applied_at) else "[X]"
    told = {
        Status.PENDING: "pending",
        Status.EDITED: f"EDITED: {state.problem}" if state.problem else "EDITED since it was applied",
        Status.UNKNOWN: "not in this package",
        Status.FOREIGN: "not alpha-db's",
    }.get(state.status, f"checksum {state.checksum_state}")
    unmarked = state.status is Status.APPLIED and not state.is_marked
    return [box, state.name, state.applied_at, told + (", not in yoyo's history" if unmarked else "")]

"""alpha-db verify-chain."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row

from alpha_db.checkpoint.verify import Comparison
from alpha_db.cli import verify_checkpoints, verify_report
from alpha_db.cli.common import NamedOption, Settings, database_options, finish
from alpha_db.cli.output import emit_json, spinner
from alpha_db.cli.progress import progress_bar
from alpha_db.errors import EXIT_NOT_RUN, AlphaDbError
from alpha_db.offline_check import Key
from alpha_db.queries import query
from alpha_db.verification import (
    Plan,
    Range,
    by_table,
    changed_guards,
    make_plan,
    remember,
    verify_ranges,
)

#: More would take more of the server than a verification that runs beside the writers should.
DEFAULT_JOBS = min(4, os.cpu_count() or 1)


@click.command("verify-chain", short_help="Recompute every hash, tell what is damaged.")
@click.option("--table", metavar="NAME", help="One chained table; default: all.")
@click.option("--from-id", type=click.IntRange(min=1), help="First row of a range.")
@click.option("--to-id", type=click.IntRange(min=1), help="Last row of a range.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=DEFAULT_JOBS,
    show_default=True,
    help="How many connections verify ranges side by side.",
)
@click.option(
    "--since-last",
    is_flag=True,
    help="Read the rows that no earlier run with this option read, and a turn of the older ones.",
)
@click.option(
    "--full-every",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    help="With --since-last: how many runs, at most, until all rows are read again.",
)
@click.option("--no-lockdown", is_flag=True, help="Report damage, but do not engage the lockdown.")
@click.option(
    "--format",
    "output_format",
    cls=NamedOption,
    type=click.Choice(["text", "json", "prometheus"]),
    help="Default: text.",
)
@verify_checkpoints.checkpoint_options
@database_options
def verify_chain(
    settings: Settings,
    as_json: bool,
    table: str | None,
    from_id: int | None,
    to_id: int | None,
    jobs: int,
    since_last: bool,
    full_every: int,
    no_lockdown: bool,
    output_format: str | None,
    checkpoints: Path | None,
    keys: list[Key],
) -> None:
    """Recompute every hash and tell whether the log is what was written.

    Proven damage engages the lockdown, unless --no-lockdown is given or the server is a standby. Exits 0 if
    all chains are intact (or their damage is acknowledged), 1 for damage or changed guards, 3 if something
    could not be checked.

    Tables are read in ranges, each a snapshot of its own, so no writer waits and no snapshot is held for long.
    With --since-last a run that finds nothing wrong is remembered in verification_runs.

    With --checkpoints the rows are compared with what was signed, too: a cut tail, a rewritten chain, an older copy
    and changed guards show only there. A directory that is unreadable or empty is exit code 3.

    \b
    Examples:
      alpha-db verify-chain
      alpha-db verify-chain --table signals --from-id 1000 --to-id 2000
      alpha-db verify-chain --since-last --full-every 24
      alpha-db verify-chain --jobs 8 --no-lockdown --json
      alpha-db verify-chain --format prometheus > alpha_db.prom
      alpha-db verify-chain --checkpoints /mnt/witness/trading --key checkpoint.key.vkey
    """
    if as_json and output_format not in (None, "json"):
        raise click.UsageError(f"--json and --format {output_format} exclude each other")
    if from_id is not None and to_id is not None and to_id < from_id:
        raise click.UsageError(f"--to-id {to_id} is before --from-id {from_id}")
    if since_last and (table or from_id or to_id):
        raise click.UsageError(
            "--since-last excludes --table, --from-id and --to-id: it reads what is due of all"
        )
    wish = Wish(table, from_id, to_id, jobs, since_last, full_every, engage_lockdown=not no_lockdown)
    against = verify_checkpoints.read_checkpoints(checkpoints, keys, is_range=wish.is_range)
    form = "json" if as_json else output_format or "text"
    started = time.monotonic()
    try:
        results, lockdown, run, signed = _verify(settings, wish, against)
    except (AlphaDbError, psycopg.Error):
        if form == "prometheus":
            # a scraper must see that nothing was verified, not the values of yesterday
            click.echo(verify_report.prometheus([], None, time.monotonic() - started, EXIT_NOT_RUN), nl=False)
        raise
    code = verify_report.exit_code([*results, *(signed.results if signed else [])])
    if form == "json":
        also = {"checkpoints": verify_checkpoints.document(signed)} if signed else {}
        emit_json({"exit_code": code, "lockdown": lockdown, "run": run, "tables": results} | also)
    elif form == "prometheus":
        more = verify_checkpoints.metrics(signed) if signed else []
        seconds = time.monotonic() - started
        click.echo(verify_report.prometheus(results, lockdown, seconds, code, more), nl=False)
    else:
        verify_report.text(results, lockdown)
        verify_report.remembered(run)
        if signed:
            verify_checkpoints.text(signed)
    finish(code)


@dataclass(frozen=True)
class Wish:
    """What is to be verified, and how."""

    table: str | None
    from_id: int | None
    to_id: int | None
    jobs: int
    since_last: bool
    full_every: int
    engage_lockdown: bool

    @property
    def is_range(self) -> bool:
        """Whether only some rows are to be read: guards belong to the whole."""
        return self.from_id is not None or self.to_id is not None


def _verify(
    settings: Settings, wish: Wish, against: verify_checkpoints.Against | None
) -> tuple[list[dict[str, Any]], dict[str, Any] | None, dict[str, Any] | None, Comparison | None]:
    """Return a verdict for each table, the lockdown's state if it may be read, the run if it is remembered, and
    the comparison with the checkpoints.
    """
    run = signed = None
    with settings.installed() as (conn, _):
        plan = make_plan(conn, since_last=wish.since_last, full_every=wish.full_every)
        plan = plan.within(wish.table, wish.from_id, wish.to_id)
        if wish.table and not plan.ranges:  # no such chain: the database says so
            plan = Plan((Range(wish.table, wish.from_id, wish.to_id),), is_full=False)
        # the connections are in autocommit, so an engaged lockdown is committed before anything is printed
        with progress_bar(f"verifying {wish.table or 'all chains'}", len(plan.ranges)) as progress:
            verdicts = verify_ranges(
                settings.connect,
                plan.ranges,
                jobs=wish.jobs,
                engage_lockdown=wish.engage_lockdown,
                on_progress=progress,
            )
        results = by_table(verdicts, {} if wish.is_range else changed_guards(conn))
        if wish.since_last:
            number = remember(conn, plan, results)
            run = {"id": number, "is_full": plan.is_full}
        if against:
            with spinner("comparing with the checkpoints"):
                signed = against.compare(conn, wish.table, engage_lockdown=wish.engage_lockdown)
        try:
            lockdown = conn.cursor(row_factory=dict_row).execute(query("lockdown_status")).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            lockdown = None
    return results, lockdown, run, signed

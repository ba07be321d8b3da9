"""alpha-db verify-chain."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import click
import psycopg
from click.core import ParameterSource

from alpha_db.cli import boundary
from alpha_db.cli.common import NamedOption, Settings, database_options, finish
from alpha_db.cli.optional import load
from alpha_db.cli.options import Integer, table_option
from alpha_db.cli.output import emit_json, note, put, want_json
from alpha_db.errors import (
    EXIT_NOT_RUN,
    EXIT_OK,
    AlphaDbError,
    ConnectionFailed,
    RecoveryConflict,
    from_database,
)
from alpha_db.sqlstates import READ_AGAIN
from alpha_db.verify.again import Reader
from alpha_db.verify.cli import verify_report
from alpha_db.verify.cli.all_schemas import AllSchemas, Words
from alpha_db.verify.cli.checkpoint_options import (
    checkpoint_options,
    chosen_keys,
    policy_option,
    require_keys,
)
from alpha_db.verify.cli.engaging import (
    ENGAGE_FOR,
    Again,
    Engager,
    engage_for_option,
    engaged_now,
    lockdown_of,
)
from alpha_db.verify.cli.progress import progress_bar
from alpha_db.verify.courtesy import LOCKDOWN, tell
from alpha_db.verify.locks import timed_out
from alpha_db.verify.ranges import (
    LAST_TRIES,
    Plan,
    Range,
    Verdict,
    by_table,
    changed_guards,
    is_missing,
    is_overtaken,
    left_out,
    make_plan,
    not_run,
    remember,
    verify_range,
    verify_ranges,
)

#: The greatest id that a table can hold.
LAST_ID = 2**63 - 1

#: More would take more of the server than a verification that runs beside the writers should.
DEFAULT_JOBS = min(4, os.cpu_count() or 1)


def _read_format(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Answer in JSON from here on, if that is the format; in an error, too."""
    if value == "json":
        want_json(True)
    return value


@click.command("verify-chain", short_help="Recompute every hash, tell what is damaged.")
@table_option
@click.option(
    "--from-id",
    metavar="ID",
    type=Integer(1, LAST_ID),
    help="First row; default: the first that is not archived.",
)
@click.option("--to-id", metavar="ID", type=Integer(1, LAST_ID), help="Last row; default: the last there is.")
@click.option(
    "--jobs",
    type=Integer(1, 64),
    default=DEFAULT_JOBS,
    show_default="4, or as many as there are processors",
    help="How many connections read side by side.",
)
@click.option(
    "--since-last",
    is_flag=True,
    help="Read the rows that no earlier run with this option read, and a turn of the older ones.",
)
@click.option(
    "--full-every",
    type=Integer(min=1),
    default=24,
    show_default=True,
    help="With --since-last: in how many runs, one after the other, all rows are read.",
)
@click.option("--no-lockdown", is_flag=True, help="Report damage, but do not engage the lockdown.")
@engage_for_option
@click.option(
    "--format",
    "output_format",
    cls=NamedOption,
    type=click.Choice(["text", "json", "prometheus"]),
    is_eager=True,
    callback=_read_format,
    help="Default: text.",
)
@policy_option
@checkpoint_options
@database_options
@AllSchemas(
    Words("intact", "not intact"),
    must=("checkpoints",),
    excludes=("from_id", "to_id"),
    concludes=verify_report.CONCLUSIONS,
)
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
    engage_for: float,
    output_format: str | None,
    checkpoints: Path | None,
    without: tuple[str, ...],
    keys: list[Any],
    policy: Any,
) -> None:
    """Recompute every hash and tell whether the log is what was written.

    Proven damage engages the lockdown, unless --no-lockdown is given or the server is a standby. Exits 0 if
    all chains are intact (or their damage is acknowledged), 1 for damage or changed guards, 3 if something
    could not be checked, 4 for damage while the lockdown or its event could not be recorded, 5 if the table or
    some of the rows that were asked for are not there. A table that is gone is damage. What can be read is
    verified in every case.

    Tables are read in ranges, each a snapshot of its own, so no writer waits and no snapshot is held for long.
    With --since-last a run that finds no damage is remembered in verification_runs. While the lockdown is
    engaged, such a run reads all rows, so that it finds the damage again. If another run was recorded since it
    began, it is not remembered: its result stands, and the exit code is the same.

    With --checkpoints the rows are compared with what was signed, too: a cut tail, a rewritten chain, an older copy
    and changed guards show only there. A directory or a note that cannot be read is exit code 3, an empty or missing
    directory 5; what can be read is compared all the same.

    \b
    Examples:
      alpha-db verify-chain
      alpha-db verify-chain --table signals --from-id 1000 --to-id 2000
      alpha-db verify-chain --since-last --full-every 24
      alpha-db verify-chain --jobs 8 --no-lockdown --json
      alpha-db verify-chain --format prometheus > alpha_db.prom
      alpha-db verify-chain --checkpoints /mnt/checkpoints/trading \\
        --trust checkpoint.key.vkey
      alpha-db verify-chain --checkpoints /mnt/checkpoints/trading \\
        --policy witnesses.policy
      alpha-db verify-chain --all-schemas \\
        --checkpoints '/mnt/checkpoints/{schema}' \\
        --trust 'keys/{schema}.key.vkey'
    """
    if as_json and output_format not in (None, "json"):
        raise click.UsageError(f"--json and --format {output_format} exclude each other")
    if from_id is not None and to_id is not None and to_id < from_id:
        raise click.UsageError(f"--to-id {to_id} is before --from-id {from_id}")
    if since_last and (table or from_id or to_id):
        raise click.UsageError(
            "--since-last excludes --table, --from-id and --to-id: it reads what is due of all"
        )
    source = click.get_current_context().get_parameter_source("full_every")
    if source is ParameterSource.COMMANDLINE and not since_last:
        raise click.UsageError("--full-every needs --since-last: without it every run reads all rows")
    wish = Wish(table, from_id, to_id, jobs, since_last, full_every, not no_lockdown, engage_for)
    against = _read_checkpoints(checkpoints, without, keys, policy, is_range=wish.is_range)
    form = "json" if as_json else output_format or "text"
    started = time.monotonic()
    try:
        found = _verify(settings, wish, against)
    except (AlphaDbError, psycopg.Error) as problem:
        if form == "prometheus":
            # a scraper must see that nothing was verified, not the values of yesterday
            seconds, failed = time.monotonic() - started, boundary.told(problem)[0]
            click.echo(verify_report.prometheus([], None, seconds, failed), nl=False)
        raise
    results, signed = found.results, found.signed
    code = verify_report.exit_code(
        [*results, *(signed.results if signed else [])], is_recorded=found.is_recorded
    )
    code = code or (EXIT_NOT_RUN if found.run and found.run.get("problem") else EXIT_OK)
    if form == "json":
        document = {
            "lockdown": found.lockdown,
            "lockdown_recorded": found.is_recorded,
            "run": found.run,
            "tables": results,
        }
        also = {"checkpoints": signed.document()} if signed else {}
        emit_json(document | also)
    elif form == "prometheus":
        more = signed.metrics() if signed else []
        seconds = time.monotonic() - started
        metrics = verify_report.prometheus(results, found.lockdown, seconds, code, more)
        put(lambda stream: stream.write(metrics))
    else:
        is_part = found.run is not None and not found.run["is_full"]
        verify_report.text(results, found.lockdown, is_recorded=found.is_recorded, is_part=is_part)
        verify_report.remembered(found.run)
        if signed:
            signed.text()
    finish(code)


class Compared(Protocol):
    """What the comparison with checkpoints found. Source: alpha_db.evidence.cli.verify_checkpoints."""

    @property
    def results(self) -> list[dict[str, Any]]: ...
    def places(self) -> list[Again]: ...
    def document(self) -> dict[str, Any]: ...
    def metrics(self) -> verify_report.Metrics: ...
    def text(self) -> None: ...


class Checkpoints(Protocol):
    """The checkpoints to compare with."""

    def compare(
        self, reader: Reader, table: str | None, *, engage_lockdown: bool, side_by_side: Mapping[str, Any]
    ) -> Compared: ...


def _read_checkpoints(
    directory: Path | None, without: tuple[str, ...], keys: list[Any], policy: Any, *, is_range: bool
) -> Checkpoints | None:
    """Return the checkpoints that the options name, None if they name none."""
    if directory is None:
        if without or policy:
            raise click.UsageError(f"{'--without' if without else '--policy'} needs --checkpoints")
        return None
    if is_range:
        raise click.UsageError(
            "a checkpoint is of all rows: --checkpoints and a range of ids exclude each other"
        )
    keys = chosen_keys(keys, policy)
    require_keys(keys)
    read: Callable[..., Checkpoints] = load("alpha_db.evidence.cli.verify_checkpoints:read_checkpoints")
    return read(directory, without, keys, policy)


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
    engage_for: float = ENGAGE_FOR

    @property
    def is_range(self) -> bool:
        """Whether only some rows are to be read: guards belong to the whole."""
        return self.from_id is not None or self.to_id is not None


@dataclass
class Found:
    """A verdict for each table, the lockdown's state if it may be read, and what came of remembering and comparing.

    `is_recorded` says whether damage has engaged the lockdown and its event is recorded; None without damage, or
    if no lockdown was asked for.
    """

    results: list[Verdict]
    lockdown: dict[str, Any] | None = None
    is_recorded: bool | None = None
    run: dict[str, Any] | None = None
    signed: Compared | None = None


def _verify(settings: Settings, wish: Wish, against: Checkpoints | None) -> Found:
    with settings.installed() as (opened, place), closing(Reader(settings.connect, opened)) as reader:
        since_last = wish.since_last and not _is_locked(opened)
        again: list[int] = []
        plan = reader.read(partial(make_plan, since_last=since_last, full_every=wish.full_every), LAST_TRIES)
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
                on_fewer=_say_fewer,
                on_again=again.append,
                spare=reader,
            )
        conn = reader.conn
        _say_locked(conn, verdicts)
        _say_cancelled(verdicts)
        engager = Engager(settings, conn, seconds=wish.engage_for, can_write=not place.is_read_only)
        damaged: list[Again] = [
            partial(verify_range, item=item, engage_lockdown=True)
            for item, verdict in zip(plan.ranges, verdicts, strict=True)
            if verdict["error_code"] == "AUD-009"
        ]
        if wish.engage_lockdown:  # first of all: what comes below could fail
            engager.see_to(damaged)
        if wish.table is None:
            verdicts += _left_out(reader, plan)
        guards, unknown = ({}, None) if wish.is_range else _guards(reader)
        conn = reader.conn
        found = Found(by_table(verdicts, guards, from_id=wish.from_id, table=wish.table))
        for row in found.results if unknown else []:
            if row["verdict"] == "intact" and (wish.table or row["table_name"] == "guard_states"):
                row |= {"is_valid": None, "verdict": "not_run", "detail": unknown}
        if against:
            with progress_bar("comparing with the checkpoints", 1) as progress:
                found.signed = against.compare(
                    reader,
                    wish.table,
                    engage_lockdown=wish.engage_lockdown,
                    side_by_side={
                        "connect": settings.connect,
                        "jobs": wish.jobs,
                        "on_progress": progress,
                        "on_fewer": _say_fewer,
                        "on_again": _say_again,
                    },
                )
            conn = reader.conn
            if wish.engage_lockdown:
                engager.see_to(found.signed.places())
        if wish.since_last:  # last of all: a run that finds damage is not remembered
            found.run = _remember(conn, plan, found, verdicts)
        _say_again(reader.conflicts + sum(again))
        found.is_recorded, found.lockdown = engager.is_recorded, lockdown_of(conn)
        if found.is_recorded:
            for row in found.results:
                row["detail"] = engaged_now(row["detail"])
            for signed in found.signed.results if found.signed else []:
                signed["detail"] = engaged_now(signed["detail"])
            tell(conn, LOCKDOWN)
    return found


def _is_locked(conn: psycopg.Connection[Any]) -> bool:
    """Whether damage is known: then a part of the rows could be intact beside it, and the run would look well."""
    lockdown = lockdown_of(conn)
    return lockdown is not None and lockdown["is_locked"] is True


def _say_fewer(number: int, problem: ConnectionFailed) -> None:
    """Say that fewer connections than wanted were to be had."""
    read = f"{number} {'connection' if number == 1 else 'connections'}" if number else "the one that is open"
    note(f"verifying over {read}, because another could not be opened: {problem}")


def _say_again(conflicts: int) -> None:
    """Say how often a standby cancelled what was read, if it did, and that it was read again."""
    if conflicts:
        times = "once" if conflicts == 1 else f"{conflicts} times"
        note(f"this standby cancelled what was read, to go on replaying, {times}; it was read again")


def _say_cancelled(verdicts: list[Verdict]) -> None:
    """Say once what to do if a standby cancelled a range each time that it was read."""
    for verdict in verdicts:
        if verdict["verdict"] == "not_run" and (verdict["detail"] or "").endswith("(40001)"):
            told = RecoveryConflict(
                f"a part of {verdict['table_name']} could not be read on this standby",
                detail=verdict["detail"],
                hint=READ_AGAIN,
                sqlstate="40001",
            )
            boundary.say(boundary.one_line(told))
            return


def _say_locked(conn: psycopg.Connection[Any], verdicts: list[Verdict]) -> None:
    """Say once who holds what could not be read, because it was locked."""
    if any(
        verdict["verdict"] == "not_run" and "(55P03)" in (verdict["detail"] or "") for verdict in verdicts
    ):
        boundary.say(boundary.one_line(timed_out(conn, psycopg.errors.LockNotAvailable())))


def _guards(reader: Reader) -> tuple[dict[str, str], str | None]:
    """Return what of the guards is changed, by chain, and why that cannot be told, if it cannot."""
    try:
        return reader.read(changed_guards, LAST_TRIES), None
    except (AlphaDbError, psycopg.Error) as raised:
        if isinstance(raised, psycopg.Error) and is_missing(raised):
            gone = raised.diag.message_primary
            return {"guard_states": f"what compares the guards is gone: {gone}"}, None
        problem = from_database(raised) if isinstance(raised, psycopg.Error) else raised
        return {}, f"the guards could not be compared: {problem} ({problem.sqlstate})"


def _left_out(reader: Reader, plan: Plan) -> list[Verdict]:
    """Return verdicts on the chains that the plan does not name, or one on the register if it cannot be read."""
    try:
        return reader.read(partial(left_out, plan=plan), LAST_TRIES)
    except (AlphaDbError, psycopg.Error) as raised:
        problem = from_database(raised) if isinstance(raised, psycopg.Error) else raised
        return [not_run(Range("chains"), f"the register of the chains could not be read: {problem}")]


def _remember(
    conn: psycopg.Connection[Any], plan: Plan, found: Found, verdicts: list[Verdict]
) -> dict[str, Any]:
    """Return the run that was remembered. One that should have been, and could not, is said on stderr.

    One that another run overtook is not recorded, which is no failure: what it read is verified, and the other counts.
    """
    run = {"id": None, "is_full": plan.is_full, "full_every": plan.full_every, "turn": plan.turn}
    signed = found.signed.results if found.signed else []
    if any(verify_report.is_bad(row) and row["verdict"] != "guard_changed" for row in signed):
        return run
    try:
        return run | {"id": remember(conn, plan, found.results, verdicts)}
    except psycopg.errors.LockNotAvailable as raised:
        problem: AlphaDbError = timed_out(conn, raised)
    except psycopg.Error as raised:
        problem = from_database(raised)
        if is_overtaken(raised):
            return run | {"note": problem.message}
    boundary.say(boundary.one_line(problem))
    return run | {"problem": problem.message}

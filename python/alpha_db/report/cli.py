"""alpha-db report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import click

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.options import FILE
from alpha_db.cli.output import BAD, DIM, GOOD, WARN, clean, emit_json, leave_stdout, line
from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.evidence.checkpoint.history import History, Run, read_history
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.store import Store, StoreError
from alpha_db.evidence.cli.key_pair import open_key, vkey_option
from alpha_db.evidence.cli.new_file import force_option, new_file, refuse_existing
from alpha_db.evidence.offline_check import Key, Policy, shown
from alpha_db.report.page import Signer, render
from alpha_db.report.proofs import prove
from alpha_db.report.reading import Reading, one_moment, read_all
from alpha_db.report.verdict import Verdict, judge
from alpha_db.security.key_option import KEY, KEY_HELP
from alpha_db.shell.columns import rows
from alpha_db.verify.cli.checkpoint_options import (
    all_keys,
    checkpoint_options,
    policy_option,
)
from alpha_db.verify.cli.progress import spinner

_STYLES = {"good": GOOD, "bad": BAD, "warn": WARN, "unknown": WARN}
_SIGNS = {"good": "ok     ", "bad": "not ok ", "warn": "note   ", "unknown": "not run"}


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Return a time; a day begins at midnight, in UTC."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        said = f"{shown(value)} is not a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z"
        raise click.BadParameter(said) from None


@dataclass(frozen=True)
class _Against:
    """What the report is compared with: the checkpoints, whose they are, and who must have cosigned."""

    directory: Path | None
    history: History
    problem: AlphaDbError | None
    keys: Sequence[Key]
    policy: Policy | None

    @property
    def run(self) -> Run | None:
        """The latest run whose row could be read."""
        return next((run for run in reversed(self.history.runs) if run.is_whole), None)


@click.command(short_help="Write one HTML page: verdict, figures, charts, trades, proofs.")
@click.option(
    "--from", "begins_at", metavar="DATE", callback=_moment, help="First day or time (UTC); default: of all."
)
@click.option(
    "--to", "ends_at", metavar="DATE", callback=_moment, help="The day or time behind the last (UTC)."
)
@click.option(
    "--correlation", "correlation_id", metavar="ID", type=click.UUID, help="One trade, whole, of any time."
)
@checkpoint_options
@policy_option
@click.option("--key", metavar="KEY", type=KEY, help=KEY_HELP)
@vkey_option
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    type=FILE,
    required=True,
    help="Where the page goes; - is standard output.",
)
@force_option
@database_options
def report(
    settings: Settings,
    as_json: bool,
    begins_at: datetime | None,
    ends_at: datetime | None,
    correlation_id: UUID | None,
    checkpoints: Path | None,
    without: Sequence[str],
    keys: list[Key],
    policy: Policy | None,
    key: str | None,
    public: Path | None,
    output: Path,
    force: bool,
) -> None:
    """Write a report for people who would rather look than query: one HTML file, which needs no network.

    Every hash is recomputed for it, and compared with the checkpoints, in one transaction that records nothing. The
    page says first what was checked and what could not be. It has figures, charts, and the newest trades with each of
    their rows, which it verifies by itself in the browser. --key signs the page; alpha-db checkpoint keygen makes one.

    Exits 0 if the log is intact, 1 for damage, changed guards and a lockdown, 3 if something could not be checked (the
    page is written, and says so), 5 for an unknown --correlation.

    \b
    Examples:
      alpha-db report --from 2027-01-01 --to 2028-01-01 -o 2027.html \\
        --checkpoints checkpoints/ --trust desk.vkey
      alpha-db report -o trade.html \\
        --correlation 6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f
    """
    if correlation_id and (begins_at or ends_at):
        raise click.UsageError("--correlation is one trade, of any time: leave --from and --to out")
    if begins_at and ends_at and begins_at >= ends_at:
        raise click.UsageError("--from must be before --to, which is not part of the period")
    if str(output) == "-":
        leave_stdout()
    else:
        refuse_existing(output, force)
    signer = _signer(key, public)
    against = _read(checkpoints, without, keys, policy)
    given = (str(checkpoints), against.history, against.problem) if checkpoints else None
    with (
        settings.installed() as (conn, place),
        spinner("recomputing every hash for the report"),
        one_moment(conn),
    ):
        reading = read_all(conn, place.schema, begins_at, ends_at, correlation_id, given)
        run = _run_here(against, reading)
        proofs = prove(conn, run, reading.trades.rows)
    verdict = judge(reading, policy)
    page = render(reading, verdict, proofs, run, keys=against.keys, policy=policy, signer=signer)
    with new_file(output, force) as stream:
        stream.write(page)
    _tell(output, page, reading, verdict, as_json)
    finish(verdict.state.exit_code)


def _read(directory: Path | None, without: Sequence[str], keys: list[Key], policy: Policy | None) -> _Against:
    if directory is None:
        return _Against(None, History(), None, keys, policy)
    trusted = all_keys(keys, policy)
    try:
        return _Against(
            directory, read_history(Store(directory, without), trusted, policy), None, trusted, policy
        )
    except (StoreError, NotThere) as problem:  # the page says so
        return _Against(directory, History(), problem, trusted, policy)


def _signer(given: str | None, public: Path | None) -> Signer | None:
    """Return what signs a page's seal as a note; None without a key."""
    if given is None:
        return None
    key = open_key(SigningKey, given, public)

    def sign(seal: str) -> dict[str, str]:
        text = f"alpha-db/report/v1\nsha256: {seal}\n"
        return {"note": f"{text}\n{key.sign(text)}", "key": key.vkey}

    return Signer(key.vkey, sign)


def _run_here(against: _Against, reading: Reading) -> Run | None:
    """The run that proofs are made for; none of another database's, which the verdict names."""
    run = against.run
    return run if run and run.facts and run.facts.installation == reading.installation else None


def _tell(output: Path, page: bytes, reading: Reading, verdict: Verdict, as_json: bool) -> None:
    if as_json:
        period = reading.period
        figures = reading.activity.figures.rows if reading.activity else []
        emit_json(
            {
                "path": str(output),
                "bytes": len(page),
                "sha256": sha256(page).hexdigest(),
                "verdict": verdict.word,
                "headline": verdict.headline,
                "found": [said for _, said in verdict.found],
                "from": period.begins_at if period else None,
                "to": period.ends_at if period else None,
                "figures": {row["figure"]: row["number"] for row in figures},
            }
        )
        return
    if str(output) == "-":
        return
    line((verdict.headline, _STYLES[verdict.kind]))
    rows(
        [[_SIGNS[kind], said] for kind, said in verdict.found],
        styles=[_STYLES[kind] for kind, _ in verdict.found],
        indent="  ",
    )
    line(f"{clean(output)}  ", (f"{len(page):,} bytes", DIM))
    line("  SHA-256 ", sha256(page).hexdigest())

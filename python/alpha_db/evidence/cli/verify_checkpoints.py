"""verify-chain --checkpoints: the comparison, and what is printed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from alpha_db.cli.output import BAD, DIM, GOOD, HEAD, WARN, clean, line
from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.evidence.checkpoint.blocks import Hands
from alpha_db.evidence.checkpoint.history import History, read_history
from alpha_db.evidence.checkpoint.store import Store, StoreError
from alpha_db.evidence.checkpoint.verify import GUARDS, Comparison, Done, compare, not_compared, verify_again
from alpha_db.evidence.offline_check import Key, Policy
from alpha_db.queries import Row
from alpha_db.shell.columns import rows
from alpha_db.verify.again import Reader
from alpha_db.verify.cli.engaging import Again
from alpha_db.verify.cli.verify_report import Metrics, is_absent, is_bad, is_open

#: How often a comparison goes on after conflicts with recovery; each of its subjects has a few attempts of its own.
MOST_TRIES = 100


@dataclass(frozen=True)
class Compared:
    """A comparison of a database with the checkpoints of a directory, as verify-chain asks for it."""

    found: Comparison
    history: History

    @property
    def results(self) -> list[Row]:
        """The verdicts."""
        return self.found.results

    def places(self) -> list[Again]:
        """Return what is damage, each as a call that compares it again and engages the lockdown."""
        return [
            partial(verify_again, signed=run.logs[row["table_name"]])
            for row in self.results
            if row["error_code"] == "AUD-009" and row["table_name"]
            for run in self.history.runs
            if run.name == row["run"] and row["table_name"] in run.logs
        ]

    def document(self) -> dict[str, Any]:
        """Return the comparison as a member of the JSON document."""
        return document(self.found)

    def metrics(self) -> Metrics:
        """Return the comparison as metrics."""
        return metrics(self.found)

    def text(self) -> None:
        """Print what is not as signed, and the conclusion."""
        text(self.found)


@dataclass
class Against:
    """The checkpoints of a directory, read and verified before the database is asked."""

    directory: Path
    history: History = field(default_factory=History)
    problem: AlphaDbError | None = None

    def compare(
        self, reader: Reader, table: str | None, *, engage_lockdown: bool, side_by_side: Mapping[str, Any]
    ) -> Compared:
        """Compare a database with them. Raises nothing: what could not be compared is a finding.

        What a standby cancelled is compared again, and only that. `side_by_side` is what Hands takes.
        """
        name, done, hands = str(self.directory), Done(), Hands(**side_by_side)
        if self.problem:
            return Compared(not_compared(name, self.problem), self.history)

        def compared(conn: psycopg.Connection[Any]) -> Comparison:
            return compare(
                conn, name, self.history, table=table, engage_lockdown=engage_lockdown, done=done, hands=hands
            )

        try:
            return Compared(reader.read(compared, tries=MOST_TRIES), self.history)
        except (AlphaDbError, psycopg.Error) as problem:
            return Compared(not_compared(name, problem, self.history), self.history)


def read_checkpoints(
    directory: Path, without: Sequence[str], keys: list[Key], policy: Policy | None = None
) -> Against:
    """Read the checkpoints of a directory, the latest of which must be cosigned as a policy demands.

    A directory that cannot be read, or is not there, stands with the results: the chains are verified all the same.
    """
    try:
        return Against(directory, read_history(Store(directory, without), keys, policy))
    except (StoreError, NotThere) as problem:
        return Against(directory, problem=problem)


def document(found: Comparison) -> dict[str, Any]:
    """Return the comparison as a member of the JSON document."""
    latest = found.latest
    return {
        "directory": found.directory,
        "runs": found.runs,
        "latest": latest.name if latest else None,
        "time": latest.facts.time if latest and latest.facts else None,
        "results": found.results,
    }


def text(found: Comparison) -> None:
    """Print what is not as signed, and the conclusion."""
    line()
    latest = found.latest
    if latest:
        made = f", made {clean(latest.facts.time)}" if latest.facts else ""
        line((f"Compared with run {clean(latest.name)}", HEAD), f" of {clean(found.directory)}{made}")
    else:
        line(("Compared with nothing", HEAD), f": no run in {clean(found.directory)} can be relied on")
    quiet = [row for row in found.results if not _is_loud(row)]
    for row in found.results:
        if _is_loud(row):
            _tell(row)
    if quiet:
        logs = [row for row in quiet if row["subject"] != GUARDS]
        total = sum(row["size"] or 0 for row in logs)
        guards = ", and the guards" if len(logs) < len(quiet) else ""
        line(
            ("ok     ", GOOD), f"  {len(logs)} {'log' if len(logs) == 1 else 'logs'}, {total:,} rows{guards}"
        )
    line(_conclusion(found))


def metrics(found: Comparison) -> Metrics:
    """Return the comparison as metrics."""
    known = [row for row in found.results if row["table_name"] and not is_open(row) and not is_absent(row)]
    result: list[Any] = [
        (
            "checkpoint_valid",
            "1: the rows are those that the latest checkpoint covers, or it is acknowledged that they are not.",
            [({"table": row["table_name"]}, int(not is_bad(row))) for row in known],
        ),
        (
            "checkpoint_findings",
            "How many findings the comparison with the checkpoints had, by verdict.",
            [
                ({"verdict": verdict}, sum(row["verdict"] == verdict for row in found.results))
                for verdict in sorted({row["verdict"] for row in found.results})
            ],
        ),
    ]
    if found.latest and found.latest.facts:
        made = f"{found.latest.facts.time.timestamp():.0f}"
        result.append(
            ("checkpoint_timestamp_seconds", "When the latest checkpoint was made, Unix time.", [({}, made)])
        )
    return result


def _is_loud(row: Row) -> bool:
    return is_bad(row) or is_open(row) or is_absent(row) or row["verdict"] in ("acknowledged", "archived")


def _tell(row: Row) -> None:
    style = BAD if is_bad(row) else WARN
    word = "not ok" if is_bad(row) else "not run" if is_open(row) else "absent" if is_absent(row) else "ok"
    place = "" if row["broken_id"] is None else f" at id {row['broken_id']}"
    code = f" ({row['error_code']})" if row["error_code"] else ""
    line(
        (f"{word:<7}", style),
        f"  {clean(row['subject'])}  ",
        (clean(f"{row['verdict']}{place}{code}"), style),
    )
    told = [("expected", row["expected_hash"]), ("actual", row["actual_hash"]), ("detail", row["detail"])]
    rows([[name, value] for name, value in told if value], styles=[DIM] * 3, indent=" " * 9)


def _conclusion(found: Comparison) -> tuple[str, str]:
    run = clean(found.latest.name) if found.latest else ""
    bad = [row for row in found.results if is_bad(row)]
    refused = [row["subject"] for row in bad if row["verdict"] == "checkpoint_refused"]
    damaged = [row for row in bad if row["verdict"] not in ("checkpoint_refused", "guard_changed")]
    said = []
    if damaged:
        places = ", ".join(
            clean(row["subject"])
            + (f" ({row['missing_rows']:,} rows missing)" if row["missing_rows"] else "")
            for row in damaged
        )
        said.append(f"NOT WHAT WAS SIGNED: {places}.")
    if refused:
        said.append(f"Checkpoints not to be relied on: {clean(', '.join(refused))}.")
    if any(row["verdict"] == "guard_changed" for row in bad):
        said.append(f"Guards changed since {run}.")
    unknown = [row["subject"] for row in found.results if is_open(row) or is_absent(row)]
    if unknown:
        said.append(f"Not compared, so nothing is known of: {clean(', '.join(unknown))}.")
    if said:
        return " ".join(said), BAD if bad else WARN
    archived = [row["subject"] for row in found.results if row["verdict"] == "archived"]
    if archived:
        return (
            f"As signed in {run}, but for {clean(', '.join(archived))}: what was signed of it is archived since, and"
            " alpha-db verify-export compares the segment. A new checkpoint covers what is here.",
            WARN,
        )
    known = [row["subject"] for row in found.results if row["verdict"] == "acknowledged"]
    if known:
        return (
            f"As signed in {run}, but for {clean(', '.join(known))}: a lockdown release acknowledged that rows are"
            " missing or others, so the rest of it is compared with nothing.",
            WARN,
        )
    return f"As signed in {run}.", GOOD

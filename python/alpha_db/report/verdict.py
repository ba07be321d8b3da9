"""The verdict of a report: one of four states, and what it stands on, in sentences that stand first on the page.

Not being able to check is a state of its own: never "intact", and never "damaged".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_OK
from alpha_db.evidence.checkpoint.history import Run
from alpha_db.evidence.checkpoint.quorum import cosigners
from alpha_db.evidence.checkpoint.verify import Comparison
from alpha_db.evidence.offline_check import LOG_OF_RUNS, Policy
from alpha_db.queries import Row
from alpha_db.report.reading import Reading, Verification
from alpha_db.report.texts import brief
from alpha_db.verify.cli.verify_report import is_absent, is_bad, is_open

Kind = Literal["good", "bad", "warn", "unknown"]
IN_ITSELF = "INTACT IN ITSELF, but compared with no checkpoint"
GUARDS = "NOT INTACT: what protects the rows was changed"
REFUSED = "NOT INTACT: a checkpoint must not be relied on"
ACKNOWLEDGED = "INTACT but for damage that agents acknowledged"


class State(Enum):
    """What can be said of a log: a word, the kind that the page shows it as, and the exit code."""

    INTACT = "intact", "good", EXIT_OK
    DAMAGED = "damaged", "bad", EXIT_DAMAGE
    LOCKED = "locked down", "bad", EXIT_DAMAGE
    UNCHECKED = "could not be checked", "unknown", EXIT_NOT_RUN

    @property
    def word(self) -> str:
        """The state in a word or a few."""
        return self.value[0]

    @property
    def kind(self) -> Kind:
        """How a page shows it."""
        return self.value[1]

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return self.value[2]


@dataclass(frozen=True)
class Verdict:
    """The state, a sentence for it and how a page shows it; what was checked and found, each with its kind."""

    state: State
    kind: Kind
    headline: str
    found: list[tuple[Kind, str]]

    @property
    def word(self) -> str:
        """The state in a word or a few: nothing is intact without a checkpoint, or damaged by a guard alone."""
        if self.headline == IN_ITSELF:
            return "intact in itself"
        return "not intact" if self.headline in (GUARDS, REFUSED) else self.state.word


def judge(reading: Reading, policy: Policy | None) -> Verdict:
    """Return the verdict on what was read, against a policy's witnesses if there is one."""
    checked = reading.checked
    found = [
        *_recomputed(checked),
        *_compared(checked, policy),
        *_lockdown(checked),
        *_limits(checked),
    ]
    state = _state(checked)
    headline = _headline(state, checked)
    if state is State.DAMAGED and headline not in (GUARDS, REFUSED):
        found.append(
            ("warn", "A report records nothing and engages no lockdown: run alpha-db verify-chain now.")
        )
    order: list[Kind] = ["bad", "unknown", "warn", "good"]
    found.sort(key=lambda each: order.index(each[0]))
    return Verdict(state, "warn" if headline in (IN_ITSELF, ACKNOWLEDGED) else state.kind, headline, found)


def _state(checked: Verification) -> State:
    results = [*checked.verdicts.rows, *(checked.comparison.results if checked.comparison else ())]
    if any(map(is_bad, results)) or any(row["is_valid"] is False for row in checked.limits.rows):
        return State.DAMAGED
    if any(row["is_locked"] for row in checked.lockdown.rows):
        return State.LOCKED
    problems = checked.verdicts.problem or checked.lockdown.problem or checked.limits.problem
    if problems or not checked.verdicts.rows or any(is_open(row) or is_absent(row) for row in results):
        return State.UNCHECKED
    return State.UNCHECKED if any(row["is_valid"] is None for row in checked.limits.rows) else State.INTACT


def _headline(state: State, checked: Verification) -> str:
    if state is State.DAMAGED:
        return _damage(checked)
    if state is State.LOCKED:
        return "LOCKED DOWN: damage was proven earlier, and agents have not released the lockdown"
    if state is State.UNCHECKED:
        return "COULD NOT BE CHECKED: not everything was read, so nothing is known of the rest"
    if checked.comparison is None:
        return IN_ITSELF
    if any(row["verdict"] == "acknowledged" for row in checked.verdicts.rows):
        return ACKNOWLEDGED
    return "INTACT: every hash holds, and all that was signed is there unchanged"


def _damage(checked: Verification) -> str:
    results = [*checked.verdicts.rows, *(checked.comparison.results if checked.comparison else ())]
    kinds = {row["verdict"] for row in results if is_bad(row)}
    if any(row["is_valid"] is False for row in checked.limits.rows):
        kinds.add("limits")
    if kinds == {"guard_changed"}:
        return GUARDS
    if kinds == {"checkpoint_refused"}:
        return REFUSED
    return "DAMAGED: what is stored is not what was recorded"


def _recomputed(checked: Verification) -> Iterator[tuple[Kind, str]]:
    if checked.verdicts.problem:
        yield "unknown", f"The chains could not be read: {checked.verdicts.problem}"
        return
    good = [row for row in checked.verdicts.rows if row["is_valid"]]
    rows = sum(row["rows_checked"] or 0 for row in good)
    if good:
        yield (
            "good",
            f"Recomputed for this report: {rows:,} rows, all rows of {_count(len(good), 'chain')}. Each row's hash "
            "follows from the row and the hash before it.",
        )
    archived = {row["table_name"]: row["first_id"] - 1 for row in good if (row["first_id"] or 1) > 1}
    if archived:
        named = ", ".join(f"{table} to row {last:,}" for table, last in archived.items())
        yield (
            "warn",
            f"Archived by approval, so not here and not recomputed: {named}. Their segments prove themselves.",
        )
    for row in checked.verdicts.rows:
        if not row["is_valid"] or row["verdict"] != "intact":
            yield _said(row["table_name"], row)


def _said(subject: str, row: Mapping[str, object]) -> tuple[Kind, str]:
    kind: Kind = "bad" if is_bad(row) else "unknown" if is_open(row) or is_absent(row) else "warn"
    place = "" if row["broken_id"] is None else f" at row {row['broken_id']:,}"
    word = str(row["verdict"]).replace("_", " ")
    code = f" ({row['error_code']})" if row["error_code"] else ""
    # what the lockdown would have come to is no finding of a report, which engages none
    detail = brief(str(row["detail"] or "").removesuffix("; lockdown not asked for"), 500)
    return kind, f"{subject}: {word}{place}{code}{': ' if detail else ''}{detail}"


def _compared(checked: Verification, policy: Policy | None) -> Iterator[tuple[Kind, str]]:
    if checked.comparison is None:
        yield (
            "warn",
            "Compared with no checkpoint, because none was given (--checkpoints). Anyone who owns the server can "
            "write a whole chain again; only a signed checkpoint that is kept elsewhere shows that.",
        )
        return
    run = checked.comparison.latest
    if run is None:
        yield (
            "unknown",
            f"Compared with nothing: no checkpoint in {checked.comparison.directory} can be relied on.",
        )
    else:
        yield from _against(run, checked.comparison, checked.verdicts.rows, policy)
    for row in checked.comparison.results:
        if row["verdict"] != "intact":
            yield _said(f"{row['subject']}, compared with the checkpoint", row)


def _against(
    run: Run, comparison: Comparison, verdicts: Sequence[Row], policy: Policy | None
) -> Iterator[tuple[Kind, str]]:
    made = f", made {run.facts.time:%Y-%m-%d %H:%M:%SZ}" if run.facts else ""
    good = [row for row in comparison.results if row["verdict"] == "intact" and row["table_name"]]
    if not good:
        yield "unknown", f"No log could be compared with checkpoint {run.name}{made}."
        return
    rows = sum(row["size"] or 0 for row in good)
    kind: Kind = "good" if all(row["verdict"] == "intact" for row in comparison.results) else "warn"
    others = f", and with {comparison.runs - 1} older" if comparison.runs > 1 else ""
    yield (
        kind,
        f"Compared with checkpoint {run.name}{made}, signed by {run.checkpoint.origin}{others}: the stored hashes "
        f"of {rows:,} rows in {_count(len(good), 'log')} are those that were signed.",
    )
    newer = sum(
        max((row["last_id"] or 0) - run.logs[row["table_name"]].size, 0)
        for row in verdicts
        if row["table_name"] in run.logs and row["table_name"] != LOG_OF_RUNS
    )
    if newer:
        yield (
            "warn",
            f"Newer than the checkpoint, so not signed yet: {_count(newer, 'row')}. Recomputed as well.",
        )
    if policy is None:
        yield "warn", "No witness was asked for (--policy): the checkpoint's key alone vouches for it."
        return
    seen = cosigners(run.notes, policy)
    who = ", ".join(f"{name} at {time}" for name, time in sorted(seen.items()))
    if policy.is_met(seen):
        yield "good", f"Witnessed as the policy demands ({policy.quorum}): {who or 'it demands nobody'}."
    else:
        yield (
            "unknown",
            f"Not witnessed as the policy demands ({policy.quorum}): cosigned by {who or 'nobody'}.",
        )


def _lockdown(checked: Verification) -> Iterator[tuple[Kind, str]]:
    if checked.lockdown.problem:
        yield "unknown", f"Whether the lockdown is engaged could not be read: {checked.lockdown.problem}"
    for row in checked.lockdown.rows:
        if row["is_locked"]:
            since = f" since {row['since']:%Y-%m-%d %H:%M:%SZ}" if row["since"] else ""
            places = _count(len(row["damage"] or []), "damaged place")
            yield (
                "bad",
                f"The lockdown is engaged{since}: {row['reason']} ({places}). The trading tables take no row.",
            )
        else:
            yield "good", "No lockdown is engaged."


def _limits(checked: Verification) -> Iterator[tuple[Kind, str]]:
    if checked.limits.problem:
        yield "unknown", f"The risk limits could not be verified: {checked.limits.problem}"
    elif all(row["is_valid"] for row in checked.limits.rows):
        yield (
            "good",
            "The risk limits, or that there are none, follow from signed proposals and votes, verified again for this "
            "report.",
        )
    for row in checked.limits.rows:
        if not row["is_valid"]:
            kind: Kind = "unknown" if row["is_valid"] is None else "bad"
            yield kind, f"Risk limits, {row['source']}: {row['detail']}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"

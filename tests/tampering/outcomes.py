"""The outcomes of attacks: refused, found, without effect, openly not found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.checkpoint.book import run
from tests.support import one, query, verdicts
from tests.tampering.stage import Stage

REFUSED, FOUND, HARMLESS, NOT_FOUND = "refused", "found", "without effect", "openly not found"
#: What the SQLSTATEs are called that PostgreSQL itself refuses with.
MEANINGS = {
    "0A000": "not supported",
    "22023": "invalid argument",
    "23502": "not null",
    "23503": "foreign key",
    "23505": "unique",
    "23514": "check",
    "2BP01": "others depend on it",
    "40001": "run the transaction again",
    "42501": "no such right",
    "55000": "not in this state",
    "55P03": "lock not available",
    "57014": "timed out",
}


@dataclass(frozen=True)
class Refused:
    """The last statement raises this code: one of ours, or a SQLSTATE of PostgreSQL's."""

    code: str
    kind: str = REFUSED

    @property
    def words(self) -> str:
        meaning = MEANINGS.get(self.code)
        return f"refused with {self.code}" + (f" ({meaning})" if meaning else "")

    def check(self, stage: Stage, error: psycopg.Error | None) -> None:
        del stage
        assert error is not None, f"nothing refused it, {self.code} should have"
        said = f"{error.sqlstate}: {error}"
        if "-" in self.code:
            assert error.sqlstate == self.code.replace("-0", ""), said
            assert (error.diag.message_primary or "").startswith(f"{self.code}: "), said
        else:
            assert error.sqlstate == self.code, said


@dataclass(frozen=True)
class Checked:
    """Any other outcome: its words, and the assertion. An attack that is not refused must not raise."""

    words: str
    kind: str
    assertion: Callable[[Stage], None]

    def check(self, stage: Stage, error: psycopg.Error | None) -> None:
        del error  # whether a refusal belongs to it is the test's question
        self.assertion(stage)


def refused(code: str) -> Refused:
    return Refused(code)


# ----------------------------------------------------------------------------------------------------
# Found


def guards(kind: str, name: str, fact: str, problem: str) -> Checked:
    """verify_guards() has a row of this."""

    def check(stage: Stage) -> None:
        rows = query(stage.db, "select * from verify_guards()")
        found = {(r["object_kind"], r["object_name"], r["fact"], r["problem"]) for r in rows}
        assert (kind, name, fact, problem) in found, found

    said = {"extra": "more than there was", "missing": "gone", "changed": "changed"}[problem]
    shown = name.split("(")[0] + ("()" if "(" in name else "")
    return Checked(f"found by `verify_guards()`: {kind} `{shown}`, {fact}: {said}", FOUND, check)


def chain(table: str, verdict: str, at: int | None = None) -> Checked:
    """verify_chain_integrity() gives this verdict, and engages the lockdown."""

    def check(stage: Stage) -> None:
        found = verdicts(stage.db)
        assert (found[table].verdict, found[table].is_valid) == (verdict, False), found[table]
        assert found[table].error_code == "AUD-009"
        assert at is None or found[table].broken_id == at, found[table]
        assert stage.locked(), found[table].detail

    return Checked(f"found by `verify_chain_integrity()`: `{verdict}`, lockdown", FOUND, check)


def history(problem: str) -> Checked:
    """verify_tracked() says this of a tracked table, and verify_chain_integrity() AUD-015, with no lockdown."""

    def check(stage: Stage) -> None:
        assert problem in {row["problem"] for row in query(stage.db, "select problem from verify_tracked()")}
        found = verdicts(stage.db)["table_changes"]
        assert (found.verdict, found.error_code, found.is_valid) == ("history_mismatch", "AUD-015", False), (
            found
        )
        assert not stage.locked()

    return Checked(f"found by `verify_tracked()`: `{problem}`, AUD-015, no lockdown", FOUND, check)


def config(*sources: str) -> Checked:
    """verify_config_integrity() says that these do not hold, and alpha-db risk verify exits 1."""

    def check(stage: Stage) -> None:
        rows = query(stage.db, "select * from verify_config_integrity()")
        wrong = {row["source"] for row in rows if row["is_valid"] is not True}
        assert wrong >= set(sources or ("stored",)), rows

    return Checked("found by `verify_config_integrity()`", FOUND, check)


def checkpoint(table: str, verdict: str, *, inside_silent: bool = True) -> Checked:
    """The root that was kept outside shows it; if nothing inside does, it says so."""

    def check(stage: Stage) -> None:
        if inside_silent:
            assert stage.inside() == []
        size, root = stage.base.roots[table]
        (row,) = query(stage.db, "select * from verify_checkpoint(%s, %s, %s)", [table, size, root])
        assert (row["verdict"], row["error_code"]) == (verdict, "AUD-009"), row
        assert stage.locked(), row

    alone = "; nothing inside the database shows it" if inside_silent else ""
    return Checked(f"found by a checkpoint: `{verdict}`, lockdown{alone}", FOUND, check)


def guardrail(reason: str = "RSK-007") -> Checked:
    """The guardrail, with keys pinned on its own machine, goes to Safe Mode and says why."""

    def check(stage: Stage) -> None:
        state = stage.guardrail().state
        assert not state.is_normal
        assert reason in state.reason, state.reason

    code = reason if reason.startswith(("RSK", "AUD")) else f"“{reason}”"
    return Checked(f"found by the guardrail: Safe Mode, {code}", FOUND, check)


def counted(code: str, table: str, operation: str, times: int = 1) -> Checked:
    """The attempt is counted, though its transaction was rolled back."""

    def check(stage: Stage) -> None:
        rows = query(
            stage.db,
            "select attempts from vw_rejected_attempts where (code, table_name, operation) = (%s, %s, %s)",
            [code, table, operation],
        )
        assert rows == [{"attempts": times}], rows

    return Checked("found by `vw_rejected_attempts` and the server's log", FOUND, check)


def told(by: str, what: str, condition: str, *parameters: Any) -> Checked:
    """Something else shows it: a query of one boolean, asked as superuser."""

    def check(stage: Stage) -> None:
        assert one(stage.db, condition, parameters) is True, condition

    return Checked(f"found by {by}: {what}", FOUND, check)


def shown(by: str, what: str, check: Callable[[Stage], None]) -> Checked:
    """Something else shows it: a function that asserts."""
    return Checked(f"found by {by}: {what}", FOUND, check)


def is_shut_again(stage: Stage, reason: str) -> None:
    """What was written in a lockdown is younger than it; the next verification says why and shuts it again."""
    since = one(stage.db, "select since from lockdown_status()")
    assert one(stage.db, "select created_at > %s from signals where signal_id = 'late'", [since])
    verdicts(stage.db)
    assert stage.locked()
    assert one(stage.db, "select reason from lockdown_events order by id desc limit 1") == reason
    with pytest.raises(psycopg.Error) as caught:
        query(stage.session("trader"), "select record_signal('later', 'B', 'BUY', 1, 1, '{}')")
    assert caught.value.sqlstate == "AUD09"


def command(line: str, exit_code: int, what: str = "", words: str = "") -> Checked:
    """A command, run as superuser on the database, exits with this code; its output has these words."""

    def check(stage: Stage) -> None:
        result = run("--dsn", stage.server.dsn(stage.dbname), *line.split(), expect=exit_code)
        assert words in result.out + result.err, result

    return Checked(f"found by `alpha-db {line}`: exit {exit_code}{', ' if what else ''}{what}", FOUND, check)


# ----------------------------------------------------------------------------------------------------
# Not refused, and yet nothing came of it; or not found


def harmless(what: str, *conditions: str | Callable[[Stage], None]) -> Checked:
    """The attack goes through and reaches nothing: the conditions hold, and all is well inside."""

    def check(stage: Stage) -> None:
        _assert_all(stage, conditions)
        assert stage.inside() == []

    return Checked(f"without effect: {what}", HARMLESS, check)


def in_vain(what: str, *conditions: str | Callable[[Stage], None]) -> Checked:
    """The attack goes through and does not reach what it is for: the conditions hold. Not all need be well, as where
    damage was made so that the lockdown has a reason."""
    return Checked(f"without effect: {what}", HARMLESS, lambda stage: _assert_all(stage, conditions))


def _assert_all(stage: Stage, conditions: tuple[str | Callable[[Stage], None], ...]) -> None:
    for condition in conditions:
        if callable(condition):
            condition(stage)
        else:
            assert one(stage.db, condition) is True, condition


def not_found(why: str, *proofs: str | Callable[[Stage], None]) -> Checked:
    """Nothing inside shows it, though it happened, as the proofs show. Fails the day something does."""

    def check(stage: Stage) -> None:
        _assert_all(stage, proofs)
        assert stage.inside() == []

    return Checked(f"**openly not found**: {why}", NOT_FOUND, check)

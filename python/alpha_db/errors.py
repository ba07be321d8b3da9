"""One exception class for each error code, and the one place that maps SQLSTATE to them.

The codes are a promise (docs/errors.md): a refusal raises SQLSTATE ``AUD03`` with a message that begins
with ``AUD-003``, a DETAIL that names what was refused and a HINT that says what to do. The classes carry all
of it.
"""

# The names say what happened, as psycopg's own do: "UniqueViolation", not "UniqueViolationError".
# ruff: noqa: N818

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import ClassVar

import psycopg

from alpha_db.objects import may_fit, ours, routines, signature
from alpha_db.sqlstates import (
    CONFLICT,
    HINTS,
    READ_AGAIN,
    RULES,
    column_of,
    hint_about_memory,
    hint_while_connecting,
    state_while_connecting,
    without_number,
)

#: Exit codes of the command line: it holds; it does not hold (damage, changed guards, a refusal); usage; could not be
#: read or could not run; damage was found, but the lockdown or its event could not be recorded; what was asked about
#: is not there.
EXIT_OK, EXIT_DAMAGE, EXIT_USAGE, EXIT_NOT_RUN, EXIT_NOT_RECORDED = 0, 1, 2, 3, 4
EXIT_NOT_THERE = 5


def sqlstate_of(code: str) -> str:
    """Return the SQLSTATE of an error code: ``AUD-003`` -> ``AUD03``."""
    family, number = code.split("-")
    return f"{family}{int(number):02d}"


#: The class of each code that the database raises, and of what PostgreSQL says, by SQLSTATE or its first two digits.
CODED: list[type[Refused]] = []
_BY_SQLSTATE: dict[str, type[AlphaDbError]] = {}


class AlphaDbError(Exception):
    """Base class of everything that alpha-db raises."""

    #: AUD-… or RSK-…; for what PostgreSQL itself says, and for what is refused as it would, the SQLSTATE.
    code: str | None = None
    exit_code: ClassVar[int] = EXIT_NOT_RUN

    def __init_subclass__(cls, *, code: str | None = None, states: str = "") -> None:
        """Take the class for an error code of ours, or for SQLSTATEs of PostgreSQL's."""
        super().__init_subclass__()
        if code and issubclass(cls, Refused):
            cls.code = code
            CODED.append(cls)
        for state in [sqlstate_of(code)] if code else states.split():
            _BY_SQLSTATE[state] = cls

    def __init__(
        self,
        message: str,
        *,
        detail: str | None = None,
        hint: str | None = None,
        sqlstate: str | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(message)
        self.detail = detail
        self.hint = hint
        self.sqlstate = sqlstate
        self.column = column
        if self.code is None:
            self.code = sqlstate

    @property
    def message(self) -> str:
        """The message without detail and hint."""
        return str(self.args[0])


class Refused(AlphaDbError):
    """The database refused something under one of its own codes."""

    exit_code = EXIT_DAMAGE


class DecimalError(Refused, code="AUD-001"):
    """A decimal would lose precision, is NaN or infinite, or came as a binary float."""


class SignalUpdateRefused(Refused, code="AUD-002"):
    """Signals are append-only: an UPDATE was refused."""


class SignalDeleteRefused(Refused, code="AUD-003"):
    """Signals are append-only: a DELETE or TRUNCATE was refused."""


class DebateUpdateRefused(Refused, code="AUD-004"):
    """AI debates are append-only: an UPDATE was refused."""


class DebateDeleteRefused(Refused, code="AUD-005"):
    """AI debates are append-only: a DELETE or TRUNCATE was refused."""


class OrderUpdateRefused(Refused, code="AUD-006"):
    """Orders and their events are append-only: an UPDATE was refused."""


class OrderDeleteRefused(Refused, code="AUD-007"):
    """Orders and their events are append-only: a DELETE or TRUNCATE was refused."""


class UnknownReference(Refused, code="AUD-008"):
    """The delivery_id, correlation_id or order_execution_id does not exist."""


class ChainMismatch(Refused, code="AUD-009"):
    """A chain does not match its hashes, or the lockdown that this caused refuses the write."""


class KeyConflict(Refused, code="AUD-010"):
    """A signal_id, client_order_id or exchange_event_id was used before, with other content."""


SignalConflict = KeyConflict  #: its name as long as only signals had a key


class ProtectedObject(Refused, code="AUD-011"):
    """A protected table, trigger or function would be dropped or altered."""


class ValueTooLarge(Refused, code="AUD-012"):
    """A value is too long for its column, or a row is too large to print."""


class RowUpdateRefused(Refused, code="AUD-013"):
    """Deliveries, decisions and your own tables are append-only: an UPDATE was refused."""


class RowDeleteRefused(Refused, code="AUD-014"):
    """Deliveries, decisions and your own tables are append-only: a DELETE or TRUNCATE was refused."""


class HistoryMismatch(Refused, code="AUD-015"):
    """A tracked table does not hold what its history says, or a change of it cannot be recorded."""


class RetentionRefused(Refused, code="AUD-016"):
    """Rows may not leave the log: not approved, on legal hold, still referred to, or not the oldest rows."""


class RiskValueRefused(Refused, code="RSK-001"):
    """A risk parameter or another member of a proposal is missing, NaN, infinite or out of bounds."""


class UnapprovedChange(Refused, code="RSK-002"):
    """The risk tables would be changed other than by an approved proposal."""


class SignatureRefused(Refused, code="RSK-003"):
    """The signature is invalid, or its key is unknown, revoked or weak."""


class VoteRefused(Refused, code="RSK-004"):
    """The vote may not count: twice, the proposer's own, or on the voter's own revocation."""


class StaleProposal(Refused, code="RSK-005"):
    """The proposal was made for another state than the current one."""


class ProposalClosed(Refused, code="RSK-006"):
    """The proposal is unknown, expired, withdrawn, rejected or applied already."""


class RiskTampered(Refused, code="RSK-007"):
    """Stored, recomputed and replayed risk state disagree."""


class NotThere(AlphaDbError):
    """What was asked about is not there: no such file, row, range or table."""

    exit_code = EXIT_NOT_THERE


class FileUnreadable(AlphaDbError):
    """A file cannot be read: it is none, may not be read, is too large, or holds something else."""


class ValueRefused(AlphaDbError, ValueError, states="22 23"):
    """A value is not one that its column or argument takes: wrong kind, missing, out of range, or against a rule."""


class WrongType(ValueRefused, TypeError):
    """A value is of a type that the function does not take."""


class WrongCall(AlphaDbError, TypeError, states="42725 42804 42P18"):
    """A function of ours is called with arguments that it does not take."""


class WrongState(AlphaDbError, states="25 26000 2D000 42P05"):
    """The connection is in a state in which the statement cannot run: in a transaction, failed, or closed."""


class ServerLimit(AlphaDbError, states="53 54"):
    """A limit of the server was reached: memory, disk, depth, or the number of something."""


class RetryNeeded(AlphaDbError, states="40001 40P01"):
    """The transaction lost a race (serialization failure or deadlock): run it again."""


class RecoveryConflict(RetryNeeded):
    """A standby ended what was reading, because replaying what the primary did could not wait for it: read again."""


class NotInstalled(AlphaDbError):
    """alpha-db's objects are not there: not migrated, another schema, or another database."""


class PermissionDenied(AlphaDbError, states="42501"):
    """The role lacks a privilege."""


class ReadOnlyServer(AlphaDbError, states="25006"):
    """The session cannot write: a standby, or a read-only transaction."""


class StatementCancelled(AlphaDbError, states="57014"):
    """The statement was cancelled, by a timeout or by somebody."""


class LockTimeout(AlphaDbError, states="55P03"):
    """A lock was not to be had in time."""


class ConnectionFailed(AlphaDbError, states="08 25P03 25P04 28 3D000 53300 57P01 57P02 57P03 57P04 57P05"):
    """The server could not be reached, refused the login, or went away."""


class MigrationFailed(AlphaDbError):
    """A migration could not be applied; nothing of it remains."""


class MigrationEdited(AlphaDbError):
    """A migration file is not the one that was applied."""

    exit_code = EXIT_DAMAGE


class NewerDatabase(AlphaDbError):
    """The database was migrated by a newer alpha-db than this one."""


class ExtraMissing(AlphaDbError):
    """Something needs a package that is not installed."""


class DatabaseFailure(AlphaDbError):
    """The database reported an error that has no class of its own here."""


def squeeze(text: str) -> str:
    """Return the text on one line: libpq's messages have line breaks and tabs."""
    return " ".join(text.split())


def shorten(text: str, most: int = 80) -> str:
    """Return the text with its middle left out if it is longer than that."""
    return text if len(text) <= most else f"{text[: most - most // 4]} … {text[-(most // 4) :]}"


def shown(value: object, most: int = 60) -> str:
    """Return how a value is shown to people: text in double quotes, numbers as they are, all else by its type."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{shorten(value, most)}"'
    if isinstance(value, int | float | Decimal):
        try:
            return shorten(str(value), most)
        except ValueError:  # more digits than Python prints
            return "a number with thousands of digits"
    return {"dict": "an object", "list": "an array"}.get(type(value).__name__, f"a {type(value).__name__}")


def is_recovery_conflict(problem: BaseException) -> bool:
    """Return whether a standby cancelled the statement or ended the session, because replaying could not wait."""
    if not isinstance(problem, psycopg.Error):
        return isinstance(problem, RecoveryConflict)
    where, said = problem.diag.source_function, problem.diag.message_primary or ""
    return problem.sqlstate in ("40001", "40P01") and (where in CONFLICT or "with recovery" in said)


# A missing relation or function means "not installed" only if it is one of ours: a caller's own typo is not.
_MISSING = ("42P01", "42883", "42704", "3F000")
_INSTALL = (
    "run alpha-db migrate, or name the schema with --schema or ALPHA_DB_SCHEMA;"
    " if it was here before, restore it from a dump (docs/operations.md)"
)
#: How much of what PostgreSQL itself says is shown: it may quote a value of many megabytes.
_MESSAGE, _DETAIL = 240, 400


def from_database(exc: psycopg.Error) -> AlphaDbError:
    """Return the exception of this package that stands for a database error.

    Takes any psycopg.Error; raises nothing. DatabaseFailure stands for what has no class of its own. The caller
    raises the result ``from`` the original.
    """
    state = exc.sqlstate
    if state is None:
        return _without_state(exc)
    diag = exc.diag
    message = squeeze(diag.message_primary or str(exc))
    if state[:3] in ("AUD", "RSK"):
        return _refusal(state, message, exc)
    cls = _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:2]) or DatabaseFailure
    column = diag.column_name or column_of(diag.constraint_name, diag.table_name)
    detail, hint = diag.message_detail, diag.message_hint or HINTS.get(state)
    if state in ("23502", "23514"):
        detail = None  # PostgreSQL shows the whole row
    elif state == "54001":
        hint = HINTS[state]  # PostgreSQL's is to raise a limit of the server
    elif is_recovery_conflict(exc):
        cls, hint = RecoveryConflict, READ_AGAIN
    elif state == "53200":
        hint = hint_about_memory(message) or hint
    name = ours(message) if state in (*_MISSING, "42501") else None
    if state == "42P01" and message.endswith(" is not a chained table"):
        cls = NotThere
    elif name and state == "42883":
        cls, detail, hint = _missing_function(name, message)
    elif name and state in _MISSING:
        cls, hint = NotInstalled, _INSTALL
    elif name and cls is PermissionDenied:
        hint = diag.message_hint or _who_may(name)
    elif diag.constraint_name in RULES:
        hint = RULES[diag.constraint_name][1]
    return cls(
        shorten(message, _MESSAGE),
        detail=detail and shorten(detail, _DETAIL),
        hint=hint,
        sqlstate=state,
        column=column,
    )


@contextmanager
def translate() -> Iterator[None]:
    """Raise this package's exception for every error of the database or of the driver."""
    try:
        yield
    except psycopg.Error as exc:
        raise from_database(exc) from exc


def _refusal(state: str, message: str, exc: psycopg.Error) -> AlphaDbError:
    """One of our own codes; one that a newer database has and this package has not is Refused."""
    cls = _BY_SQLSTATE.get(state, Refused)
    diag = exc.diag
    found = cls(
        message,
        detail=diag.message_detail,
        hint=diag.message_hint,
        sqlstate=state,
        column=diag.column_name or None,
    )
    found.code = cls.code or f"{state[:3]}-0{state[3:]}"
    return found


def _without_state(exc: psycopg.Error) -> AlphaDbError:
    """What libpq or psycopg themselves say: they give no SQLSTATE."""
    message = squeeze(str(exc)) or type(exc).__name__
    shown, is_data = shorten(message, _MESSAGE), isinstance(exc, psycopg.DataError)
    if is_data and "NUL" in message:
        return ValueRefused(shown, hint=HINTS["22021"], sqlstate="22021")
    if is_data or "cannot adapt type" in message:
        return WrongType(shown, hint=HINTS["42804"], sqlstate="42804")
    hint = hint_while_connecting(message)
    if isinstance(exc, psycopg.OperationalError):
        return ConnectionFailed(without_number(message), hint=hint, sqlstate=state_while_connecting(message))
    if "connection option" in message or message.startswith("bad value for"):
        return ConnectionFailed(shown, hint=hint, sqlstate="08001")
    if isinstance(exc, psycopg.ProgrammingError | psycopg.InterfaceError):
        return WrongState(shown, hint="Use a connection and a cursor that are open and in no other use.")
    return DatabaseFailure(shown)


def _missing_function(name: str, message: str) -> tuple[type[AlphaDbError], str | None, str]:
    """Tell a function that is not there from arguments that it does not take: PostgreSQL says the same of both."""
    if name not in routines():
        return NotInstalled, None, _INSTALL
    takes = signature(name)
    if not may_fit(name, message):
        return WrongCall, None, f"{takes}: pass these arguments, by name and of these types."
    return NotInstalled, f"If it is installed, these arguments do not fit {takes}.", _INSTALL


def _who_may(name: str) -> str:
    if name.endswith(("_table", "_column", "_agents", "_retention_policy")) or name == "record_guards":
        return "only the owner of the installation may: the login that migrates, a member of alpha_owner"
    return (
        "app_trading writes, app_auditor reads everything and verifies, app_risk proposes and votes:"
        " GRANT one of them to the role, with the role prefix of this installation before its name"
    )

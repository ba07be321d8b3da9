"""One exception class for each error code, and the one place that maps SQLSTATE to them.

The codes are a promise (docs/errors.md): a refusal raises SQLSTATE ``AUD03`` with a message that begins
with ``AUD-003``, a DETAIL that names what was refused and a HINT that says what to do. The classes carry all
of it.
"""

# The names say what happened, as psycopg's own do: "UniqueViolation", not "UniqueViolationError".
# ruff: noqa: N818

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import psycopg

#: Exit codes of the command line: it holds; it does not hold (damage, changed guards, a refusal); usage; could not be
#: read or could not run; damage was found, but the lockdown or its event could not be recorded; what was asked about
#: is not there.
EXIT_OK, EXIT_DAMAGE, EXIT_USAGE, EXIT_NOT_RUN, EXIT_NOT_RECORDED = 0, 1, 2, 3, 4
EXIT_NOT_THERE = 5


class AlphaDbError(Exception):
    """Base class of everything that alpha-db raises."""

    code: ClassVar[str | None] = None
    exit_code: ClassVar[int] = EXIT_NOT_RUN

    def __init__(
        self, message: str, *, detail: str | None = None, hint: str | None = None, sqlstate: str | None = None
    ) -> None:
        super().__init__(message)
        self.detail = detail
        self.hint = hint
        self.sqlstate = sqlstate

    @property
    def message(self) -> str:
        """The message without detail and hint."""
        return str(self.args[0])


class Refused(AlphaDbError):
    """The database refused something under one of its own codes."""

    exit_code = EXIT_DAMAGE


class DecimalError(Refused):
    """A decimal would lose precision, is NaN or infinite, or came as a binary float."""

    code = "AUD-001"


class SignalUpdateRefused(Refused):
    """Signals are append-only: an UPDATE was refused."""

    code = "AUD-002"


class SignalDeleteRefused(Refused):
    """Signals are append-only: a DELETE or TRUNCATE was refused."""

    code = "AUD-003"


class DebateUpdateRefused(Refused):
    """AI debates are append-only: an UPDATE was refused."""

    code = "AUD-004"


class DebateDeleteRefused(Refused):
    """AI debates are append-only: a DELETE or TRUNCATE was refused."""

    code = "AUD-005"


class OrderUpdateRefused(Refused):
    """Orders and their events are append-only: an UPDATE was refused."""

    code = "AUD-006"


class OrderDeleteRefused(Refused):
    """Orders and their events are append-only: a DELETE or TRUNCATE was refused."""

    code = "AUD-007"


class UnknownReference(Refused):
    """The correlation_id or order_execution_id does not exist."""

    code = "AUD-008"


class ChainMismatch(Refused):
    """A chain does not match its hashes, or the lockdown that this caused refuses the write."""

    code = "AUD-009"


class SignalConflict(Refused):
    """The signal_id was used before, with other content."""

    code = "AUD-010"


class ProtectedObject(Refused):
    """A protected table, trigger or function would be dropped or altered."""

    code = "AUD-011"


class ValueTooLarge(Refused):
    """A value is too long for its column, or a row is too large to print."""

    code = "AUD-012"


class RiskValueRefused(Refused):
    """A risk parameter or another member of a proposal is missing, NaN, infinite or out of bounds."""

    code = "RSK-001"


class UnapprovedChange(Refused):
    """The risk tables would be changed other than by an approved proposal."""

    code = "RSK-002"


class SignatureRefused(Refused):
    """The signature is invalid, or its key is unknown, revoked or weak."""

    code = "RSK-003"


class VoteRefused(Refused):
    """The vote may not count: twice, the proposer's own, or on the voter's own revocation."""

    code = "RSK-004"


class StaleProposal(Refused):
    """The proposal was made for another state than the current one."""

    code = "RSK-005"


class ProposalClosed(Refused):
    """The proposal is unknown, expired, withdrawn, rejected or applied already."""

    code = "RSK-006"


class RiskTampered(Refused):
    """Stored, recomputed and replayed risk state disagree."""

    code = "RSK-007"


class NotThere(AlphaDbError):
    """What was asked about is not there: no such file, row, range or table."""

    exit_code = EXIT_NOT_THERE


class RetryNeeded(AlphaDbError):
    """The transaction lost a race (serialization failure or deadlock): run it again."""


class NotInstalled(AlphaDbError):
    """alpha-db's objects are not there: not migrated, another schema, or another database."""


class PermissionDenied(AlphaDbError):
    """The role lacks a privilege."""


class ReadOnlyServer(AlphaDbError):
    """The session cannot write: a standby, or a read-only transaction."""


class StatementCancelled(AlphaDbError):
    """The statement was cancelled, by a timeout or by somebody."""


class LockTimeout(AlphaDbError):
    """A lock was not to be had in time."""


class ConnectionFailed(AlphaDbError):
    """The server could not be reached, refused the login, or went away."""


class MigrationFailed(AlphaDbError):
    """A migration could not be applied; nothing of it remains."""


class MigrationEdited(AlphaDbError):
    """A migration file is not the one that was applied."""

    exit_code = EXIT_DAMAGE


class NewerDatabase(AlphaDbError):
    """The database was migrated by a newer alpha-db than this one."""


class DatabaseFailure(AlphaDbError):
    """The database reported an error that has no class of its own here."""


#: Every code that the database raises; later parts of the package add their own classes here.
CODED: tuple[type[Refused], ...] = (
    DecimalError,
    SignalUpdateRefused,
    SignalDeleteRefused,
    DebateUpdateRefused,
    DebateDeleteRefused,
    OrderUpdateRefused,
    OrderDeleteRefused,
    UnknownReference,
    ChainMismatch,
    SignalConflict,
    ProtectedObject,
    ValueTooLarge,
    RiskValueRefused,
    UnapprovedChange,
    SignatureRefused,
    VoteRefused,
    StaleProposal,
    ProposalClosed,
    RiskTampered,
)


def sqlstate_of(code: str) -> str:
    """Return the SQLSTATE of an error code: ``AUD-003`` -> ``AUD03``."""
    family, number = code.split("-")
    return f"{family}{int(number):02d}"


_BY_SQLSTATE: dict[str, type[AlphaDbError]] = {sqlstate_of(str(c.code)): c for c in CODED} | {
    "40001": RetryNeeded,
    "40P01": RetryNeeded,
    "42501": PermissionDenied,
    "25006": ReadOnlyServer,
    "57014": StatementCancelled,
    "55P03": LockTimeout,
    "57P01": ConnectionFailed,
    "57P02": ConnectionFailed,
    "57P03": ConnectionFailed,
    "57P05": ConnectionFailed,
}

# Classes of SQLSTATE that mean "no usable connection": connection exception, invalid authorization.
_CONNECTION_CLASSES = ("08", "28")

# A missing relation or function means "not installed" only if it is one of ours: a caller's own typo is not.
_MISSING = ("42P01", "42883", "3F000")
_OURS = re.compile(
    r"\b(signals|ai_debates|order_execution|order_events|lockdown_events|maintenance_events|guard_states|chain_columns"
    r"|installation|installed_migrations|vw_trade_audit_full|vw_kill_switch_events|vw_rejected_attempts"
    r"|record_signal|record_ai_debate|record_order|record_order_event"
    r"|verification_plan|verified_heads|judge_range|verify_range|record_verification"
    r"|verify_chain_integrity|find_chain_damage|verify_guards|lockdown_status|chain_status|chain_rows|chain_genesis"
    r"|agents|agent_revocations|proposals|votes|risk_change_log|risk_configurations|risk_asset_kill_thresholds"
    r"|vw_agents|vw_proposals|bootstrap_agents|propose|vote|proposal_message|approval_message|proposal_progress|agent_keys"
    r"|bootstrap_message|damaged_rows|lockdown_evidence"
    r"|active_risk_state|risk_evidence|verify_config_integrity"
    r"|log_nodes|seal_log|log_root|recompute_log_root|inclusion_proof|consistency_proof|checkpoint_facts|verify_checkpoint"
    r"|guards_hash|wal_position)\b"
)

_HINTS: dict[type[AlphaDbError], str] = {
    NotInstalled: "run alpha-db migrate, or name the schema with --schema or ALPHA_DB_SCHEMA",
    RetryNeeded: "run the transaction again",
}


def from_database(exc: psycopg.Error) -> AlphaDbError | None:
    """Return the exception of this package that stands for a database error, or None if there is none.

    Takes any psycopg.Error; raises nothing. The caller raises the result ``from`` the original.
    """
    state = exc.sqlstate
    cls = _BY_SQLSTATE.get(state or "")
    primary = exc.diag.message_primary or str(exc)
    if cls is None and state == "42P01" and primary.endswith(" is not a chained table"):
        cls = NotThere
    if cls is None and state in _MISSING and _OURS.search(primary):
        cls = NotInstalled
    # libpq itself gives no SQLSTATE
    unreachable = isinstance(exc, psycopg.OperationalError) and (state or "08")[:2] in _CONNECTION_CLASSES
    if cls is None and unreachable:
        cls = ConnectionFailed
    return None if cls is None else _build(cls, exc, primary)


def from_any(exc: psycopg.Error) -> AlphaDbError:
    """Like from_database, with DatabaseFailure for what has no class of its own."""
    return from_database(exc) or _build(DatabaseFailure, exc, exc.diag.message_primary or str(exc))


@contextmanager
def translate() -> Iterator[None]:
    """Raise this package's exception for a database error that has one; let every other pass as it is."""
    try:
        yield
    except psycopg.Error as exc:
        mine = from_database(exc)
        if mine is None:
            raise
        raise mine from exc


def _build(cls: type[AlphaDbError], exc: psycopg.Error, message: str) -> AlphaDbError:
    hint = exc.diag.message_hint or _HINTS.get(cls)
    if hint is None and cls is PermissionDenied and re.search(r"\bbootstrap_agents\b", message):
        hint = "only the owner of the installation may: the login that migrates, a member of alpha_owner"
    if hint is None and cls is PermissionDenied and _OURS.search(message):
        hint = (
            "app_trading writes, app_auditor reads everything and verifies, app_risk proposes and votes:"
            " GRANT one of them to the role"
        )
    return cls(squeeze(message), detail=exc.diag.message_detail, hint=hint, sqlstate=exc.sqlstate)


def squeeze(text: str) -> str:
    """Return the text on one line: libpq's messages have line breaks and tabs."""
    return " ".join(text.split())

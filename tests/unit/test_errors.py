"""One class for each code, mapped from SQLSTATE in one place."""

from __future__ import annotations

import pickle
from typing import Any

import psycopg
import pytest

from alpha_db import errors
from alpha_db.cli.boundary import one_line
from alpha_db.sqlstates import HINTS


class FakeDiagnostic:
    """What psycopg reads an error's fields from."""

    def __init__(self, **fields: str) -> None:
        self.fields = fields

    def __getattr__(self, name: str) -> str | None:
        return self.fields.get(name)


def database_error(sqlstate: str | None, message: str, **fields: str) -> psycopg.Error:
    """Make the error that psycopg would raise for this SQLSTATE."""
    base: Any = psycopg.OperationalError
    if sqlstate is not None:
        try:
            base = psycopg.errors.lookup(sqlstate)
        except KeyError:
            base = psycopg.DatabaseError

    class Error(base):  # type: ignore[misc]
        @property
        def diag(self) -> Any:
            return FakeDiagnostic(message_primary=message, **fields)

    error: psycopg.Error = Error(message)
    error.sqlstate = sqlstate
    return error


def test_every_code_of_the_design_has_a_class() -> None:
    assert [c.code for c in errors.CODED] == [
        *(f"AUD-{number:03d}" for number in range(1, 17)),
        *(f"RSK-{number:03d}" for number in range(1, 8)),
    ]


@pytest.mark.parametrize("cls", errors.CODED, ids=lambda cls: cls.__name__)
def test_sqlstate_gives_the_class_of_its_code(cls: type[errors.Refused]) -> None:
    state = errors.sqlstate_of(str(cls.code))
    assert len(state) == 5
    found = errors.from_database(
        database_error(state, f"{cls.code}: no", message_detail="what", message_hint="do")
    )
    assert type(found) is cls
    assert (found.code, found.detail, found.hint, found.sqlstate) == (cls.code, "what", "do", state)
    assert found.exit_code == errors.EXIT_DAMAGE


@pytest.mark.parametrize("cls", errors.AlphaDbError.__subclasses__() + list(errors.CODED))
def test_each_class_is_one_sentence(cls: type[errors.AlphaDbError]) -> None:
    sentence = (cls.__doc__ or "").strip()
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("sqlstate", "message", "expected"),
    [
        ("40001", "could not serialize access", errors.RetryNeeded),
        ("40P01", "deadlock detected", errors.RetryNeeded),
        ("42501", "permission denied for table signals", errors.PermissionDenied),
        ("25006", "cannot execute INSERT in a read-only transaction", errors.ReadOnlyServer),
        ("57014", "canceling statement due to statement timeout", errors.StatementCancelled),
        ("55P03", "canceling statement due to lock timeout", errors.LockTimeout),
        ("57P01", "terminating connection due to administrator command", errors.ConnectionFailed),
        ("28P01", "password authentication failed", errors.ConnectionFailed),
        (None, "server closed the connection unexpectedly", errors.ConnectionFailed),
        (None, "the connection is closed", errors.ConnectionFailed),
        ("53300", "sorry, too many clients already", errors.ConnectionFailed),
        ("3D000", 'database "trading" does not exist', errors.ConnectionFailed),
        ("25P03", "terminating connection due to idle-in-transaction timeout", errors.ConnectionFailed),
        ("42P01", 'relation "signals" does not exist', errors.NotInstalled),
        ("42P01", "Relation »signals« existiert nicht", errors.NotInstalled),
        ("42883", "function verify_guards() does not exist", errors.NotInstalled),
        ("42883", "procedure append_signal(unknown, unknown, unknown, unknown, unknown, unknown) does not exist",
         errors.NotInstalled),
        ("42883", "function record_signal(unknown) does not exist", errors.WrongCall),
        ("42883", "function vote(proposal => unknown) does not exist", errors.WrongCall),
        ("42883", "function lockdown_status(integer) does not exist", errors.WrongCall),
        ("42804", "argument of WHERE must be type boolean, not type integer", errors.WrongCall),
        ("22001", "value too long for type character varying(20)", errors.ValueRefused),
        ("22P02", 'invalid input syntax for type uuid: "x"', errors.ValueRefused),
        ("22P05", "unsupported Unicode escape sequence", errors.ValueRefused),
        ("23505", "duplicate key value violates unique constraint", errors.ValueRefused),
        ("2D000", "invalid transaction termination", errors.WrongState),
        ("42P05", 'prepared statement "_pg3_0" already exists', errors.WrongState),
        ("25P02", "current transaction is aborted", errors.WrongState),
        ("54001", "stack depth limit exceeded", errors.ServerLimit),
        ("53200", "out of memory", errors.ServerLimit),
        ("42P01", 'relation "my_signals_table" does not exist', errors.DatabaseFailure),
        ("42883", "function my_own(signals) does not exist", errors.DatabaseFailure),
        ("XX000", "something else", errors.DatabaseFailure),
    ],
)  # fmt: skip
def test_general_sqlstates(sqlstate: str | None, message: str, expected: type[errors.AlphaDbError]) -> None:
    found = errors.from_database(database_error(sqlstate, message))
    assert type(found) is expected
    assert found.exit_code == errors.EXIT_NOT_RUN


def test_a_full_table_of_locks_names_the_setting_and_the_other_way() -> None:
    hint = errors.from_database(database_error("53200", "out of shared memory")).hint
    assert hint is not None
    assert hint.startswith("Raise max_locks_per_transaction (alpha-db doctor says to what)")
    assert errors.from_database(database_error("53200", "out of memory")).hint == HINTS["53200"]


@pytest.mark.parametrize(
    "raised",
    [
        psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
        psycopg.ProgrammingError("cannot adapt type 'object' using placeholder '%s' (format: AUTO)"),
        psycopg.InterfaceError("the cursor is closed"),
        psycopg.ProgrammingError("set_autocommit() cannot be used during a transaction"),
        psycopg.NotSupportedError("no"),
        psycopg.Error("who knows"),
    ],
    ids=str,
)
def test_what_the_driver_says_is_translated_too(raised: psycopg.Error) -> None:
    with pytest.raises(errors.AlphaDbError) as caught, errors.translate():
        raise raised
    assert caught.value.__cause__ is raised
    assert caught.value.message


def test_a_code_of_a_newer_database_is_a_refusal() -> None:
    error = errors.from_database(database_error("AUD99", "AUD-099: something new"))
    assert (type(error), error.code, error.exit_code) == (errors.Refused, "AUD-099", errors.EXIT_DAMAGE)


@pytest.mark.parametrize("sqlstate", sorted(HINTS))
def test_postgresqls_own_codes_bring_code_and_hint(sqlstate: str) -> None:
    error = errors.from_database(database_error(sqlstate, "no"))
    assert (error.code, error.sqlstate, error.hint) == (sqlstate, sqlstate, HINTS[sqlstate])


def test_the_hint_of_a_missing_function_is_not_about_casts() -> None:
    casts = (
        "No function matches the given name and argument types. You might need to add explicit type casts."
    )
    message = "procedure append_order_event(unknown, unknown) does not exist"
    missing = errors.from_database(database_error("42883", message, message_hint=casts))
    assert (type(missing), "alpha-db migrate" in str(missing.hint)) == (errors.NotInstalled, True)
    message = "procedure append_order_event(unknown, text => unknown) does not exist"
    wrong = errors.from_database(database_error("42883", message, message_hint=casts))
    assert "append_order_event(order_execution_id bigint, event_type text, fill_quantity numeric (opt" in str(
        wrong.hint
    )


def test_a_long_value_is_shortened() -> None:
    error = errors.from_database(
        database_error("22P02", f'invalid input syntax for type uuid: "{"x" * 10_000}"')
    )
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ({"column_name": "symbol"}, "symbol"),
        ({"table_name": "signals", "constraint_name": "signals_side_is_known"}, "side"),
        ({"table_name": "signals", "constraint_name": "signals_signal_id_key"}, "signal_id"),
        (
            {"table_name": "order_events", "constraint_name": "order_events_rejection_has_reason"},
            "rejection_reason",
        ),
        ({"table_name": "mine", "constraint_name": "no_name_like_ours"}, None),
        ({}, None),
    ],
)
def test_the_column_is_named_where_it_can_be_known(fields: dict[str, str], column: str | None) -> None:
    assert errors.from_database(database_error("23514", "violates", **fields)).column == column


def test_a_check_shows_no_row() -> None:
    row = "Failing row contains (1, a secret)."
    assert errors.from_database(database_error("23514", "violates", message_detail=row)).detail is None


@pytest.mark.parametrize(
    ("message", "code"),
    [("the connection is closed", "08003"), ("server closed the connection unexpectedly", "08006")],
)
def test_a_connection_that_is_gone_brings_code_and_hint(message: str, code: str) -> None:
    error = errors.from_database(database_error(None, message))
    assert (error.code, error.hint) == (code, HINTS[code])


def test_the_limit_of_the_stack_is_not_to_be_raised() -> None:
    error = errors.from_database(database_error("54001", "stack depth", message_hint="Increase it."))
    assert error.hint == HINTS["54001"]


def test_translate_keeps_the_cause() -> None:
    original = database_error("AUD03", "AUD-003: DELETE on signals refused")
    with pytest.raises(errors.SignalDeleteRefused) as caught, errors.translate():
        raise original
    assert caught.value.__cause__ is original


def test_an_error_can_be_pickled() -> None:
    error = errors.SignalConflict("AUD-010: used", detail="d", hint="h", sqlstate="AUD10")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.message, copy.hint) == (errors.SignalConflict, "AUD-010: used", "h")


def test_one_line_has_code_causes_detail_and_hint() -> None:
    error = errors.SignalDeleteRefused("AUD-003: DELETE on signals refused", detail="Row 1.", hint="Do not.")
    assert one_line(error) == (
        "error [AUD-003]: DELETE on signals refused. DETAIL: Row 1. HINT: Do not."
    )  # fmt: skip
    failed = errors.AlphaDbError("cannot read\nthe migrations")
    failed.__cause__ = OSError("disk on fire")
    assert one_line(failed) == "error: cannot read the migrations: disk on fire"


def test_one_line_tells_a_refusal_once() -> None:
    """The cause says the same, with its code in front."""
    with pytest.raises(errors.SignalDeleteRefused) as caught, errors.translate():
        raise database_error("AUD03", "AUD-003: DELETE on signals refused")
    assert one_line(caught.value) == "error [AUD-003]: DELETE on signals refused"


@pytest.mark.parametrize("name", ["verification_plan", "_verified_heads", "_judge_range"])
def test_what_verify_chain_asks_first_is_ours(name: str) -> None:
    """So that who lacks the right is told which role has it."""
    error = errors.from_database(database_error("42501", f"permission denied for function {name}"))
    assert "app_auditor" in str(error.hint)


@pytest.mark.parametrize(
    "name",
    [
        "bootstrap_agents",
        "chain_table",
        "extend_table",
        "track_table",
        "untrack_table",
        "widen_column",
        "record_guards",
    ],
)
def test_only_the_owner_is_told_of_no_role(name: str) -> None:
    error = errors.from_database(database_error("42501", f"permission denied for function {name}"))
    assert "alpha_owner" in str(error.hint)
    assert "app_trading" not in str(error.hint)

"""Whatever a caller gives the Python writers, it is stored and returned, or refused with a code and its column."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import alpha_db
from alpha_db import arguments, errors, objects, writers
from alpha_db.exact_json import JsonText
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.security.audit_signer import AuditSigner
from alpha_db.sqlstates import RULES
from tests.cluster import Server
from tests.support import Connection, make_signal, one, query

CORRELATION = "00000000-0000-4000-8000-000000000001"
SIGNAL: dict[str, Any] = {
    "signal_id": "s", "symbol": "BTCUSD", "side": "BUY", "price": "1", "quantity": "1", "raw_payload": "{}",
}  # fmt: skip
DEBATE: dict[str, Any] = {
    "correlation_id": CORRELATION, "model_name": "phi-4", "reasoning_json": {}, "confidence_score": "0.5",
    "elapsed_ms": 1,
}  # fmt: skip
ORDER: dict[str, Any] = {
    "correlation_id": CORRELATION, "order_type": "LIMIT", "symbol": "BTCUSD", "side": "BUY", "quantity": "1",
    "price": "1",
}  # fmt: skip
EVENT: dict[str, Any] = {"order_execution_id": 1, "event_type": "FILL", "fill_quantity": 1, "fill_price": 1}
BASE = {"signal": SIGNAL, "ai_debate": DEBATE, "order": ORDER, "order_event": EVENT}
DEEP = '{"d": ' + "[" * 3000 + "]" * 3000 + "}"


@pytest.fixture(scope="module")
def session(server: Server, admin: Connection, template: str) -> Iterator[Connection]:
    """A database with one signal and one order, and a plain connection of psycopg's in autocommit."""
    admin.execute(f"create database bad_arguments template {template}")
    with psycopg.connect(server.dsn("bad_arguments"), autocommit=True) as connection:
        make_signal(connection, 1, correlation_id=CORRELATION)
        connection.execute("select record_order(%s, 'MARKET', 'B', 'BUY', 1)", [CORRELATION])
        yield connection


def write(conn: Connection, name: str, what: str, **changes: Any) -> dict[str, Any]:
    """Call a writer with good arguments but for `changes`."""
    result: dict[str, Any] = getattr(writers, f"{name}_{what}")(conn, **(BASE[what] | changes))
    return result


# --------------------------------------------------------------------------------------------------
# What was committed is returned

STORED = {
    "an integer of 5,000 digits": '{"n": ' + "7" * 5000 + "}",
    "a fraction of 5,000 digits": '{"n": 0.' + "7" * 5000 + "}",
    "an exponent": '{"n": 1e5000}',
    "nesting": DEEP,
    "a text of 2 MB": '{"t": "' + "x" * 2_000_000 + '"}',
    "digits": '{"n": 0.10, "f": 1e-7, "list": [1.50, -0, 12345678901234567890123]}',
    "text": '"just text"',
}


@pytest.mark.parametrize("name", ["record", "append"])
@pytest.mark.parametrize("payload", STORED.values(), ids=STORED)
def test_what_was_committed_is_returned(session: Connection, name: str, payload: str) -> None:
    number = one(session, "select count(*) from signals")
    row = write(session, name, "signal", signal_id=f"r-{number}", raw_payload=payload)
    assert row["id"] == number + 1
    if name == "record":
        stored = one(session, "select raw_payload::text from signals order by id desc limit 1")
        back = row["raw_payload"]
        again = back if isinstance(back, JsonText) else arguments.json_text("raw_payload", {"again": back})
        statement = (
            "select %s::jsonb = %s::jsonb" if back is again else "select %s::jsonb = %s::jsonb -> 'again'"
        )
        assert one(session, statement, [stored, again])


def test_numbers_come_back_exactly_and_the_limit_of_int_stays(session: Connection) -> None:
    before = sys.get_int_max_str_digits()
    payload = '{"long": ' + "9" * 5000 + ', "price": 0.1, "n": 3}'
    row = write(session, "record", "signal", signal_id="exact", raw_payload=payload)["raw_payload"]
    assert row == {"long": Decimal("9" * 5000), "price": Decimal("0.1"), "n": 3}
    assert (type(row["n"]), type(row["price"]), sys.get_int_max_str_digits()) == (int, Decimal, before)
    # and goes out again as it came, a retry too
    assert write(session, "record", "signal", signal_id="exact", raw_payload=row)["raw_payload"] == row


def test_a_payload_deeper_than_python_recurses_is_sent(session: Connection) -> None:
    deep: Any = 1
    for _ in range(1500):
        deep = [deep]
    row = write(session, "record", "signal", signal_id="deep", raw_payload={"deep": deep})
    assert isinstance(row["raw_payload"], JsonText)


def test_the_rows_other_columns_hide_nothing(server: Server, session: Connection) -> None:
    """A session's DateStyle that psycopg does not read fails no row that is written."""
    with psycopg.connect(server.dsn("bad_arguments", options="-cdatestyle=German"), autocommit=True) as conn:
        assert write(conn, "record", "signal", signal_id="german")["id"]
    del session


class OwnLoader(psycopg.adapt.Loader):
    """As an application may register one: it fails."""

    def load(self, _data: Any) -> Any:
        """Fail."""
        raise ValueError("of the application")


@pytest.mark.parametrize("name", ["record", "append"])
def test_the_applications_own_loaders_hide_nothing(server: Server, session: Connection, name: str) -> None:
    with psycopg.connect(server.dsn("bad_arguments"), autocommit=True) as conn:
        for kind in psycopg.postgres.types:
            conn.adapters.register_loader(kind.oid, OwnLoader)
        first = write(conn, name, "signal", signal_id=f"own-{name}", source_ip="203.0.113.7")
        write(conn, name, "ai_debate", correlation_id=first["correlation_id"])
        order = write(conn, name, "order", correlation_id=first["correlation_id"], exchange_order_id="x")
        assert write(conn, name, "order_event", order_execution_id=order["id"], positions_closed=[])["id"]
    del session


def test_a_refusal_names_its_column_and_its_value_alone(session: Connection) -> None:
    for what, column in (
        ("ai_debate", "correlation_id"),
        ("order", "correlation_id"),
        ("order_event", "order_execution_id"),
    ):
        with pytest.raises(errors.UnknownReference) as unknown:
            write(session, "append", what, **{column: 4711 if what == "order_event" else uuid4()})
        assert unknown.value.column == column
    with pytest.raises(errors.ValueRefused) as refused:
        write(session, "append", "signal", side="hold")
    assert refused.value.detail == 'side is "hold".'
    with pytest.raises(errors.ValueTooLarge) as large:
        write(session, "append", "signal", raw_payload={"t": "x" * (17 << 20)})
    assert large.value.column == "raw_payload"


def test_the_clients_encoding_hides_nothing(server: Server, session: Connection) -> None:
    with psycopg.connect(server.dsn("bad_arguments"), client_encoding="LATIN1", autocommit=True) as conn:
        row = write(conn, "record", "signal", signal_id="latin", raw_payload={"t": "é"})
    assert row["raw_payload"] == {"t": "é"}
    del session


# --------------------------------------------------------------------------------------------------
# What is refused


class Side(StrEnum):
    """Whose names are not its values."""

    LONG = "BUY"


def test_of_an_enum_the_value_is_sent(session: Connection) -> None:
    assert write(session, "record", "signal", signal_id="enum", side=Side.LONG)["side"] == "BUY"
    address = ipaddress.ip_address("2001:db8::1")
    assert write(session, "record", "signal", signal_id="ip", source_ip=address)["source_ip"] == address


TEXTS = [1, b"x", "a\0b", "\ud83d", ["x"], {"x"}, 1.5, None, object()]
BAD: list[tuple[str, str, Any]] = [
    *[
        (what, column, value)
        for what, column in (
            ("signal", "signal_id"), ("signal", "symbol"), ("signal", "side"), ("ai_debate", "model_name"),
            ("order", "order_type"), ("order", "symbol"), ("order", "side"), ("order", "status"),
            ("order_event", "event_type"),
        )
        for value in [*TEXTS, "", "  ", "x" * 200, "hold", "{{strategy.order.action}}"]
        if not (column == "symbol" and value in ("hold",))
        and not (column in ("signal_id", "model_name") and value == "hold")
    ],
    *[
        (what, column, value)
        for what, column in (("order", "exchange_order_id"), ("order_event", "exchange_error_code"))
        for value in [1, b"x", "a\0b", "\ud83d", "x" * 200]
    ],
    *[
        (what, column, value)
        for what, column in (
            ("signal", "raw_payload"), ("ai_debate", "reasoning_json"), ("order_event", "positions_closed"),
        )
        for value in [
            "", "{", '{"a": 1,}', "{'a': 1}", '{"a": "\\u0000"}', '{"a": "\\ud83d"}', "NaN", "a\0b", "\ud83d", b"{}",
            {1: 2}, {"x": {1, 2}}, {"x": float("nan")}, {"x": object()}, {"a": "\0"}, {"a": "\ud83d"}, 10**131073,
            '{"n": 1e999999}', "[" * 200_000, "\ufeff{}",
        ]
    ],
    *[
        (what, "correlation_id", value)
        for what in ("signal", "ai_debate", "order")
        for value in ["", "x", "{{id}}", 1, b"x", CORRELATION[:-1], CORRELATION + "0", True]
    ],
    *[("signal", "source_ip", value) for value in ["", "x", "1.2.3", "1.2.3.4:80", "fe80::1%eth0", 1, b"1.2.3.4"]],
    *[("signal", "hmac_verified", value) for value in ["yes", 1, None, "true", b"t"]],
    *[("ai_debate", "is_timeout", value) for value in ["no", 0, None]],
    *[("ai_debate", "elapsed_ms", value) for value in [-1, 2**31, 10**5000, 1.5, "1", True, None, Decimal(1)]],
    *[("order_event", "order_execution_id", value) for value in [2**63, -(2**63) - 1, 1.0, "1", False, None]],
    *[("signal", "price", value) for value in [0, -1, "1e-11", Decimal("1E+400"), Decimal("1E-20000"), 10**131073]],
    ("ai_debate", "confidence_score", 2),
    ("order", "quantity", 0),
    ("order", "price", None),
    ("order_event", "positions_closed", {}),
    ("order_event", "fill_quantity", None),
]  # fmt: skip


@pytest.mark.parametrize("name", ["record", "append"])
def test_what_is_refused_says_with_which_code_and_of_which_column(session: Connection, name: str) -> None:
    wrong = []
    for what, column, value in BAD:
        count = one(session, "select count(*) from signals")
        long = isinstance(value, int) and value.bit_length() > 99
        shown = f"{name}_{what} {column}={'a long int' if long else repr(value)[:40]}"
        try:
            write(session, name, what, **{column: value})
        except errors.AlphaDbError as problem:
            found = (problem.code, problem.column, bool(problem.hint), len(problem.message) < 400)
            texts = f"{problem.message} {problem.detail} {problem.hint}"
            if (
                not (problem.code and problem.column == column and found[2:] == (True, True))
                or "object at 0x" in texts
            ):
                wrong.append(f"{shown}: {found} {texts:.200}")
        except Exception as problem:
            wrong.append(f"{shown}: {type(problem).__name__}: {problem:.200}")
        else:
            wrong.append(f"{shown}: taken")
        if one(session, "select count(*) from signals") != count:
            wrong.append(f"{shown}: something was stored")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("conn", [None, "postgresql://x", 1])
def test_what_is_no_connection_is_said(conn: Any) -> None:
    for name in ("record_signal", "append_signal"):
        with pytest.raises(errors.WrongType, match="not a connection"):
            getattr(writers, name)(conn, **SIGNAL)


def test_a_closed_and_a_failed_connection_are_said(server: Server, session: Connection) -> None:
    conn = psycopg.connect(server.dsn("bad_arguments"))
    with pytest.raises(psycopg.Error):
        conn.execute("select 1/0")
    with pytest.raises(errors.WrongState) as failed:
        write(conn, "record", "signal", signal_id="failed")
    assert (failed.value.code, bool(failed.value.hint)) == ("25P02", True)
    conn.close()
    for name in ("record", "append"):
        with pytest.raises(errors.ConnectionFailed, match="closed") as gone:
            write(conn, name, "signal", signal_id="closed")
        assert gone.value.hint
    del session


# --------------------------------------------------------------------------------------------------
# What is ours


def calls() -> Iterator[Callable[[Connection], Any]]:
    for name in ("record", "append"):
        for what in BASE:
            yield lambda conn, name=name, what=what: write(conn, name, what)  # type: ignore[misc]


def test_a_missing_installation_is_not_installed(empty_database: str, server: Server) -> None:
    with alpha_db.connect(server.dsn(empty_database), autocommit=True) as conn:
        for call in calls():
            with pytest.raises(errors.NotInstalled) as caught:
                call(conn)
            assert "alpha-db migrate" in str(caught.value.hint)
        for name in sorted(objects.relations()):
            with pytest.raises(errors.AlphaDbError) as found, errors.translate():
                conn.execute(sql.SQL("select * from {}").format(sql.Identifier(name)))
            assert isinstance(found.value, errors.NotInstalled), name
        for name, takes in objects.routines().items():
            given = ", ".join(["null"] * len([one for one in takes if not one.has_default]))
            with pytest.raises(errors.AlphaDbError) as found, errors.translate():
                conn.execute(f"select {name}({given})")
            assert isinstance(found.value, errors.NotInstalled), name
            assert "type casts" not in str(found.value.hint)


def test_wrong_arguments_of_a_function_of_ours_are_told_what_it_takes(session: Connection) -> None:
    for statement in (
        "select record_signal()",
        "select record_signal('a', 'b', 'c', now(), 1, '{}')",
        "select verify_range(1)",
        "select vote(proposal => null)",
        "call append_order(1, 2)",
        "select record_order(no_such => 1)",
    ):
        with pytest.raises(errors.AlphaDbError) as caught, errors.translate():
            session.execute(statement)
        assert isinstance(caught.value, errors.WrongCall), (statement, caught.value)
        assert "pass these arguments" in str(caught.value.hint)


def test_the_names_that_are_ours_are_those_of_the_catalogue(session: Connection) -> None:
    made = [row["name"] for row in query(
        session,
        "select proname::text as name from pg_proc where pronamespace = 'public'::regnamespace"
        " union select relname::text from pg_class where relnamespace = 'public'::regnamespace"
        "  and relkind in ('r', 'v', 'S', 'c')"
        "  and not relname like 'attempts\\_%%' and not relname like '%%\\_id\\_seq'"
        " union select typname::text from pg_type where typnamespace = 'public'::regnamespace and typtype = 'd'",
    )]  # fmt: skip
    assert not [name for name in made if objects.ours(name) is None]
    assert not (objects.routines().keys() | objects.relations()) - set(made)
    there = query(
        session,
        "select proname::text as name, array(select a.name from unnest(p.proargnames, coalesce(p.proargmodes,"
        "  array_fill('i'::\"char\", array[coalesce(cardinality(p.proargnames), 0)])))"
        "  with ordinality as a(name, mode, place)"
        " where a.mode in ('i', 'b', 'v') and a.name <> 'money_type' order by a.place) as arguments"
        " from pg_proc as p where pronamespace = 'public'::regnamespace and prokind in ('f', 'p')",
    )
    found = {row["name"]: row["arguments"] for row in there}
    listed = {name: [a.name for a in takes] for name, takes in objects.routines().items()}
    assert not {name: (found[name], listed[name]) for name in listed if found[name] != listed[name]}


def test_every_rule_of_a_table_that_applications_write_is_told(session: Connection) -> None:
    rules = query(
        session,
        "select conname::text as name from pg_constraint where contype = 'c' and conrelid = any"
        " ('{webhook_deliveries,signals,ai_debates,order_execution,order_events}'::regclass[])",
    )
    assert {row["name"] for row in rules} == set(RULES)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"dbname": "no_such_database"}, "3D000"),
        ({"user": "no_such_user"}, "28000"),
        ({"host": "/nowhere"}, "08001"),
    ],
)
def test_a_connection_that_fails_has_its_code(server: Server, changes: dict[str, str], code: str) -> None:
    dsn = make_conninfo(server.dsn("postgres"), **changes)
    with pytest.raises(errors.ConnectionFailed) as caught:
        alpha_db.connect(dsn)
    assert caught.value.code == code
    with pytest.raises(errors.ConnectionFailed) as plain, errors.translate():
        psycopg.connect(dsn)
    assert plain.value.code == code


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("nonsense", {}),
        ("risk_config", {}),
        ("risk_config", None),
        ("risk_config", {"max_leverage_ratio": 1.5}),
        ("risk_config", {"max_leverage_ratio": Decimal("NaN")}),
        ("asset_kill_threshold", {"asset": None, "kill_loss_pct": "x", "kill_price": 1, "retired": 0}),
        ("quorum_policy", {"tighten": "x", "loosen": None, "govern": {}}),
    ],
    ids=str,
)
def test_a_draft_of_what_is_no_proposal_is_refused(session: Connection, kind: str, payload: Any) -> None:
    with pytest.raises(errors.AlphaDbError) as caught:
        ConfigManager(session).propose(
            ConfigManager(session).draft(kind, payload, reason="r", proposer=uuid4()), AuditSigner.generate()
        )
    assert str(caught.value.code).startswith("RSK-")
    assert caught.value.hint

"""What the writers refuse before anything is sent, and what they make of JSON. No server is needed."""

from __future__ import annotations

import inspect
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha_db import arguments, errors, exact_json, writers
from alpha_db.arguments import money
from alpha_db.queries import query


class NoConnection:
    """Stands for a connection on which nothing may be sent."""

    def cursor(self, **_: object) -> Any:
        """Fail: a refused value must not come this far."""
        raise AssertionError("something was sent")


NO_CONNECTION = cast("psycopg.Connection[Any]", NoConnection())

SIGNAL: dict[str, Any] = {
    "signal_id": "s",
    "symbol": "BTCUSD",
    "side": "BUY",
    "price": "1",
    "quantity": "1",
    "raw_payload": {},
}
DEBATE: dict[str, Any] = {
    "correlation_id": "00000000-0000-0000-0000-000000000000",
    "model_name": "phi-4",
    "reasoning_json": {},
    "confidence_score": "0.5",
    "elapsed_ms": 1,
}
ORDER: dict[str, Any] = {
    "correlation_id": "00000000-0000-0000-0000-000000000000",
    "order_type": "LIMIT",
    "symbol": "BTCUSD",
    "side": "BUY",
    "quantity": "1",
    "price": "1",
}
EVENT: dict[str, Any] = {"order_execution_id": 1, "event_type": "FILL"}

MONEY = [
    (writers.record_signal, SIGNAL, "price"),
    (writers.record_signal, SIGNAL, "quantity"),
    (writers.record_ai_debate, DEBATE, "confidence_score"),
    (writers.record_order, ORDER, "quantity"),
    (writers.record_order, ORDER, "price"),
    (writers.record_order_event, EVENT, "fill_quantity"),
    (writers.record_order_event, EVENT, "fill_price"),
    (writers.record_order_event, EVENT, "zar_equity"),
]


class Float32:
    """Like numpy's: a binary float that is no subclass of float."""

    def __float__(self) -> float:
        return 0.1


@pytest.mark.parametrize(("function", "arguments", "name"), MONEY)
@pytest.mark.parametrize(
    "value",
    [
        0.1,
        1.0,
        float("nan"),
        True,
        pytest.param(Float32(), id="Float32"),
        Fraction(1, 3),
        1j,
        b"1",
        "",
        " 1",
        "1_000",
        "0x10",
        "NaN",
        "1,5",
        "١",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
    ],
    ids=repr,
)
def test_refused_as_money(function: Any, arguments: dict[str, Any], name: str, value: object) -> None:
    with pytest.raises(errors.DecimalError, match=f"AUD-001: {name} ") as caught:
        function(NO_CONNECTION, **(arguments | {name: value}))
    assert caught.value.sqlstate == "AUD01"


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("", "It is empty."),
        ("  ", "It is blank."),
        ("NaN", "NaN is not an amount."),
        ("-inf", "-inf is not an amount."),
        ("{{strategy.order.price}}", "a placeholder that the sender did not fill in"),
        ("${price}", "a placeholder that the sender did not fill in"),
        (" 1.5 ", "leave out the blanks around it"),
        ("1,5", "the decimal separator is a point"),
        ("1,234.50", "digits are not grouped"),
        ("0x10", "only decimal digits are taken"),
        ("1_0", "leave out the underscores"),
        ("\u0661", "only the digits 0 to 9 are taken"),
        ("1e99999", "no column holds so many digits"),
        ("ten", 'It is "ten", which is not a decimal number.'),
        (None, "It is missing"),
        (True, "It is true, a truth value."),
        (b"1", "It came as bytes"),
        (0.1, "A binary float has lost digits"),
        (1e400, "inf is not an amount."),
        (float("nan"), "nan is not an amount."),
        (Decimal("NaN"), "NaN is not an amount."),
        (Decimal("1e-20000"), "No column holds so many digits."),
        (Decimal("1e200000"), "No column holds so many digits."),
        ([1], "list is not a decimal number."),
        ("1" * 100_000 + "x", "which is not a decimal number"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_detail_says_what_is_wrong_with_this_amount(value: object, detail: str) -> None:
    with pytest.raises(errors.DecimalError) as caught:
        writers.record_signal(NO_CONNECTION, **(SIGNAL | {"price": value}))
    assert detail in str(caught.value.detail)
    assert ("float" in str(caught.value.detail)) == (value == 0.1)
    assert (caught.value.column, caught.value.code, bool(caught.value.hint)) == ("price", "AUD-001", True)
    assert len(str(caught.value.detail)) < 200


@pytest.mark.parametrize("value", [Decimal("1.50"), 7, "1.50", "-0.1", ".5", "5.", "1e-8", "6.4E+4", 10**40])
def test_taken_as_money(value: Any) -> None:
    with pytest.raises(AssertionError, match="something was sent"):
        writers.record_signal(NO_CONNECTION, **(SIGNAL | {"price": value}))


@pytest.mark.parametrize("value", [1.5, "1", None])
def test_milliseconds_are_whole(value: object) -> None:
    with pytest.raises(TypeError):
        writers.record_ai_debate(NO_CONNECTION, **(DEBATE | {"elapsed_ms": value}))


class Raising:
    """A value whose own code fails when it is read."""

    def __index__(self) -> int:
        raise RuntimeError("no")


class RaisingDict(dict[str, Any]):
    """As Raising."""

    def items(self) -> Any:
        """Fail."""
        raise RuntimeError("no")


class RaisingDecimal(Decimal):
    """As Raising."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (writers.record_ai_debate, DEBATE | {"elapsed_ms": int}),
        (writers.record_ai_debate, DEBATE | {"elapsed_ms": Raising()}),
        (writers.record_order_event, EVENT | {"order_execution_id": int}),
        (writers.record_ai_debate, DEBATE | {"reasoning_json": RaisingDict(a=1)}),
        (writers.record_signal, SIGNAL | {"raw_payload": {"n": RaisingDecimal(1)}}),
    ],
)
def test_a_value_that_cannot_be_read_is_a_wrong_type(function: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.WrongType) as caught:
        function(NO_CONNECTION, **arguments)
    assert (caught.value.column in arguments, caught.value.code, bool(caught.value.hint)) == (
        True,
        "42804",
        True,
    )


def test_a_decimals_own_methods_are_not_asked() -> None:
    assert type(money("price", RaisingDecimal("1.5"))) is Decimal


@pytest.mark.parametrize("name", ["record_signal", "append_signal"])
def test_a_call_with_too_much_or_too_little_is_named_as_it_was_called(name: str) -> None:
    function = getattr(writers, name)
    with pytest.raises(errors.WrongCall, match=f"^{name} takes no argument colour$") as unknown:
        function(NO_CONNECTION, **SIGNAL, colour=1)
    assert (unknown.value.column, unknown.value.code, isinstance(unknown.value, TypeError)) == (
        "colour",
        "42883",
        True,
    )
    assert "signal_id, symbol" in str(unknown.value.hint)
    with pytest.raises(errors.WrongCall, match=f"^{name} takes its arguments by name$"):
        function(NO_CONNECTION, "s", "BTCUSD")
    with pytest.raises(errors.WrongType, match="symbol is missing") as missing:
        function(NO_CONNECTION, **{key: value for key, value in SIGNAL.items() if key != "symbol"})
    assert missing.value.column == "symbol"


@pytest.mark.parametrize(
    ("function", "arguments", "column"),
    [
        (writers.record_signal, SIGNAL, "signal_id"),
        (writers.record_signal, SIGNAL, "symbol"),
        (writers.record_ai_debate, DEBATE, "model_name"),
        (writers.record_order, ORDER, "symbol"),
        (writers.record_order, ORDER, "exchange_order_id"),
    ],
)
def test_a_key_or_a_name_is_no_placeholder(function: Any, arguments: dict[str, Any], column: str) -> None:
    with pytest.raises(errors.ValueRefused, match="a placeholder") as caught:
        function(NO_CONNECTION, **(arguments | {column: "tv-{{strategy.order.id}}"}))
    assert (caught.value.column, caught.value.code) == (column, "23514")


def test_decimals_in_json_keep_every_digit() -> None:
    text = (
        '{"price": 64123.5500000000, "n": 1.50, "big": 12345678901234567890.12345678901234567890, "e": 1E+5}'
    )
    value = exact_json.loads(text)
    assert exact_json.dumps(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_json_has_no_nan(value: object) -> None:
    with pytest.raises(errors.DecimalError):
        exact_json.dumps({"deep": [{"value": value}]})


@pytest.mark.parametrize("value", [{1: "x"}, {"x": object()}, b"x", {"x": {1, 2}}])
def test_what_is_not_json(value: object) -> None:
    with pytest.raises(TypeError):
        exact_json.dumps(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(errors.WrongType, match="contains itself"):
        exact_json.dumps({"x": endless})
    twice = [1]
    assert exact_json.dumps([twice, twice]) == "[[1], [1]]"


def test_no_limit_of_python_is_met() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    text = exact_json.dumps(deep)
    assert text == "[" * 100_000 + "1" + "]" * 100_000
    assert exact_json.loads(text) == text
    long = exact_json.dumps({"n": 10**5000})
    assert exact_json.loads(long) == {"n": 10**5000}
    while isinstance(
        deep, list
    ):  # taken apart from outside, because Python frees what is nested by recursion
        deep = deep[0]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_json_is_what_python_reads_back(value: Any) -> None:
    def plain(item: Any) -> Any:
        if isinstance(item, float):
            return Decimal(repr(item))
        if isinstance(item, list):
            return [plain(each) for each in item]
        return {key: plain(each) for key, each in item.items()} if isinstance(item, dict) else item

    text = exact_json.dumps(value)
    json.loads(text)  # is JSON, whoever reads it
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal) == plain(value)


@pytest.mark.parametrize("what", ["signal", "ai_debate", "order", "order_event"])
@pytest.mark.parametrize("how", ["record", "append"])
def test_every_argument_is_read_and_sent(how: str, what: str) -> None:
    """psycopg ignores a value that the query does not name, so a forgotten one would be lost without a word."""
    takes = [*inspect.signature(getattr(writers, f"{how}_{what}")).parameters][1:]
    assert [name for name in takes if f"%({name})s" not in query(f"{how}_{what}")] == []
    assert [name for name in takes if name not in arguments._READERS] == []

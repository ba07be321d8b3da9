"""Templates with named placeholders, which the chain triggers and the verifying queries are made from."""

from __future__ import annotations

import psycopg
import pytest

from tests.support import Connection, one


def fill(db: Connection, text: str, *names_and_values: str | None) -> str:
    return str(one(db, "select _fill(%s, variadic %s::text[])", [text, list(names_and_values)]))


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("from {x:I}", 'from "it\'s"'),
        ("= {x:L}", "= 'it''s'"),
        ("{x:s}, {x:s}", "it's, it's"),
        ("'{x}' ~ '{64}' {} 5 % 3 %s %1$I {x:s}", "'{x}' ~ '{64}' {} 5 % 3 %s %1$I it's"),
    ],
)
def test_placeholders_are_quoted_by_their_kind_and_all_else_stays(
    db: Connection, text: str, filled: str
) -> None:
    assert fill(db, text, "x", "it's") == filled


def test_a_value_is_never_read_as_a_placeholder(db: Connection) -> None:
    assert fill(db, "{a:s} {b:s}", "a", "{b:s} %1$s", "b", "{a:L}") == "{b:s} %1$s {a:L}"


def test_null_is_the_literal_null(db: Connection) -> None:
    assert fill(db, "{x:L}", "x", None) == "NULL"


@pytest.mark.parametrize("text", ["{x:I} {y:I}", "{x} is no placeholder"])
def test_a_missing_value_or_placeholder_is_refused(db: Connection, text: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"no placeholder|lacks a value"):
        fill(db, text, "x", "1")

"""Recording many rows of a table in one call: all of them, or none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, overload
from uuid import UUID

import psycopg

from alpha_db import arguments, calls, takes, writers
from alpha_db.errors import AlphaDbError, DecimalError, ValueRefused, WrongType, shorten
from alpha_db.exact_json import DEEPEST, JsonText, dumps, loads
from alpha_db.service import results

TABLES = ("signals", "ai_debates", "orders", "order_events")
#: Levels of JSON in an element, so that the array of results can be read.
_DEEPEST = DEEPEST - 5


@dataclass(frozen=True)
class ManyCall(calls.Call):
    """A call with an array of rows."""

    elements: tuple[calls.Values, ...] = ()

    def result(self, found: list[dict[str, Any]]) -> Any:
        """Return what the writer gives: a list."""
        if found and found[0].keys() == {"results"}:
            found = found[0]["results"]
        given = [super(ManyCall, self).result([row]) for row in found]
        for row in given:
            if isinstance(row.get("correlation_id"), str):  # it was in a JSON array
                row["correlation_id"] = UUID(row["correlation_id"])
        return given

    def tell(self, problem: AlphaDbError) -> None:
        """Have the database's refusal name the element, too."""
        said = problem.__cause__.diag.message_detail if isinstance(problem.__cause__, psycopg.Error) else None
        if found := re.match(r"Element ([0-9]+)\.", said or ""):
            place = int(found[1])
            calls.Call("", self.elements[place - 1]).tell(problem)
            _name_element(problem, place)


@overload
def record_many(
    conn: writers.Connection, table: Literal["signals"], given: Iterable[takes.SignalArguments], /
) -> list[results.RecordedSignal]: ...
@overload
def record_many(
    conn: writers.Connection, table: Literal["ai_debates"], given: Iterable[takes.AiDebateArguments], /
) -> list[results.RecordedAiDebate]: ...
@overload
def record_many(
    conn: writers.Connection, table: Literal["orders"], given: Iterable[takes.OrderArguments], /
) -> list[results.RecordedOrder]: ...
@overload
def record_many(
    conn: writers.Connection, table: Literal["order_events"], given: Iterable[takes.OrderEventArguments], /
) -> list[results.RecordedOrderEvent]: ...
def record_many(conn: writers.Connection, table: str, given: Iterable[Any], /) -> Any:
    """Record many rows of one table in one call, all or none; return them in the order given.

    Each is a dict of what the table's own writer takes. What is refused is raised as that writer raises it, and
    ``detail`` begins with the element: ``Element 3.`` for the third.
    """
    return writers.run(conn, prepare_many("record_many", (conn, table, given)))


@overload
def append_many(
    conn: writers.Connection, table: Literal["signals"], given: Iterable[takes.SignalArguments], /
) -> list[results.Appended]: ...
@overload
def append_many(
    conn: writers.Connection, table: Literal["ai_debates"], given: Iterable[takes.AiDebateArguments], /
) -> list[results.Appended]: ...
@overload
def append_many(
    conn: writers.Connection, table: Literal["orders"], given: Iterable[takes.OrderArguments], /
) -> list[results.Appended]: ...
@overload
def append_many(
    conn: writers.Connection, table: Literal["order_events"], given: Iterable[takes.OrderEventArguments], /
) -> list[results.AppendedOrderEvent]: ...
def append_many(conn: writers.Connection, table: str, given: Iterable[Any], /) -> Any:
    """As record_many, and the rows are on disk when this returns, unless the connection is in a transaction."""
    return writers.run(conn, prepare_many("append_many", (conn, table, given)))


def prepare_many(name: str, args: tuple[Any, ...], *, is_async: bool = False) -> ManyCall:
    """Read the arguments of record_many or append_many: the connection, what it is, and the elements."""
    conn = calls.connection_of(name, args, is_async=is_async)
    _, table, given = args
    how = name.partition("_")[0]
    if table not in TABLES:
        said, hint = f"{name} records no {shorten(str(table), 60)}", f"Name one of {', '.join(TABLES)}."
        raise ValueRefused(said, hint=hint, sqlstate="22023", column="table")
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        said = f"{name} takes a list of dicts: it came as {type(given).__name__}"
        raise WrongType(said, hint="Pass a list, with a dict for each row.", sqlstate="42804", column=table)
    elements: list[calls.Values] = []
    texts: list[str] = []
    for place, element in enumerate(given, 1):
        try:
            if not isinstance(element, Mapping):
                said = f"{name} takes dicts, not {type(element).__name__}"
                raise WrongType(said, hint="Pass a dict for each row.", sqlstate="42804", column=table)
            values = calls.read(name, table.removesuffix("s"), element)
            texts.append(_element(values))
        except AlphaDbError as problem:
            _name_element(problem, place)
            raise
        elements.append(values)
    statement = calls.statement_of(conn, f"{how}_{table}")
    return ManyCall(statement, {table: f"[{', '.join(texts)}]"}, calls.gives(how, table), tuple(elements))


def _name_element(problem: AlphaDbError, place: int) -> None:
    if not (problem.detail or "").startswith("Element "):
        problem.detail = f"Element {place}. {problem.detail or ''}".rstrip()


def _element(values: Mapping[str, object]) -> str:
    """Return read arguments as one JSON object. Raises ValueRefused for JSON that no array of rows can hold."""
    members = {}
    for column, value in values.items():
        if column in arguments.JSON and value is not None:
            members[column] = _within_array(column, str(value))
        elif value is not None:
            members[column] = dumps(str(value) if isinstance(value, UUID) else value)
    return "{" + ", ".join(f'"{column}": {printed}' for column, printed in members.items()) + "}"


def _within_array(column: str, printed: str) -> str:
    """Return JSON text if it is one value that jsonb holds: whatever is wrong with it would fail the whole array."""
    level, depth = [loads(printed)], 0
    while level:
        for item in level:
            is_deep = depth == _DEEPEST and isinstance(item, dict | list)
            if is_deep or isinstance(item, JsonText | float) or not _is_held(item):
                hint = f"Send JSON of at most {_DEEPEST} levels, or record the row alone."
                said = f"{column} is no JSON that can be sent in an array"
                raise ValueRefused(said, hint=hint, sqlstate="22P02", column=column)
            if isinstance(item, str):
                arguments.sendable(column, item)
        level = [
            each
            for item in level
            if isinstance(item, dict | list)
            for each in ([*item, *item.values()] if isinstance(item, dict) else item)
        ]
        depth += 1
    return printed


def _is_held(item: Any) -> bool:
    with suppress(DecimalError):
        if isinstance(item, Decimal):
            arguments.money("number", item)
        return True
    return False

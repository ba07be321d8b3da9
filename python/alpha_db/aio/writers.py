"""The writers, awaited: what they send and what they make of the answer is alpha_db.writers'."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

import psycopg
from psycopg.rows import dict_row

from alpha_db import takes, writers
from alpha_db.calls import Call, declared, prepare
from alpha_db.loaders import read_as_stored
from alpha_db.service import results
from alpha_db.service.many import prepare_many

Connection = psycopg.AsyncConnection[Any]
P = ParamSpec("P")
T = TypeVar("T")


def _twin(
    writer: Callable[Concatenate[writers.Connection, P], T],
) -> Callable[Concatenate[Connection, P], Coroutine[Any, Any, T]]:
    gives = writer.__signature__.return_annotation  # type: ignore[attr-defined]
    doc = f"{writer.__doc__}\n\nTo be awaited, on what ``alpha_db.aio.connect()`` gives."
    return declared(writer, writer.__name__, doc, gives, _call)  # type: ignore[no-any-return]


async def _call(name: str, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
    call = prepare(name, args, given, is_async=True)
    return await run(args[0], call)


async def run(conn: Connection, call: Call) -> Any:
    """Send a call, and return what the writer gives."""
    with call.problems():
        async with conn.cursor(row_factory=dict_row) as cursor:
            read_as_stored(cursor)
            await cursor.execute(call.statement, call.values)
            return call.result(await cursor.fetchall())


record_webhook = _twin(writers.record_webhook)
append_webhook = _twin(writers.append_webhook)
record_signal = _twin(writers.record_signal)
append_signal = _twin(writers.append_signal)
record_ai_debate = _twin(writers.record_ai_debate)
append_ai_debate = _twin(writers.append_ai_debate)
record_order = _twin(writers.record_order)
append_order = _twin(writers.append_order)
record_order_event = _twin(writers.record_order_event)
append_order_event = _twin(writers.append_order_event)


@overload
async def record_many(
    conn: Connection, table: Literal["signals"], given: Iterable[takes.SignalArguments], /
) -> list[results.RecordedSignal]: ...
@overload
async def record_many(
    conn: Connection, table: Literal["ai_debates"], given: Iterable[takes.AiDebateArguments], /
) -> list[results.RecordedAiDebate]: ...
@overload
async def record_many(
    conn: Connection, table: Literal["orders"], given: Iterable[takes.OrderArguments], /
) -> list[results.RecordedOrder]: ...
@overload
async def record_many(
    conn: Connection, table: Literal["order_events"], given: Iterable[takes.OrderEventArguments], /
) -> list[results.RecordedOrderEvent]: ...
async def record_many(conn: Connection, table: str, given: Iterable[Any], /) -> Any:
    """As alpha_db.record_many(), awaited."""
    return await run(conn, prepare_many("record_many", (conn, table, given), is_async=True))


@overload
async def append_many(
    conn: Connection, table: Literal["signals"], given: Iterable[takes.SignalArguments], /
) -> list[results.Appended]: ...
@overload
async def append_many(
    conn: Connection, table: Literal["ai_debates"], given: Iterable[takes.AiDebateArguments], /
) -> list[results.Appended]: ...
@overload
async def append_many(
    conn: Connection, table: Literal["orders"], given: Iterable[takes.OrderArguments], /
) -> list[results.Appended]: ...
@overload
async def append_many(
    conn: Connection, table: Literal["order_events"], given: Iterable[takes.OrderEventArguments], /
) -> list[results.AppendedOrderEvent]: ...
async def append_many(conn: Connection, table: str, given: Iterable[Any], /) -> Any:
    """As alpha_db.append_many(), awaited."""
    return await run(conn, prepare_many("append_many", (conn, table, given), is_async=True))

"""What a writer sends and what it makes of the answer, whether the connection waits for it or is awaited."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, LiteralString, cast, get_type_hints

import psycopg
from psycopg import pq

from alpha_db import arguments, takes
from alpha_db.errors import AlphaDbError, WrongCall, WrongType, shorten, shown, translate
from alpha_db.pooled import qualified
from alpha_db.queries import query

Connection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
Values = dict[str, object]

_ARGUMENTS: dict[str, type] = {
    "webhook": takes.WebhookArguments,
    "signal": takes.SignalArguments,
    "ai_debate": takes.AiDebateArguments,
    "order": takes.OrderArguments,
    "order_event": takes.OrderEventArguments,
}
_DEFAULTS = {"hmac_verified": False, "is_timeout": False, "status": "PENDING"}
_DECIMAL = re.compile(r"decimal\(([0-9]+),([0-9]+)\)")


@dataclass(frozen=True)
class Call:
    """A call that can be sent: its arguments are read, and none of them is refused."""

    statement: LiteralString
    values: Values
    #: which members of the stored row are given back; all, if there are none
    gives: tuple[str, ...] = ()

    def result(self, found: list[dict[str, Any]]) -> Any:
        """Return what the writer gives, from the rows that the statement gave."""
        return {name: found[0].get(name) for name in self.gives or found[0]}

    @contextmanager
    def problems(self) -> Iterator[None]:
        """Raise our exception for the database's, with the argument that was refused."""
        try:
            with translate():
                yield
        except AlphaDbError as problem:
            self.tell(problem)
            raise

    def tell(self, problem: AlphaDbError) -> None:
        """Have the database's refusal name the argument, and its value if it broke a rule."""
        if problem.column is None:
            problem.column = _column_of(problem, self.values)
        if problem.sqlstate == "23514" and problem.column in self.values:
            problem.detail = f"{problem.column} is {shown(self.values[problem.column])}."


def prepare(name: str, args: tuple[Any, ...], given: Mapping[str, Any], *, is_async: bool = False) -> Call:
    """Read the arguments of the writer of this name. Raises what it refuses, before anything is sent."""
    conn = connection_of(name, args, is_async=is_async)
    how, _, what = name.partition("_")
    if len(args) > 1:
        raise WrongCall(f"{name} takes its arguments by name", hint=_by_name(what), sqlstate="42883")
    values = read(name, what, given)
    return Call(statement_of(conn, name), values, gives(how, what))


def gives(how: str, what: str) -> tuple[str, ...]:
    """Return which members of the stored row a writer gives."""
    if how == "record":
        return ()
    if what == "webhook":
        return ("id", "row_hash", "is_new", "body", "body_problem", "is_whole")
    return ("id", "correlation_id", "row_hash", "is_new")


def read(caller: str, what: str, given: Mapping[str, Any]) -> Values:
    """Return the arguments as they are sent, none missing and none too many."""
    known = parameters(what)
    for name in given:
        if name not in known:
            said = f"{caller} takes no argument {shorten(str(name), 60)}"
            raise WrongCall(said, hint=_by_name(what), sqlstate="42883", column=str(name))
    defaults = {name: one.default for name, one in known.items() if one.default is not one.empty}
    for name in known:
        if name not in given and name not in defaults:
            raise WrongType(f"{name} is missing", hint=f"Pass {name}.", sqlstate="23502", column=name)
    may_be_none = {name for name, default in defaults.items() if default is None}
    return arguments.read({**defaults, **given}, may_be_none)


@functools.cache
def parameters(what: str) -> dict[str, inspect.Parameter]:
    """Return what the writers of a signal, an order ... take by name."""
    kind: Any = _ARGUMENTS[what]
    return {
        name: inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=inspect.Parameter.empty if name in kind.__required_keys__ else _DEFAULTS.get(name),
        )
        for name, annotation in get_type_hints(kind).items()
    }


def declared(
    like: Callable[..., Any], name: str, doc: str | None, result: str, send: Callable[..., Any]
) -> Any:
    """Return the writer of this name, which shows each argument in help(), as the one that it is like."""

    def write(*args: Any, **given: Any) -> Any:
        return send(name, args, given)

    shown_as: Any = functools.update_wrapper(write, like)
    del shown_as.__wrapped__
    shown_as.__name__ = shown_as.__qualname__ = name
    shown_as.__doc__ = doc
    first = next(iter(inspect.signature(like).parameters.values()))
    named = parameters(name.partition("_")[2]).values()
    shown_as.__signature__ = inspect.Signature([first, *named], return_annotation=result)
    return write


def statement_of(conn: Connection, name: str) -> LiteralString:
    """Return what a writer sends: an append is the CALL where that can commit, and its twin elsewhere."""
    how, _, what = name.partition("_")
    if how == "append" and _commits_by_itself(conn):
        return qualified(query(name), conn)
    return query(f"record_{what}")


def _by_name(what: str) -> str:
    return f"Pass by name: {', '.join(parameters(what))}."


def connection_of(name: str, args: tuple[Any, ...], *, is_async: bool) -> Connection:
    """Return the first argument, which must be a connection of that kind. Raises WrongType."""
    conn = args[0] if args else None
    other = psycopg.Connection if is_async else psycopg.AsyncConnection
    if hasattr(conn, "cursor") and not isinstance(conn, other):
        return cast(Connection, conn)
    module = "alpha_db.aio" if is_async else "alpha_db"
    hint = f"Pass what {module}.connect() returned."
    if isinstance(conn, other):
        twin = f"alpha_db.{name}" if is_async else f"await alpha_db.aio.{name}"
        hint = f"{hint} For this connection call {twin}."
    said = f"the first argument is not {'an asynchronous' if is_async else 'a'} connection"
    raise WrongType(f"{said}: it came as {type(conn).__name__}", hint=hint, sqlstate="42804", column="conn")


def _commits_by_itself(conn: Connection) -> bool:
    """Whether a CALL can commit: in autocommit, in no transaction, and in no pipeline, which is one."""
    return (
        conn.autocommit
        and conn.info.transaction_status == pq.TransactionStatus.IDLE
        and conn.pgconn.pipeline_status == pq.PipelineStatus.OFF
    )


def _column_of(problem: AlphaDbError, values: Values) -> str | None:
    """Return which argument the database refused, where it does not say: the only one that it can be."""
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    wrong: list[str] = []
    if problem.code == "AUD-001" and (found := _DECIMAL.search(problem.message)):
        amounts = {name: value for name, value in values.items() if isinstance(value, Decimal)}
        digits, scale = int(found[1]), int(found[2])
        wrong = [name for name, value in amounts.items() if not arguments.fits(value, digits, scale)]
    elif problem.sqlstate in ("22P02", "22P05", "22003", "54001"):
        wrong = [name for name in values if name in arguments.JSON and values[name] is not None]
    elif problem.sqlstate in ("AUD12", "54000"):  # the row is too large: what is longest in it
        wrong = [max(texts, key=lambda name: len(texts[name]))] if texts else []
    return wrong[0] if len(wrong) == 1 else None

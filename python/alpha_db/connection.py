"""Connecting: where the DSN comes from, how a schema is chosen, and errors that name no password."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Diagnostic
from psycopg.rows import tuple_row

from alpha_db.arguments import text as require_text
from alpha_db.errors import ConnectionFailed, from_database, squeeze
from alpha_db.loaders import read_what_is_there
from alpha_db.pooled import PinningConnection, PinningCursor, Pins, is_pooled, read_options
from alpha_db.queries import query

logger = logging.getLogger("alpha_db.server")

#: libpq's default is to wait for the kernel, which is more than two minutes.
CONNECT_TIMEOUT = 10

# psycopg's own arguments of connect(); every other is libpq's
_PSYCOPG = ("autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory")

_ALWAYS = {
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "row_security": "off",
}

_LEVELS = {"WARNING": logging.WARNING, "DEBUG": logging.DEBUG, "LOG": logging.DEBUG}


def connect(dsn: str | None = None, *, schema: str | None = None, **kwargs: Any) -> psycopg.Connection[Any]:
    """Open a connection whose search_path is the schema that alpha-db is installed in.

    Takes a URL or a keyword string (default: ``ALPHA_DB_DSN``, then libpq's own environment), the schema
    (default: the role's search_path), and any argument of ``psycopg.connect``. The server's notices go to the
    logger ``alpha_db.server``. Raises ConnectionFailed. Source: docs/operations.md and README.md.

    The first statement pins search_path to that schema and pg_temp: from then on no object of another schema can
    stand in front of PostgreSQL's own, whatever the database, the role or the session has set. It also switches
    row_security off: what a policy would hide raises 42501 instead. An application that reads tables of its own under
    row-level security over this connection runs ``set row_security = on`` first. Behind a pooler such as PgBouncer each
    transaction is told so again, and statements are not prepared; it is known by the server's process being another
    than the one that was announced.
    """
    params, ours = split(dsn, schema, kwargs)
    with failures(dsn):
        return open_pinned(params, **ours)


def split(
    dsn: str | None, schema: str | None, given: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what connect() is given: libpq's parameters, and psycopg's own arguments. Raises as parameters()."""
    ours = {name: given[name] for name in _PSYCOPG if name in given}
    libpq = {name: value for name, value in given.items() if name not in ours}
    return parameters(dsn, schema=schema, **libpq), ours


@contextmanager
def failures(dsn: str | None) -> Iterator[None]:
    """Raise ConnectionFailed, without the password, for what fails while connecting."""
    try:
        yield
    except psycopg.Error as exc:
        raise _connection_failed(exc, dsn) from (None if _looks_broken(dsn) else exc)


def connect_for_command(dsn: str | None = None, *, schema: str | None = None) -> psycopg.Connection[Any]:
    """Open a connection for a command: in autocommit, because what a command does is to last, and with no default
    of the database or the role that would keep it from working. Raises ConnectionFailed.
    """
    conn = connect(dsn, schema=schema, autocommit=True)
    try:
        with failures(dsn):
            pin_for_command(conn)
    except BaseException:
        conn.close()
        raise
    return conn


def open_pinned(params: dict[str, Any], *, autocommit: bool = False, **ours: Any) -> PinningConnection:
    """Open a connection with libpq's parameters and pin its names. Raises psycopg.Error.

    The other arguments are those of ``psycopg.connect``.
    """
    factories = {"cursor_factory": PinningCursor, **ours}
    try:
        conn = PinningConnection.connect(make_conninfo(**params), autocommit=True, **factories)
    except (UnicodeError, psycopg.OperationalError) as problem:
        without = without_options(params, problem)
        conn = PinningConnection.connect(make_conninfo(**without), autocommit=True, **factories)
    begin(conn, params)
    try:
        pin_names(conn)
        if "prepare_threshold" in ours:
            conn.prepare_threshold = ours["prepare_threshold"]
        conn.autocommit = autocommit
    except BaseException:
        conn.close()
        raise
    return conn


def without_options(params: dict[str, Any], problem: Exception) -> dict[str, Any]:
    """Return what to try again with, through a pooler that refuses options: they are pinned later.

    Raises what connecting raised if that was something else, as psycopg.Error.
    """
    if isinstance(problem, UnicodeError):  # of the encoding for names of hosts
        raise psycopg.OperationalError("failed to resolve host: no host has such a name") from None
    if not options_of(params) or "unsupported startup parameter: options" not in str(problem):
        raise problem
    return {**params, "options": ""}


def options_of(params: dict[str, Any]) -> str:
    """Return the server settings that the caller gives."""
    return str(params.get("options") or os.environ.get("PGOPTIONS", ""))


def begin(conn: Pins, params: dict[str, Any]) -> None:
    """Prepare a connection that was just opened, before its first statement."""
    conn.options = read_options(options_of(params))
    conn.add_notice_handler(log_notice)
    read_what_is_there(conn)


def pin_names(conn: psycopg.Connection[Any]) -> bool:
    """Pin what every name and every string in SQL means on a connection, for as long as it lasts.

    Must be the connection's first statement, in autocommit: a rollback would undo it. Returns whether a pooler stands
    between the connection and the server. Raises ConnectionFailed if one does and the connection is not of connect().
    """
    if is_pooled(conn):
        return True
    cursor, steps = conn.cursor(row_factory=tuple_row), pinning(conn)
    found: Any = None
    with suppress(StopIteration):
        while True:
            statement, values = steps.send(found)
            told = cursor.execute(statement, values, prepare=False)
            found = None if values is None else told.fetchone()
    if is_read_only(conn):
        conn.read_only = True
    return is_pooled(conn)


def pinning(conn: psycopg.BaseConnection[Any]) -> Generator[tuple[Any, Any], Any, None]:
    """Yield the statements that pin a connection's names; takes the first row of each that has values."""
    row = yield query("pin_names"), {"pid": conn.info.backend_pid}
    if not row or not row[-1]:
        return
    if not isinstance(conn, Pins):
        message = "a pooler gives each transaction of this connection another session"
        hint = "connect with alpha_db.connect, or to the server itself"
        raise ConnectionFailed(message, hint=hint, sqlstate="08001")
    options = dict(conn.options or {})
    yield "begin", None
    yield query("pooled_path"), {"path": options.pop("search_path", None)}
    schema, conn.in_recovery = (yield query("pooled_schema"), {}) or ("pg_catalog", True)
    yield "commit", None
    conn.pins, conn.schema = {}, schema
    conn.prepare_threshold = None  # the next transaction meets another session
    conn.pin("search_path", sql.SQL("{}, pg_temp").format(sql.Identifier(schema)))
    for name, value in {**_ALWAYS, **options}.items():
        conn.pin(name, value)


def is_read_only(conn: psycopg.BaseConnection[Any]) -> bool:
    """Whether each transaction must begin read-only: SET LOCAL of the default would come too late for it."""
    options = conn.options if isinstance(conn, Pins) and is_pooled(conn) else None
    return (options or {}).get("default_transaction_read_only", "").lower() in ("on", "true", "yes", "1")


def pin_for_command(conn: psycopg.Connection[Any]) -> None:
    """Pin what a default of the database or the role, but none of the server, must not take away from a command."""
    pooled = is_pooled(conn)
    values = {"is_pooled": pooled}
    rows = (
        conn.cursor(row_factory=tuple_row).execute(query("pin_for_command"), values, prepare=False).fetchall()
    )
    if pooled and isinstance(conn, PinningConnection):
        options = conn.options or {}
        for name, value in rows:
            if name not in options:
                conn.pin(name, value)
        conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        if not conn.in_recovery and {"default_transaction_read_only"} <= dict(rows).keys() - options.keys():
            conn.read_only = False


def parameters(dsn: str | None = None, *, schema: str | None = None, **kwargs: Any) -> dict[str, Any]:
    """Return libpq's parameters for a DSN (URL, keyword string, or none), with our defaults added.

    Raises ConnectionFailed for a DSN that libpq cannot read, WrongType and ValueRefused for what is no text.
    """
    for name, said in (("dsn", dsn), ("schema", schema)):
        if said is not None:
            require_text(name, said)
    try:
        given = {name: value for name, value in kwargs.items() if value is not None}
        params = conninfo_to_dict(_plain_scheme(_dsn(dsn)), **given)
    except psycopg.Error as exc:
        message = f"invalid DSN: {redact(squeeze(str(exc)), dsn)}"
        hint = "postgresql://user:password@host:port/database, special characters percent-encoded"
        raise ConnectionFailed(message, hint=hint, sqlstate="08001") from None
    params.setdefault("fallback_application_name", "alpha-db")
    if "connect_timeout" not in params and not os.environ.get("PGCONNECT_TIMEOUT"):
        params["connect_timeout"] = CONNECT_TIMEOUT
    # a text that the environment's or the role's encoding has no bytes for would fail the whole result
    params.setdefault("client_encoding", "UTF8")
    if schema is not None:
        set_option(params, "search_path", quote_identifier(schema))
    return params


def set_option(params: dict[str, Any], name: str, value: str) -> None:
    """Add a server setting to libpq's parameters, keeping options that are there or in PGOPTIONS."""
    # an explicit "options" makes libpq ignore PGOPTIONS, so it is taken along
    before = params.get("options") or os.environ.get("PGOPTIONS", "")
    escaped = re.sub(r"([\\\s])", r"\\\1", value)
    params["options"] = f"{before} -c{name}={escaped}".strip()


def quote_identifier(name: str) -> str:
    """Return the name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def be_read_only(conn: psycopg.Connection[Any]) -> None:
    """Make every later statement on the connection fail that would write."""
    if is_pooled(conn):
        conn.read_only = True
    else:
        conn.execute(query("be_read_only"))


def log_notice(diag: Diagnostic) -> None:
    """Log a server message at the level that fits its severity."""
    severity = diag.severity_nonlocalized or "NOTICE"
    logger.log(_LEVELS.get(severity, logging.INFO), "%s", squeeze(diag.message_primary or ""))


def redact(message: str, dsn: str | None) -> str:
    """Return the message without anything that may be part of the DSN's password.

    libpq quotes the piece that it stumbles over, and in a DSN with an unencoded ``@`` or ``/`` in the
    password that piece is often the password.
    """
    text = _dsn(dsn)
    secret = _secret_span(text)

    def hide(match: re.Match[str]) -> str:
        quote, token = match.groups()
        if secret and (token in secret or unquote(token) in unquote(secret)):
            token = "***"
        elif "@" in token:
            token = "***@" + token.rsplit("@", 1)[1]
        return f"{quote}{token}{quote}"

    message = re.sub(r'(missing "=" after )".*"( in connection)', r"\1***\2", message)
    if _looks_broken(dsn) or "=" not in text:
        message = re.sub(r"""(["'])(.*?)\1""", hide, message)
    return message.replace(secret, "***") if len(secret) > 3 and _looks_broken(dsn) else message


def _dsn(dsn: str | None) -> str:
    return dsn or os.environ.get("ALPHA_DB_DSN") or ""


def _plain_scheme(dsn: str) -> str:
    """yoyo's URLs name the driver; libpq does not know that spelling."""
    return re.sub(r"^(postgres(?:ql)?)\+psycopg\d?://", r"\1://", dsn)


def _secret_span(dsn: str) -> str:
    """Everything that may be the password: in a URL from the first colon after the scheme to the last @."""
    if "://" not in dsn:
        found = re.search(r"password\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", dsn)
        return found.group(1).strip("'") if found else ""
    rest = dsn.split("://", 1)[1]
    userinfo, at, _ = rest.rpartition("@")
    return userinfo.partition(":")[2] if at else ""


def _looks_broken(dsn: str | None) -> bool:
    """Whether a URL's user part may reach beyond where libpq stops reading it: at the first @ or /."""
    rest = _dsn(dsn).partition("://")[2]
    user, at, _ = rest.partition("@")
    return rest.count("@") > 1 or (bool(at) and "/" in user)


def _connection_failed(exc: psycopg.Error, dsn: str | None) -> ConnectionFailed:
    failed = from_database(exc)
    hint = failed.hint
    if _looks_broken(dsn):
        hint = "is there an @ or / in the user name or password? percent-encode it (%40, %2F)"
    return ConnectionFailed(redact(failed.message, dsn), hint=hint, sqlstate=failed.sqlstate or "08001")

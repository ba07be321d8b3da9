"""alpha-db risk heartbeat."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import Number
from alpha_db.cli.output import clean, emit_json, line, note
from alpha_db.errors import AlphaDbError, ConnectionFailed, ReadOnlyServer
from alpha_db.queries import ask
from alpha_db.service.backoff import Backoff
from alpha_db.watch.database import Database, TooSlowError

#: How many seconds a heartbeat may take, connecting included, until another connection is tried.
DEADLINE = 5.0
#: What may pass by itself: the server is started again, or another one takes over.
_PASSES = (ConnectionFailed, ReadOnlyServer, TooSlowError)


@click.command(short_help="Show the standbys that the primary lives.")
@click.option(
    "--every",
    metavar="SECONDS",
    type=Number(min=0.1, max=3600),
    help="Go on, so many seconds apart, until SIGTERM or Ctrl-C; choose less than half a lease.",
)
@database_options
def heartbeat(settings: Settings, as_json: bool, every: float | None) -> None:
    """Commit an empty transaction on the primary, so that every standby sees that it lives.

    A guardrail that reads from a standby is in Safe Mode as soon as the last commit that the standby has replayed is
    older than its lease. Heartbeats keep it out of that while nothing else is written. Each takes a transaction id
    and some 50 bytes of write-ahead log, and writes no row.

    With --every the first one must succeed. After that a server that cannot be reached, or is a standby, is tried
    again until it is back, and stderr says so, once for each reason. A signal ends it with 0. Run it where the orders
    are placed, not on the primary: then an old primary that is cut off gets no heartbeat. On a standby it is refused:
    exit 3.

    \b
    Examples:
      alpha-db risk heartbeat
      alpha-db risk heartbeat --every 0.5
    """
    if every is None:
        with settings.installed(writes=True) as (conn, _):
            found = int(ask(conn, "heartbeat")[0]["transaction"])
        if as_json:
            emit_json({"transaction": found, "beats": 1})
        else:
            line(f"Transaction {found} committed, and wrote nothing.")
        return
    with (
        closing(Database(settings.dsn, settings.schema, DEADLINE, may_write=True)) as database,
        _until_signalled() as ended,
    ):
        beats, last = _go_on(database, every, ended)
    if as_json:
        emit_json({"transaction": last, "beats": beats})
    else:
        line(f"{beats:,} heartbeats, the last one transaction {last}.")


def _go_on(database: Database, every: float, ended: threading.Event) -> tuple[int, int | None]:
    """Beat until the event; return how often, and the last transaction. Raises what the first beat raises."""
    backoff = Backoff(first=min(0.1, every), longest=max(2.0, every))
    beats, last = 0, None
    said: tuple[type[AlphaDbError], str | None] | None = None
    while not ended.is_set():
        try:
            last = int(database.ask("heartbeat")[0]["transaction"])
        except AlphaDbError as problem:
            if not beats or not isinstance(problem, _PASSES):
                raise
            reason = type(problem), problem.sqlstate
            if reason != said:
                note(f"no heartbeat, trying again: {clean(problem.message)}")
            said = reason
            if isinstance(problem, ReadOnlyServer):
                database.close()  # the address may lead elsewhere by now
            ended.wait(backoff.next())
            continue
        if said:
            note("heartbeats again")
        beats, said = beats + 1, None
        backoff.reset()
        ended.wait(every)
    return beats, last


@contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and Ctrl-C set."""
    ended = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

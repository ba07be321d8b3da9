"""Seeing to it that damage that was found has engaged the lockdown, or saying that it has not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import click
import psycopg

from alpha_db.cli.common import Settings
from alpha_db.cli.options import Number
from alpha_db.cli.output import clean, note
from alpha_db.errors import AlphaDbError, ConnectionFailed, from_database
from alpha_db.queries import ask
from alpha_db.verify.locks import describe, lock_holders

Row = dict[str, Any]
Connection = psycopg.Connection[Any]
#: Verifies a damaged place again by a connection, which engages the lockdown; returns the verdict.
Again = Callable[[Connection], Mapping[str, Any]]

#: How many seconds a command keeps trying.
ENGAGE_FOR = 30.0
_PAUSE = 0.5
_NOT_ENGAGED = "the lockdown is NOT engaged"
# enough to engage it, and to have a place of each chain in the event
_PLACES = 20
# what fails by itself fails the next time, too: a chain that is not there, say
_IN_VAIN = ("0A", "22", "42")
_NEVER = re.compile(rf"{_NOT_ENGAGED}: .*\((?:{'|'.join(_IN_VAIN)})\w{{3}}\)$", re.DOTALL)


def engage_for_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --engage-for, which the function gets as ``engage_for``."""
    return click.option(
        "--engage-for",
        metavar="SECONDS",
        type=Number(min=0, max=1_000_000),
        default=ENGAGE_FOR,
        show_default=True,
        help="How long to keep trying if damage was found and the lockdown cannot be recorded.",
    )(function)


def lockdown_of(conn: Connection) -> Row | None:
    """Return the row of lockdown_status(); None if it cannot be read: it is gone or locked, or not for this role.

    Raises nothing of the database, because that would hide the damage that was found.
    """
    with suppress(psycopg.Error):
        return next(iter(ask(conn, "lockdown_status")), None)
    return None


def is_recorded(lockdown: Row | None) -> bool:
    """Return whether the lockdown is engaged and its event stands in lockdown_events."""
    return lockdown is not None and lockdown["is_locked"] is True and lockdown["event_id"] is not None


def engaged_now(detail: str | None) -> str | None:
    """Return what a verdict says, without that the lockdown was not engaged when it was given."""
    if detail is None:
        return None
    parts = detail.split("; ")
    return "; ".join("the lockdown is engaged" if part.startswith(_NOT_ENGAGED) else part for part in parts)


class Engager:
    """Sees to it that damage engages the lockdown, within so many seconds in all.

    Takes a connection that may stand in if no other is to be had. `is_recorded` says what came of it: None if there
    was no damage, False if the lockdown or its event could not be recorded, or nothing can be written here.
    """

    def __init__(self, settings: Settings, conn: Connection, *, seconds: float, can_write: bool) -> None:
        self._settings, self._conn, self._can_write = settings, conn, can_write
        self._seconds = self._left = seconds
        self._has_said = False
        self.is_recorded: bool | None = None

    def see_to(self, places: Sequence[Again]) -> None:
        """Verify damaged places again until the lockdown is recorded. Raises nothing of the database."""
        if places and self.is_recorded is not True:
            started = time.monotonic()
            self.is_recorded = _recorded(self._conn) or (self._can_write and self._keep_trying(places))
            self._left -= time.monotonic() - started

    def _keep_trying(self, places: Sequence[Again]) -> bool:
        end = time.monotonic() + self._left
        while time.monotonic() < end:
            try:
                with _session(self._settings, self._conn) as own:
                    verdicts, errors = _attempt(own, places[:_PLACES])
                    if _recorded(own):
                        return True
                    in_vain = all((error.sqlstate or "")[:2] in _IN_VAIN for error in errors)
                    if in_vain and all(_NEVER.search(verdict["detail"] or "") for verdict in verdicts):
                        return False
                    problem = f"{verdicts[0]['detail'] if verdicts else errors[0]}{_holder(own)}"
            except (AlphaDbError, psycopg.Error) as raised:
                problem = str(_ours(raised))
            if not self._has_said:
                note(f"the lockdown is not recorded yet, trying for {self._seconds:g} s: {clean(problem)}")
                self._has_said = True
            time.sleep(max(0.0, min(_PAUSE, end - time.monotonic())))
        return _recorded(self._conn)


def _attempt(conn: Connection, places: Sequence[Again]) -> tuple[list[Mapping[str, Any]], list[AlphaDbError]]:
    """Verify the places again; return the verdicts, and the errors of those that failed, which stop no other."""
    verdicts, errors = [], []
    for again in places:
        try:
            verdicts.append(again(conn))
        except (AlphaDbError, psycopg.Error) as raised:
            errors.append(_ours(raised))
    return verdicts, errors


def _ours(raised: AlphaDbError | psycopg.Error) -> AlphaDbError:
    return from_database(raised) if isinstance(raised, psycopg.Error) else raised


@contextmanager
def _session(settings: Settings, conn: Connection) -> Iterator[Connection]:
    """A new connection, for the first may be what does not get on; that one if there is none to be had."""
    try:
        own = settings.connect()
    except ConnectionFailed:
        yield conn
        return
    with closing(own):
        yield own


def _recorded(conn: Connection) -> bool:
    with suppress(psycopg.Error):
        return is_recorded(lockdown_of(conn))
    return False


def _holder(conn: Connection) -> str:
    """Who holds the lock of the lockdown's log, if that is what is in the way."""
    with suppress(psycopg.Error):
        for row in lock_holders(conn):
            if row["granted"] and row["lock_name"] == "lock_lockdown_events":
                return f"; lock_lockdown_events is held by {describe(row)}"
    return ""

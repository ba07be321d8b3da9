"""Who holds the locks of an installation, in words: for status, and for a command that did not get one in time."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg

from alpha_db.errors import LockTimeout
from alpha_db.queries import Row, ask, ask_one

# how the functions take a lock, and what PostgreSQL adds when it waits for a row
_WANTED = re.compile(r'(?i)lock table only "?(\w+)"?|in relation "(\w+)"')

# modes that keep readers or writers of a table out
_STRONG = re.compile(r"\b(Share|ShareRowExclusive|Exclusive|AccessExclusive)Lock")


def lock_holders(conn: psycopg.Connection[Any]) -> list[Row]:
    """Return the rows of lock_holders(), each with `seconds`: how long it has held or waited, if that can be seen.

    Whoever waits may say how long even if the holder's time is hidden. Raises psycopg.Error.
    """
    found = ask(conn, "lock_holders")
    for row in found:
        waits = [
            other["seconds"] for other in found if other["pid"] in row["blocks"] and not other["granted"]
        ]
        if row["granted"] and row["seconds"] is None:
            row["seconds"] = max((seconds for seconds in waits if seconds is not None), default=None)
    return found


def describe(row: Row) -> str:
    """Return who a holder is: one line, with nothing that the caller may not see."""
    if _is_replayed(row):
        who = "the standby itself, which replays a lock of the primary"
    elif row["pid"] is None:
        who = f"prepared transaction {_quoted(row['gid'])} of {row['login']}"
    else:
        about = [row["login"], row["application"], row["client_address"], row["state"]]
        who = f"session {row['pid']} ({', '.join(str(part) for part in about if part)})"
    since = row["since"]
    if isinstance(since, datetime):
        return f"{who}, since {since:%Y-%m-%d %H:%M:%S%z}"
    return who if row["seconds"] is None else f"{who}, for at least {row['seconds']:.0f} s"


def remedy(row: Row) -> str:
    """Return the statement that ends a holder, or what to do about one that no statement ends."""
    if _is_replayed(row):
        return "look on the primary for who holds it: select * from lock_holders()"
    if row["pid"] is None:
        return f"rollback prepared {_quoted(row['gid'])}"
    return f"select pg_terminate_backend({row['pid']})"


def _is_replayed(row: Row) -> bool:
    """Whether the holder is a standby's process that replays what its primary did. No session ends that."""
    return row["login"] is None and row["application"] == "startup"


def timed_out(conn: psycopg.Connection[Any], problem: Exception) -> LockTimeout:
    """Return the error that a lock was not to be had in time: which one, and who holds it, as far as can be seen.

    Takes the connection that waited, and what it raised: psycopg's error, or ours with psycopg's as its cause.
    """
    original = problem if isinstance(problem, psycopg.Error) else problem.__cause__
    context = (original.diag.context or "") if isinstance(original, psycopg.Error) else ""
    found = _WANTED.search(context)
    wanted = (found[1] or found[2]) if found else None
    waited, holders, queued = None, [], []
    with suppress(psycopg.Error):
        if conn.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            conn.rollback()
        waited = ask_one(conn, "lock_timeout")
        rows = lock_holders(conn)
        # a table itself: whoever has locked one, or waits to, with everybody who reads or writes it behind
        if not wanted:
            rows = [row for row in rows if _STRONG.search(row["mode"])]
        holders = [row for row in rows if row["granted"] and row["lock_name"] == (wanted or row["lock_name"])]
        queued = [row for row in rows if not wanted and not row["granted"]]
    within = f"within {float(waited):g} s" if waited is not None else "in time"
    hints = [remedy(row) for row in holders + queued]
    told = [("" if wanted else f"{row['lock_name']} is ") + f"held by {describe(row)}" for row in holders]
    told += [f"{describe(row)} waits for {row['lock_name']}, and others behind it" for row in queued]
    return LockTimeout(
        f"{wanted or 'a lock'} was not to be had {within}",
        detail="; ".join(told) or None,
        hint=" or ".join(["try again", "--lock-timeout SECONDS", *hints]),
        sqlstate="55P03",
    )


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"

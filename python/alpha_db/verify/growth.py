"""What follows from how the log grows: until when a disk lasts, and what to warn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from alpha_db.queries import Row

#: What runs out within so many days is worth a warning; headroom() has the same number.
SOON = 90
#: Nobody plans for later than so many days.
FAR = 36_525


def whole(growth: Sequence[Row] | None) -> Row | None:
    """Return the row of growth() that is the sum of all tables; None if it could not be asked."""
    return next((row for row in growth or [] if row["table_name"] is None), None)


def disk(growth: Sequence[Row] | None, free: int | None) -> dict[str, Any] | None:
    """Return until when a disk lasts: ``free`` bytes, ``days_left`` and ``until``, a date.

    The last two are None if the log does not grow, or for a hundred years. None without knowing either number.
    """
    found = whole(growth)
    if found is None or free is None:
        return None
    days = free / found["bytes_a_day"] if found["bytes_a_day"] else None
    if days is None or days > FAR:
        return {"free": free, "days_left": None, "until": None}
    until: date = (datetime.now(UTC) + timedelta(days=days)).date()
    return {"free": free, "days_left": int(days), "until": until}


def warnings(report: Mapping[str, Any]) -> list[str]:
    """Return what of a report of status somebody should act on before it is too late."""
    told = [
        f"{row['kind']}, {row['name']}: {row['problem']}"
        for row in report["headroom"] or []
        if row["problem"]
    ]
    lasts = report["disk"]
    if lasts and lasts["days_left"] is not None and lasts["days_left"] < SOON:
        told.insert(0, f"disk: full at the present rate; days left: {lasts['days_left']}")
    return told

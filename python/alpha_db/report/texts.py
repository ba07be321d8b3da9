"""How a report shows times, decimals and texts from the database: short, and never less than it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from alpha_db.pages import visible
from alpha_db.report.reading import MAX_SHOWN, Period


def short_time(said: object) -> str:
    """Return a time, or its ISO 8601 text in UTC, to the second."""
    text = said.isoformat() if isinstance(said, datetime) else str(said or "")
    return f"{text[:10]} {text[11:19]}Z" if len(text) >= 19 else text


def plain(number: object) -> str:
    """Return a decimal without zeros at its end; "-" for none."""
    if number is None:
        return "-"
    text = str(number)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text.lower() else text


def percent(share: object) -> str:
    """Return a share, such as 0.05, in percent: 5; "-" for none, and what is no number as it is."""
    try:
        return "-" if share is None else plain(f"{Decimal(str(share)) * 100:f}")
    except InvalidOperation:
        return brief(share)


def shortened(text: str) -> tuple[str, int]:
    """Return what a page shows of a text, hidden characters as escapes, and how many characters were cut."""
    return visible(text[:MAX_SHOWN]), max(len(text) - MAX_SHOWN, 0)


def brief(said: object, most: int = 200) -> str:
    """Return a text, shortened if it is long; it then says so."""
    text = str(said)
    return text if len(text) <= most else f"{text[:most]}… (shortened)"


def duration(time: timedelta) -> str:
    """Return how long something took, in the two largest units."""
    days, seconds = time.days, time.seconds
    parts = ((days, "d"), (seconds // 3600, "h"), (seconds % 3600 // 60, "min"), (seconds % 60, "s"))
    first = next((number for number, (value, _) in enumerate(parts) if value), 3)
    return " ".join(f"{value} {unit}" for value, unit in parts[first : first + 2] if value) or "0 s"


def period_in_words(period: Period) -> str:
    """Return a period as its first and last day, in UTC, or as times if it is not of whole days."""
    begins, ends = period.begins_at.astimezone(UTC), period.ends_at.astimezone(UTC)
    if any(moment.time() != datetime.min.time() for moment in (begins, ends)):
        return f"from {begins:%Y-%m-%d %H:%M:%SZ} until {ends:%Y-%m-%d %H:%M:%SZ}"
    last = ends - timedelta(days=1)
    return f"{begins:%Y-%m-%d}" if begins == last else f"{begins:%Y-%m-%d} to {last:%Y-%m-%d}"

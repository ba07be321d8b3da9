"""What status prints of how the log grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alpha_db.cli.output import DIM, WARN, Part, clean
from alpha_db.queries import Row
from alpha_db.verify.cli.byte_size import told
from alpha_db.verify.growth import warnings, whole

#: Prints a line under a name.
Section = Callable[..., None]


def tell(report: Mapping[str, Any], section: Section) -> None:
    """Print size, growth, overdue rows, until when the disk lasts, and warnings."""
    if total := whole(report["growth"]):
        section("growth", *_growth(total))
        for row in report["growth"]:
            if row["table_name"] is not None and row["rows_overdue"]:
                which = f"{clean(row['table_name'])}: {row['rows_overdue']:,} rows are past the policy"
                section("retention", f"{which} (keep {clean(row['keep'])})")
        section("disk", *_disk(report["disk"]))
    for text in warnings(report):
        section("warning", (clean(text), WARN))


def _growth(total: Row) -> list[Part]:
    parts: list[Part] = [f"{told(total['bytes'] or 0)}; {told(total['bytes_a_day'] or 0)}"]
    parts.append(f" and {total['rows_a_day'] or 0:,.0f} rows a day of late")
    if total["oldest_created_at"] is not None:
        parts.append(f"; since {clean(total['oldest_created_at'])[:10]}")
    return parts


def _disk(disk: Mapping[str, Any] | None) -> list[Part]:
    if disk is None:
        return [("until when it lasts: give --disk-free BYTES", DIM)]
    free = f"{told(disk['free'])} free, "
    if disk["until"] is None:
        return [free + "which last for more than 100 years"]
    return [f"{free}which last until {disk['until']} at this rate"]

"""alpha-db retention plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import table_option
from alpha_db.cli.output import clean, emit_json, line
from alpha_db.errors import shown
from alpha_db.queries import Row, ask
from alpha_db.shell.columns import rows as print_rows


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        said = f"{shown(value)} is not a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z"
        raise click.BadParameter(said) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def before_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --before, which the function gets as a time, or None."""
    return click.option(
        "--before",
        metavar="DATE",
        callback=_moment,
        help="Rows before this day or time (UTC); default: those beyond the retention policy of each table.",
    )(function)


def segments_option(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --segments, which the function gets as a path, or None."""
    return click.option(
        "--segments",
        metavar="DIR",
        type=click.Path(path_type=Path, readable=False),
        required=required,
        help="The directory of the segments.",
    )


@click.command(short_help="Show which rows may leave.")
@before_option
@table_option
@database_options
def plan(settings: Settings, as_json: bool, before: datetime | None, table: str | None) -> None:
    """Show for each table the last row that may leave, and what keeps the next one.

    Only the oldest rows of a table can leave, in blocks of 256, and none that a row which stays refers to. Nothing is
    changed.

    \b
    Examples:
      alpha-db retention plan --before 2027-01-01
      alpha-db retention plan --json
    """
    with settings.installed() as (conn, _):
        found = ask(conn, "retention_plan", before=before, table_name=table)
    if as_json:
        emit_json({"before": before, "tables": found})
        return
    if not found:
        line("No table has a retention policy: give --before.")
        return
    show_plan(found)


def show_plan(plan: Sequence[Row]) -> None:
    """Print the rows of retention_plan()."""
    cells = [
        (
            row["table"],
            f"{row['first_id']} to {row['through_id']}" if row["through_id"] else "none",
            _size(row["bytes"]) if row["through_id"] else "",
            clean(row["last_created_at"]) if row["through_id"] else "",
            row["limited_by"] or "",
        )
        for row in plan
    ]
    print_rows(
        cells, head=("table", "rows that may leave", "size", "the last is of", "then stops"), right=[2]
    )


def _size(count: int | None) -> str:
    number, unit = float(count or 0), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"

"""alpha-db tables history, and as-of."""

from __future__ import annotations

from typing import Any

import click
import psycopg

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.output import DIM, HEAD, clean, emit_json, line
from alpha_db.errors import shown
from alpha_db.queries import Row, ask
from alpha_db.shell.columns import rows
from alpha_db.tables.cli.asked import asked


@click.command(short_help="Show what happened to a row.")
@click.argument("table")
@click.argument("key")
@database_options
def history(settings: Settings, as_json: bool, table: str, key: str) -> None:
    """Show what happened to a row of a tracked table, oldest first: when, what, and who did it.

    KEY is the value of the primary key or, if that has several columns, a JSON object.

    \b
    Examples:
      alpha-db tables history app.customers 17
      alpha-db tables history positions '{"account": 1, "symbol": "BTC"}'
    """
    with settings.installed() as (conn, _), asked():
        found = ask(conn, "table_history", table=table, key=key)
    if as_json:
        emit_json(found)
        return
    for entry in found:
        line((f"{clean(entry['created_at'])}  {clean(entry['operation'])}", HEAD), *_who(entry))
        for column, old, new in _changes(entry):
            line("    ", (f"{clean(column)}: ", DIM), f"{_said(old)} → {_said(new)}")
    if not found:
        line("This key is not in the history.")


@click.command("as-of", short_help="Show the rows of a table as they were.")
@click.argument("table")
@click.argument("moment")
@database_options
def as_of(settings: Settings, as_json: bool, table: str, moment: str) -> None:
    """Show the rows of a tracked table as they were at a moment, each value as text.

    MOMENT is a time as PostgreSQL reads it. A transaction counts whole, from its last change on.

    \b
    Examples:
      alpha-db tables as-of public.positions "2026-01-25 12:00 UTC"
      alpha-db tables as-of app.customers yesterday --json
    """
    with settings.installed() as (conn, _), asked():
        try:
            found: list[dict[str, str | None]] = [
                row["row"] for row in ask(conn, "table_as_of", table=table, moment=moment)
            ]
        except (psycopg.errors.InvalidDatetimeFormat, psycopg.errors.DatetimeFieldOverflow):
            raise click.BadParameter(
                f"{shown(moment)} is not a time such as 2027-01-31T12:00:00Z", param_hint="MOMENT"
            ) from None
    if as_json:
        emit_json(found)
        return
    names = list(dict.fromkeys(name for row in found for name in row))
    if found:
        rows([[row.get(name) for name in names] for row in found], head=[clean(name) for name in names])
    else:
        line("It held no row.")


def _who(entry: Row) -> list[str]:
    """By whom, and from where."""
    said = f"  by {clean(entry['recorded_by'])}"
    if entry["acting_role"] != entry["recorded_by"]:
        said += f" as {clean(entry['acting_role'])}"
    if entry["application_name"]:
        said += f" ({clean(entry['application_name'])})"
    return [said]


def _changes(entry: Row) -> list[tuple[str, Any, Any]]:
    """The columns that differ between the old row and the new one, with both values."""
    old, new, other = entry["old_row"], entry["new_row"], entry["other_key"]
    if other is not None:  # the row came from that key, or left to it
        return [(name, *((value, None) if old is None else (None, value))) for name, value in other.items()]
    names = dict.fromkeys([*(old or {}), *(new or {})])
    pairs = [(name, (old or {}).get(name), (new or {}).get(name)) for name in names]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _said(value: str | None) -> str:
    return "none" if value is None else clean(value)

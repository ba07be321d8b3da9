"""alpha-db verify-chain."""

from __future__ import annotations

import time
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row

from alpha_db.cli import verify_report
from alpha_db.cli.common import NamedOption, Settings, database_options, finish
from alpha_db.cli.output import emit_json, spinner
from alpha_db.errors import EXIT_NOT_RUN, AlphaDbError
from alpha_db.queries import query


@click.command("verify-chain", short_help="Recompute every hash, tell what is damaged.")
@click.option("--table", metavar="NAME", help="One chained table; default: all.")
@click.option("--from-id", type=click.IntRange(min=1), help="First row of a range.")
@click.option("--to-id", type=click.IntRange(min=1), help="Last row of a range.")
@click.option("--no-lockdown", is_flag=True, help="Report damage, but do not engage the lockdown.")
@click.option(
    "--format",
    "output_format",
    cls=NamedOption,
    type=click.Choice(["text", "json", "prometheus"]),
    help="Default: text.",
)
@database_options
def verify_chain(
    settings: Settings,
    as_json: bool,
    table: str | None,
    from_id: int | None,
    to_id: int | None,
    no_lockdown: bool,
    output_format: str | None,
) -> None:
    """Recompute every hash and tell whether the log is what was written.

    Proven damage engages the lockdown, unless --no-lockdown is given or the server is a standby. Exits 0 if
    all chains are intact (or their damage is acknowledged), 1 for damage or changed guards, 3 if something
    could not be checked.

    \b
    Examples:
      alpha-db verify-chain
      alpha-db verify-chain --table signals --from-id 1000 --to-id 2000
      alpha-db verify-chain --no-lockdown --json
      alpha-db verify-chain --format prometheus > alpha_db.prom
    """
    if as_json and output_format not in (None, "json"):
        raise click.UsageError(f"--json and --format {output_format} exclude each other")
    if from_id is not None and to_id is not None and to_id < from_id:
        raise click.UsageError(f"--to-id {to_id} is before --from-id {from_id}")
    form = "json" if as_json else output_format or "text"
    started = time.monotonic()
    try:
        results, lockdown = _verify(settings, table, from_id, to_id, not no_lockdown)
    except (AlphaDbError, psycopg.Error):
        if form == "prometheus":
            # a scraper must see that nothing was verified, not the values of yesterday
            click.echo(verify_report.prometheus([], None, time.monotonic() - started, EXIT_NOT_RUN), nl=False)
        raise
    code = verify_report.exit_code(results)
    if form == "json":
        emit_json({"exit_code": code, "lockdown": lockdown, "tables": results})
    elif form == "prometheus":
        click.echo(verify_report.prometheus(results, lockdown, time.monotonic() - started, code), nl=False)
    else:
        verify_report.text(results, lockdown)
    finish(code)


def _verify(
    settings: Settings, table: str | None, from_id: int | None, to_id: int | None, engage: bool
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    arguments = {"table_name": table, "from_id": from_id, "to_id": to_id, "engage_lockdown": engage}
    with settings.installed() as (conn, _), conn.cursor(row_factory=dict_row) as cursor:
        with spinner(f"verifying {table or 'all chains'}"):
            # the connection is in autocommit, so an engaged lockdown is committed before anything is printed
            results = cursor.execute(query("verify_chain"), arguments).fetchall()
        try:
            lockdown = cursor.execute(query("lockdown_status")).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            lockdown = None
    return results, lockdown

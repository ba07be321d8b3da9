"""alpha-db attempts."""

from __future__ import annotations

import click

from alpha_db.cli.common import NamedOption, Settings, database_options
from alpha_db.cli.output import emit_json, line
from alpha_db.queries import ask
from alpha_db.shell.columns import rows


@click.command(short_help="Count what the database refused.")
@click.option(
    "--all", "show_all", is_flag=True, cls=NamedOption, help="Also the kinds that were never attempted."
)
@database_options
def attempts(settings: Settings, as_json: bool, show_all: bool) -> None:
    """Count what the database refused, also where the transaction was rolled back.

    The server's log says whose attempts they were, in the lines that begin with "alpha-db attempt".

    \b
    Examples:
      alpha-db attempts
      alpha-db attempts --all --json
    """
    with settings.installed() as (conn, _):
        found = ask(conn, "attempts")
    shown = [row for row in found if show_all or row["attempts"]]
    if as_json:
        emit_json(shown)
    elif shown:
        head = ("code", "table", "operation", "attempts")
        rows([list(row.values()) for row in shown], head=head, right=[3])
    else:
        line("No attempt was refused.")

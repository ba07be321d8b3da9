"""alpha-db tables."""

from __future__ import annotations

import click

from alpha_db.cli.optional import LazyGroup

#: Each command and where it is, in the order of the help.
COMMANDS = {
    "list": "alpha_db.tables.cli.show:show",
    "chain": "alpha_db.tables.cli.chain:chain",
    "extend": "alpha_db.tables.cli.extend:extend",
    "track": "alpha_db.tables.cli.track:track",
    "untrack": "alpha_db.tables.cli.track:untrack",
    "history": "alpha_db.tables.cli.history:history",
    "as-of": "alpha_db.tables.cli.history:as_of",
    "verify": "alpha_db.tables.cli.verify:verify",
    "widen": "alpha_db.tables.cli.widen:widen",
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def tables() -> None:
    """The chained tables, and tables of your own."""

"""The option that chooses a PostgreSQL."""

from __future__ import annotations

import click

pg_option = click.option(
    "--pg",
    metavar="VERSION|DIR",
    help="PostgreSQL to use: a major version, or a directory of programs; default: the newest found.",
)

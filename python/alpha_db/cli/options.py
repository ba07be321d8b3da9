"""Options that several commands have: one name, one meaning, the same words in every help."""

from __future__ import annotations

from pathlib import Path

import click


class Integer(click.IntRange):
    """An integer within bounds, and called so."""

    name = "integer"


class Number(click.FloatRange):
    """A number within bounds, and called so."""

    name = "number"


#: A file, of which the function gets a Path; who reads it says what is wrong with it.
FILE = click.Path(path_type=Path, readable=False)

table_option = click.option("--table", metavar="NAME", help="One chained table; default: all.")
force_option = click.option("--force", is_flag=True, help="Overwrite what is there already.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask before signing.")
pg_option = click.option(
    "--pg",
    metavar="VERSION|DIR",
    help="PostgreSQL to use: a major version, or a directory of programs; default: the newest found.",
)
passphrase_option = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=FILE,
    envvar="ALPHA_DB_PASSPHRASE_FILE",
    help="The first line of this file is the key's passphrase; default: ask.",
)
#: The words of --key, which some commands take several times.
KEY_HELP = "File of the private key that signs."

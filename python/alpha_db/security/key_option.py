"""The options --key and --public, which every command that signs has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from alpha_db.cli.options import FILE
from alpha_db.errors import ValueRefused
from alpha_db.security.key_spec import EXEC, SSH_AGENT, is_file
from alpha_db.security.public_file import read_public

#: The words of --key, which some commands take several times.
KEY_HELP = "The private key: FILE, ssh-agent:COMMENT or exec:COMMAND."
PUBLIC_HELP = "File of the key's public half, if the key is exec:COMMAND."


class KeyType(click.Path):
    """A private key: a file, or a key that is in none, as text."""

    name = "key"

    def __init__(self) -> None:
        """Take any path: who reads it says what is wrong with it."""
        super().__init__(readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the key as it was given. Fails for a kind of key with nothing after it."""
        try:
            if is_file(str(value)):
                return str(super().convert(value, param, ctx))
        except ValueRefused as problem:
            self.fail(problem.message, param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the kinds of keys, and otherwise names of files."""
        kinds = [CompletionItem(kind) for kind in (SSH_AGENT, EXEC) if kind.startswith(incomplete)]
        return kinds if len(incomplete) > 2 and kinds else super().shell_complete(ctx, param, incomplete)


#: A private key, of which the function gets a text.
KEY = KeyType()

public_option = click.option(
    "--public", metavar="FILE", type=FILE, envvar="ALPHA_DB_PUBLIC", help=PUBLIC_HELP
)


def name_of_key(key: str, public: Path | None) -> str:
    """Return what a key is called by default: its file without the ending, its comment, or its public half's file."""
    if is_file(key):
        return Path(key).stem
    return key.removeprefix(SSH_AGENT) if key.startswith(SSH_AGENT) else public.stem if public else ""


def public_half(key: str, file: Path | None) -> bytes | None:
    """Return the public key in a file, if one was given. Raises UsageError if the key is a command, and none was."""
    if file is None and key.startswith(EXEC):
        raise click.UsageError("exec: does not say whose key it is: give its public half, --public FILE")
    return None if file is None else read_public(file)

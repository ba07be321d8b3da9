"""The key of a log or a witness: made, into a file and FILE.vkey beside it; or found, by --key and --public."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import click

from alpha_db.cli.options import FILE
from alpha_db.evidence.checkpoint.keys import BadKey, SigningKey
from alpha_db.evidence.checkpoint.store import StoreError
from alpha_db.security.key_option import KEY, KEY_HELP, PUBLIC_HELP, public_half
from alpha_db.security.key_spec import is_file

_Key = TypeVar("_Key", bound=SigningKey)
_OUTSIDE = "a key that is in no file has no name for its signatures"

output_option = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path, readable=False),
    help="New file for the private key; the public one goes into FILE.vkey.",
    metavar="FILE",
)

#: The private key that signs, which every command takes that signs or shows one.
private_key_option = click.option("--key", metavar="KEY", type=KEY, required=True, help=KEY_HELP)
#: The public half, with the name that a key in no file does not have.
vkey_option = click.option(
    "--public",
    metavar="FILE",
    type=FILE,
    help="File of the key's public half (.vkey), if the key is in no file.",
)
#: The public half of a command's key, without a name: what show makes a .vkey of.
public_option = click.option("--public", metavar="FILE", type=FILE, help=PUBLIC_HELP)
#: What show takes of a key in no file, to print its .vkey.
name_option = click.option(
    "--name", metavar="NAME", help="Name of the key, if it is in no file; it stands in every signature."
)


def open_key(kind: type[_Key], key: str, public: Path | None) -> _Key:
    """Find the private key that signs. Raises KeyFileError, SignerError, BadKey, UsageError."""
    given = None if public is None else kind.read_vkey(public)
    if is_file(key):
        found = kind.load(key)
    elif given is None:
        raise click.UsageError(f"{_OUTSIDE}: give its public half, --public FILE, which `show` prints")
    else:
        found = kind.open(key, *given)
    if given not in (None, (found.name, found.public_key)):
        raise BadKey(f"{public} is not the public half of this key")
    return found


def show_key(kind: type[_Key], key: str, name: str | None, public: Path | None) -> _Key:
    """Find the key whose public half is to be shown; a key in no file has its name from --name, and is tried.

    Raises what open_key raises, NotThere and FileUnreadable.
    """
    if is_file(key):
        if name is not None or public is not None:
            raise click.UsageError("--name and --public are for a key that is in no file")
        return kind.load(key)
    if name is None:
        raise click.UsageError(f"{_OUTSIDE}: give it one, --name NAME")
    found = kind.open(key, name, public_half(key, public))
    found.try_to_sign()
    return found


def make_pair(kind: type[_Key], name: str, output: Path) -> tuple[_Key, Path]:
    """Make a key, write both halves, and return it with the file of the public one. Never overwrites.

    Raises BadParameter for a name that cannot be one, KeyFileError, StoreError.
    """
    try:
        key = kind.generate(name)
    except BadKey as problem:
        raise click.BadParameter(f"{problem.message}. {problem.hint}", param_hint="--name") from None
    if not output.name:
        raise click.UsageError("--output names no file")
    public = output.with_name(f"{output.name}.vkey")
    if public.exists():
        raise StoreError(f"cannot write the public key {public}: File exists")
    key.save(output)
    try:
        with public.open("x", encoding="utf-8") as stream:
            stream.write(f"{key.vkey}\n")
    except OSError as problem:
        raise StoreError(f"cannot write the public key {public}: {problem.strerror}") from None
    return key, public

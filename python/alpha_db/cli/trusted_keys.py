"""The option that names the public keys whose checkpoints are believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from alpha_db.checkpoint.keys import BadKey, trusted_keys
from alpha_db.cli.common import NamedOption
from alpha_db.offline_check import Key

ENVIRONMENT = "ALPHA_DB_TRUST"


def read_keys(_ctx: click.Context, _param: click.Parameter, given: Sequence[str]) -> list[Key]:
    """Return the keys; fails as a usage error for what is no public key."""
    try:
        return trusted_keys(given)
    except BadKey as problem:
        hint = f" ({problem.hint})" if problem.hint else ""
        raise click.BadParameter(f"{problem.message}{hint}") from None


def trusted_keys_option(
    function: Callable[..., Any] | None = None, *, required: bool = True
) -> Callable[..., Any]:
    """Add --trust, which the function gets as ``keys``, a list of Key."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        return click.option(
            "--trust",
            "keys",
            cls=NamedOption,
            metavar="VKEY|FILE",
            multiple=True,
            required=required,
            envvar=ENVIRONMENT,
            callback=read_keys,
            help=f"A public key that is trusted, or a file with one on each line; repeatable; or {ENVIRONMENT}.",
        )(function)

    return add(function) if function else add

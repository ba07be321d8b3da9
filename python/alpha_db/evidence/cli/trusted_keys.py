"""The option that names the public keys whose checkpoints are believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from alpha_db.cli.common import NamedOption
from alpha_db.evidence.checkpoint.keys import trusted_keys
from alpha_db.evidence.offline_check import Key

ENVIRONMENT = "ALPHA_DB_TRUST"


def read_keys(_ctx: click.Context, _param: click.Parameter, given: Sequence[str]) -> list[Key]:
    """Return the keys. Raises BadKey: nothing is judged by some of the keys that are to be trusted."""
    if not all(given):
        raise click.BadParameter("it is empty: name a public key, or a file of them")
    return trusted_keys(given)


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

"""The options that name checkpoints and whose are believed; the package evidence reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import NamedOption
from alpha_db.cli.optional import load
from alpha_db.verify.cli.desk_names import read_now_or_per_desk

ENVIRONMENT = "ALPHA_DB_TRUST"


def read_keys(ctx: click.Context, _param: click.Parameter, given: Sequence[str]) -> Any:
    """Return the keys, or a PerDesk. Raises BadKey: nothing is judged by some of the keys that are to be trusted."""
    if not all(given):
        raise click.BadParameter("it is empty: name a public key, or a file of them")
    return read_now_or_per_desk(ctx, given, _trusted) if given else []


def _trusted(given: Sequence[str]) -> list[Any]:
    keys: list[Any] = load("alpha_db.evidence.checkpoint.keys:trusted_keys")(given)
    return keys


def read_policy(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Any:
    """Return the policy that a file holds, or a PerDesk; None without one. Raises NotThere, PolicyError."""
    return read_now_or_per_desk(ctx, path, _load_policy) if path else None


def _load_policy(path: Path) -> Any:
    return load("alpha_db.evidence.witness.policy:load_policy")(path)


def policy_option(
    function: Callable[..., Any] | None = None, *, required: bool = False
) -> Callable[..., Any]:
    """Add --policy, which the function gets as ``policy``, a Policy or None."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        return click.option(
            "--policy",
            cls=NamedOption,
            metavar="FILE",
            required=required,
            type=click.Path(path_type=Path, readable=False),
            envvar="ALPHA_DB_POLICY",
            callback=read_policy,
            help="Which logs and witnesses are trusted, and how many must sign (C2SP tlog-policy); or ALPHA_DB_POLICY.",
        )(function)

    return add(function) if function else add


def chosen_keys(keys: Sequence[Any], policy: Any) -> list[Any]:
    """Return the keys of the logs that a policy names; if it names none, those that are trusted by name."""
    return list(policy.logs if policy and policy.logs else keys)


def all_keys(keys: Sequence[Any], policy: Any) -> list[Any]:
    """Return the same as chosen_keys. Raises MissingParameter if there is none."""
    found = chosen_keys(keys, policy)
    if not found:
        raise click.MissingParameter(param_type="option", param_hint="'--trust' or '--policy'")
    return found


def require_keys(keys: Sequence[Any]) -> None:
    """Raise UsageError if no key is trusted."""
    if not keys:
        raise click.UsageError(
            f"--checkpoints needs --trust, {ENVIRONMENT} or --policy: whose checkpoints are to be believed?"
        )


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


def checkpoint_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --checkpoints, --without and --trust; the function gets ``checkpoints``, ``without`` and ``keys``."""
    option = click.option(
        "--checkpoints",
        metavar="DIR",
        type=click.Path(path_type=Path, readable=False),
        help="Compare with the checkpoints in DIR, too; needs --trust.",
    )
    decorated: Callable[..., Any] = option(without_option(trusted_keys_option(required=False)(function)))
    return decorated


def without_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --without, which the function gets as ``without``, names of runs."""
    return click.option(
        "--without",
        metavar="RUN",
        multiple=True,
        help="Leave this run of the directory out, because it is known that it cannot be read; repeatable.",
    )(function)

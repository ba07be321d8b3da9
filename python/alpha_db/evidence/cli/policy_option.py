"""The option that names a policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from alpha_db.evidence.offline_check import Policy
from alpha_db.evidence.witness.policy import load_policy


def _read(_ctx: click.Context, _param: click.Parameter, given: Path | None) -> Policy | None:
    return None if given is None else load_policy(given)


def policy_option(*, required: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --policy, which the function gets as ``policy``, a Policy or None."""
    return click.option(
        "--policy",
        metavar="FILE",
        required=required,
        type=click.Path(path_type=Path, readable=False),
        envvar="ALPHA_DB_POLICY",
        callback=_read,
        help="Which logs and witnesses are trusted, and how many must sign (c2sp.org/tlog-policy).",
    )

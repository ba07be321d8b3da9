"""alpha-db guards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.optional import load
from alpha_db.cli.output import BAD, DIM, GOOD, clean, emit_json, line
from alpha_db.errors import EXIT_DAMAGE
from alpha_db.queries import ask
from alpha_db.verify.cli.all_schemas import AllSchemas, Words
from alpha_db.verify.cli.checkpoint_options import (
    chosen_keys,
    policy_option,
    require_keys,
    trusted_keys_option,
)


@click.command(short_help="List every guard that is not as installed.")
@click.option(
    "--checkpoints",
    metavar="DIR|NOTE",
    type=click.Path(path_type=Path, readable=False),
    help="Checkpoints to compare with: a directory (its latest run), one run, or a note; needs --trust.",
)
@policy_option
@trusted_keys_option(required=False)
@database_options
@AllSchemas(Words("with all guards as they were", "changed"), must=("checkpoints",))
def guards(settings: Settings, as_json: bool, checkpoints: Path | None, keys: list[Any], policy: Any) -> None:
    """List every guard that is not as installed: triggers, functions, grants, owners, columns.

    With --checkpoints: what is not as it was when a checkpoint was made, even if somebody accepted it; the logins
    that have recorded states of the guards since, and those that used the maintenance setting. Exits 0 if all are
    as they were, 1 if any is not, 3 if something or a later checkpoint cannot be read, 5 if the checkpoint is not
    there.

    \b
    Examples:
      alpha-db guards
      alpha-db guards --json
      alpha-db guards --all-schemas
      alpha-db guards --checkpoints /mnt/checkpoints/trading \\
        --trust checkpoint.key.vkey
    """
    if checkpoints is None:
        _installed(settings, as_json)
        return
    keys = chosen_keys(keys, policy)
    require_keys(keys)
    load("alpha_db.evidence.cli.guards:show_since")(settings, checkpoints, keys, policy, as_json=as_json)


def _installed(settings: Settings, as_json: bool) -> None:
    with settings.installed() as (conn, _):
        found = ask(conn, "guards")
    if as_json:
        emit_json(found)
    else:
        tell_facts(found, "expected", "found")
        if found:
            line((f"{counted(found)} not as installed.", BAD))
        else:
            line(("All guards are as installed.", GOOD))
    finish(EXIT_DAMAGE if found else 0)


def counted(facts: Sequence[object]) -> str:
    """Return how many facts there are, as the subject of a sentence."""
    return "1 fact about the guards is" if len(facts) == 1 else f"{len(facts)} facts about the guards are"


def tell_facts(facts: Sequence[dict[str, Any]], before: str, after: str) -> None:
    """Print facts about guards, each with what it was and what it is, under these names."""
    for row in facts:
        line(
            (clean(row["problem"]), BAD),
            f"  {clean(row['object_kind'])} {clean(row['object_name'])}: {clean(row['fact'])}",
        )
        line((f"    {before:<8}  ", DIM), clean(row["expected"]))
        line((f"    {after:<8}  ", DIM), clean(row["found"]))
        if row["object_kind"] == "extension" and row["found"]:
            name = clean(row["object_name"])
            line(
                (f"    {'HINT':<8}  ", DIM),
                f"give it a schema of its own: alter extension {name} set schema ...",
            )

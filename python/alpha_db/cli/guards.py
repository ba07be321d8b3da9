"""alpha-db guards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from psycopg.rows import dict_row

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.output import BAD, DIM, GOOD, WARN, clean, emit_json, line
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_OK
from alpha_db.evidence.checkpoint.guards import Since, guards_since
from alpha_db.evidence.cli.notes import open_notes
from alpha_db.evidence.cli.trusted_keys import ENVIRONMENT, trusted_keys_option
from alpha_db.evidence.offline_check import Key
from alpha_db.queries import query


@click.command(short_help="List every guard that is not as installed.")
@click.option(
    "--checkpoints",
    metavar="DIR|NOTE",
    type=click.Path(path_type=Path, readable=False),
    help="Checkpoints to compare with: a directory (its latest run), one run, or a note; needs --trust.",
)
@trusted_keys_option(required=False)
@database_options
def guards(settings: Settings, as_json: bool, checkpoints: Path | None, keys: list[Key]) -> None:
    """List every guard that is not as installed: triggers, functions, grants, owners, columns.

    With --checkpoints: what is not as it was when a checkpoint was made, even if somebody accepted it; the logins
    that have recorded states of the guards since, and those that used the maintenance setting. Exits 0 if all are
    as they were, 1 if any is not, 3 if something or a later checkpoint cannot be read, 5 if the checkpoint is not
    there.

    \b
    Examples:
      alpha-db guards
      alpha-db guards --json
      alpha-db guards --checkpoints /mnt/witness/trading \\
        --trust checkpoint.key.vkey
    """
    if checkpoints is None:
        _installed(settings, as_json)
        return
    if not keys:
        raise click.UsageError(
            f"--checkpoints needs --trust, or {ENVIRONMENT}: whose checkpoints are to be believed?"
        )
    notes = open_notes(checkpoints, keys)
    notes.tell_unread("guard_states")
    with settings.installed() as (conn, _):
        found = guards_since(conn, notes.run)
    unread = notes.unread("guard_states")
    if as_json:
        named = [{"name": one.name, "reason": one.reason} for one in unread]
        emit_json(found.document | {"unreadable": named})
    else:
        _tell_since(found)
        if unread:
            line(
                ("A later checkpoint could not be read, so nothing is known of what changed before it.", WARN)
            )
    finish(EXIT_DAMAGE if found.changed else EXIT_NOT_RUN if unread else EXIT_OK)


def _installed(settings: Settings, as_json: bool) -> None:
    with settings.installed() as (conn, _), conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query("guards")).fetchall()
    if as_json:
        emit_json(found)
    else:
        _tell_facts(found, "expected", "found")
        if found:
            line((f"{_counted(found)} not as installed.", BAD))
        else:
            line(("All guards are as installed.", GOOD))
    finish(EXIT_DAMAGE if found else 0)


def _tell_since(found: Since) -> None:
    _tell_facts(found.facts, "then", "now")
    for state in found.states:
        who = f"{clean(state['recorded_by'])}, {clean(state['created_at'])}"
        line(("recorded", WARN), f"  guard_states {state['id']} by {who}: {clean(state['reason'])}")
    for event in found.maintenance or []:
        who = f"{clean(event['recorded_by'])}, {clean(event['created_at'])}"
        what = f"{clean(event['command_tag'])} {clean(event['object_identity'])}"
        line(("maintenance", WARN), f"  {what} by {who}: {clean(event['reason'])}")
    if found.note:
        line((clean(found.note), WARN))
    when = f"{clean(found.run)}, signed by {clean(found.signer)}"
    if found.facts:
        line((f"{_counted(found.facts)} not as in {when}.", BAD))
    elif found.changed:
        line((f"The guards are not those of {when}.", BAD))
    else:
        line((f"All guards are as in {when}.", GOOD))


def _counted(facts: Sequence[object]) -> str:
    return "1 fact about the guards is" if len(facts) == 1 else f"{len(facts)} facts about the guards are"


def _tell_facts(facts: Sequence[dict[str, Any]], before: str, after: str) -> None:
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

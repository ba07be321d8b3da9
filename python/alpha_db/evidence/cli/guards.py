"""What alpha-db guards --checkpoints shows: what of the guards is not as in a checkpoint."""

from __future__ import annotations

from pathlib import Path

from alpha_db.cli.common import Settings, finish
from alpha_db.cli.output import BAD, GOOD, WARN, clean, emit_json, line
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_OK
from alpha_db.evidence.checkpoint.guards import Since, guards_since
from alpha_db.evidence.cli.notes import open_notes
from alpha_db.evidence.offline_check import Key, Policy
from alpha_db.verify.cli.guards import counted, tell_facts


def show_since(
    settings: Settings, checkpoints: Path, keys: list[Key], policy: Policy | None = None, *, as_json: bool
) -> None:
    """Compare the guards with the checkpoints that a path names, tell what is others, and end the command."""
    notes = open_notes(checkpoints, keys, policy)
    notes.tell_unread()
    with settings.installed() as (conn, _):
        found = guards_since(conn, notes.run)
    unread = notes.unreadable
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


def _tell_since(found: Since) -> None:
    tell_facts(found.facts, "then", "now")
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
        line((f"{counted(found.facts)} not as in {when}.", BAD))
    elif found.changed:
        line((f"The guards are not those of {when}.", BAD))
    else:
        line((f"All guards are as in {when}.", GOOD))

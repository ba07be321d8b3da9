"""alpha-db retention status."""

from __future__ import annotations

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.output import DIM, WARN, clean, emit_json, line
from alpha_db.queries import Row, ask


@click.command(short_help="Show policies, archived segments and legal holds.")
@database_options
def status(settings: Settings, as_json: bool) -> None:
    """Show how long rows are kept, which segments were archived, and which rows are held.

    \b
    Examples:
      alpha-db retention status
      alpha-db retention status --json
    """
    with settings.installed() as (conn, _):
        found = {
            "policies": ask(conn, "retention_policies"),
            "archived": ask(conn, "archived", table_name=None),
            "holds": ask(conn, "legal_holds"),
        }
    if as_json:
        emit_json(found)
        return
    for policy in found["policies"]:
        line(("kept      ", DIM), f"{clean(policy['table'])}: {clean(policy['keep'])}")
    for segment in found["archived"]:
        _show(segment)
    for hold in found["holds"]:
        said = f"{clean(hold['table'])}: rows from {hold['from_id']} on, since {clean(hold['held_since'])}"
        line(("held      ", DIM), f"{said}: {clean(hold['reason'])}")
        line(("            ", ""), (f"hold {hold['proposal_id']}", DIM))
    if not any(found.values()):
        line("No table has a retention policy, nothing was archived, and nothing is held.")


def _show(segment: Row) -> None:
    rows = f"{clean(segment['table'])}: rows {segment['first_id']:,} to {segment['through_id']:,}"
    line(("archived  ", DIM), f"{rows}, {clean(segment['created_at'])}")
    line(("            ", ""), (f"segment {clean(segment['segment_sha256'])}", DIM))
    line(("            ", ""), (f"proposal {segment['proposal_id']}", DIM))
    if segment["still_here"]:
        line(
            ("            ", ""),
            (f"{segment['still_here']:,} rows are still here: alpha-db retention prune", WARN),
        )

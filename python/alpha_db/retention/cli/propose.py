"""alpha-db retention propose."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import psycopg

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import table_option
from alpha_db.cli.output import GOOD, HEAD, clean, emit_json, line
from alpha_db.errors import ChainMismatch, NotThere
from alpha_db.evidence.checkpoint.history import whole
from alpha_db.evidence.checkpoint.note import compose_run_proof
from alpha_db.evidence.checkpoint.store import Store
from alpha_db.evidence.cli.export_rows import snapshot
from alpha_db.evidence.cli.new_file import writing
from alpha_db.evidence.cli.notes import EvidenceRefused, Notes, judged, note_of, open_notes, seal_first
from alpha_db.evidence.offline_check import Key, Policy, Signed
from alpha_db.installation import Place
from alpha_db.queries import Row, ask
from alpha_db.retention.cli.plan import before_option, segments_option
from alpha_db.retention.segments import Rows, Segment, SignedBy, remove_parts, write_segment
from alpha_db.risk.cli.signing import Signing, proposal_options, send_proposal
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.verify.cli.checkpoint_options import all_keys, policy_option, trusted_keys_option
from alpha_db.verify.cli.progress import progress_bar

Connection = psycopg.Connection[Any]


@click.command(short_help="Write old rows into segments, and propose that they leave.")
@before_option
@table_option
@segments_option(required=True)
@click.option(
    "--checkpoints",
    metavar="DIR|RUN",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    help="A directory of checkpoints (the latest is taken), or one of its runs.",
)
@policy_option
@trusted_keys_option(required=False)
@proposal_options
@database_options
def propose(
    settings: Settings,
    as_json: bool,
    signing: Signing,
    before: datetime | None,
    table: str | None,
    segments: Path,
    checkpoints: Path,
    keys: Sequence[Key],
    policy: Policy | None,
    reason: str,
    lifetime: timedelta,
) -> None:
    """Write the rows that may leave into segments, read each back, and propose that they leave the database.

    A segment is one file for the rows of a table. It has in it the checkpoint that signed them, so that
    alpha-db verify-export checks it years later with nothing but a public key. All tables go into one proposal, because
    an applied proposal makes all others stale. Nothing leaves before other agents approve, and alpha-db retention prune
    is run.

    The directory of the segments is made if need be. Run again, after a kill too, the command takes the segments that
    are there, and proposes nothing twice.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db retention propose --before 2027-01-01 --segments /mnt/segments \\
        --checkpoints /mnt/checkpoints/trading --trust checkpoint.key.vkey \\
        --reason "kept for seven years" --key ada.key
    """
    trusted = all_keys(keys, policy)
    notes = open_notes(checkpoints, trusted, policy)
    notes.tell_unread()
    whole(notes.run)
    assert notes.run.proof is not None
    proof = compose_run_proof(notes.run.proof.run_row, note_of(notes.run, trusted, policy))
    _prepare(segments)
    with settings.installed(writes=True) as (conn, place), Store(segments).locked(settings.seconds):
        if ask(conn, "lockdown_status")[0]["is_locked"]:
            hint = "look at the damage: alpha-db lockdown status"
            raise ChainMismatch("AUD-009: in a lockdown nothing leaves the log", hint=hint, sqlstate="AUD09")
        manager = ConfigManager(conn)
        opened = signing.open(manager)
        chosen = [
            row for row in ask(conn, "retention_plan", before=before, table_name=table) if row["through_id"]
        ]
        by = [SignedBy(proof, _head(notes, row), trusted, policy) for row in chosen]
        made = _write(conn, place, chosen, by, segments)
        files = [_told(segment) for segment in made]
        payloads = [segment.payload for segment in made]
        payload = payloads[0] if len(payloads) == 1 else {"segments": payloads}
        if not as_json:
            _show(made)
        pending = [
            row for row in manager.proposals() if (row["kind"], row["payload"]) == ("archive", payload)
        ]
        if not made or pending:
            _nothing_new(pending, files, as_json)
            return
        send_proposal(
            manager,
            signing,
            "archive",
            payload,
            reason=reason,
            lifetime=lifetime,
            as_json=as_json,
            changes=[
                (rows.log.table, f"rows {rows.first_id} to {rows.through_id} here", "in a segment")
                for rows in (segment.rows for segment in made)
            ],
            opened=opened,
            also={"segments": files},
        )


def _prepare(segments: Path) -> None:
    if segments.exists() and not segments.is_dir():
        raise click.UsageError(f"{segments} is not a directory")
    if not segments.is_dir():
        if not segments.parent.is_dir():
            raise click.UsageError(f"there is no directory {segments.parent}")
        with writing(segments):
            segments.mkdir()


def _head(notes: Notes, planned: Row) -> Signed:
    """What the checkpoint says of a table's log. Raises NotThere if that is fewer rows than are to leave."""
    table, through = planned["table"], planned["through_id"]
    with judged(notes.path):
        head = whole(notes.run).head(table)
    if head.size < through:
        raise NotThere(
            f"the checkpoint is of {head.size} rows of {table}, and rows up to {through} are to leave",
            hint="alpha-db checkpoint create makes one of the rows as they are now",
        )
    return head


def _write(
    conn: Connection, place: Place, chosen: Sequence[Row], by: Sequence[SignedBy], folder: Path
) -> list[Segment]:
    """The segments of what was chosen, whole and on disk."""
    remove_parts(folder)
    for row in chosen:
        seal_first(conn, place, row["table"])
    kept = conn.isolation_level, conn.read_only
    try:
        with snapshot(conn) as logs:
            known = {log.table: log for log in logs}
            return [
                _one(conn, Rows(known[row["table"]], row["first_id"], row["through_id"]), signed, folder)
                for row, signed in zip(chosen, by, strict=True)
            ]
    finally:
        conn.isolation_level, conn.read_only = kept


def _one(conn: Connection, rows: Rows, by: SignedBy, folder: Path) -> Segment:
    rows.log.require()
    if by.head.origin != rows.log.origin:
        raise EvidenceRefused(f"the checkpoint is of {by.head.origin}, this is {rows.log.origin}")
    with progress_bar(f"segment of {rows.log.table}", 2 * rows.number) as progress:
        return write_segment(conn, rows, by, folder, progress)


def _told(segment: Segment) -> Row:
    rows = {"file": str(segment.path), "first_id": segment.rows.first_id}
    return rows | segment.payload | {"is_new": segment.is_new}


def _show(made: Sequence[Segment]) -> None:
    for segment in made:
        first, through, table = segment.rows.first_id, segment.rows.through_id, segment.rows.log.table
        word = "written" if segment.is_new else "there   "
        line((word, GOOD), f"  {clean(table)} rows {first:,} to {through:,}  {clean(segment.path)}")


def _nothing_new(pending: Sequence[Row], files: Sequence[Row], as_json: bool) -> None:
    """Tell that there is nothing to propose: no row may leave, or the same is proposed already."""
    proposal = pending[0]["proposal_id"] if pending else None
    if as_json:
        emit_json({"proposal_id": proposal, "status": "PENDING" if pending else None, "segments": files})
    elif pending:
        line(("Proposed already: ", ""), (str(proposal), HEAD))
        line(f"Others must approve it: alpha-db risk approve {proposal}")
    else:
        line("No row may leave: alpha-db retention plan says why.")

"""alpha-db prove."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from psycopg.rows import dict_row

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import Integer
from alpha_db.cli.output import GOOD, WARN, clean, emit_json, leave_stdout, line, note
from alpha_db.errors import NotThere
from alpha_db.evidence.archived import archived_row
from alpha_db.evidence.checkpoint.history import whole
from alpha_db.evidence.checkpoint.note import MAX_FOREIGN_EXTRA, compose_row_proof, compose_run_proof
from alpha_db.evidence.cli.export_rows import Log
from alpha_db.evidence.cli.new_file import force_option, new_file, refuse_existing
from alpha_db.evidence.cli.notes import (
    EvidenceRefused,
    EvidenceUnreadable,
    Notes,
    judged,
    note_of,
    open_notes,
    seal_first,
)
from alpha_db.evidence.offline_check import LOG_OF_RUNS, Key, Policy, RunRow, Signed, verify_proof
from alpha_db.queries import query
from alpha_db.verify.cli.checkpoint_options import all_keys, policy_option, trusted_keys_option
from alpha_db.verify.cli.progress import spinner


@click.command(short_help="Write the proof of one row, which needs no database to check.")
@click.argument("table")
@click.argument("row_id", metavar="ID", type=Integer(min=1))
@click.option(
    "--checkpoints",
    metavar="DIR|RUN",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    help="A directory of checkpoints (the latest is taken), one of its runs, or a run.tlog-proof.",
)
@policy_option
@trusted_keys_option(required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    type=click.Path(path_type=Path, readable=False),
    default="-",
    help="Where the proof goes; default: standard output.",
)
@force_option
@database_options
def prove(
    settings: Settings,
    as_json: bool,
    table: str,
    row_id: int,
    checkpoints: Path,
    keys: Sequence[Key],
    policy: Policy | None,
    output: Path,
    force: bool,
) -> None:
    """Write a proof that one row was in the log when a checkpoint was signed: a few kilobytes.

    It has the row as it was hashed, its place in the log's Merkle tree, the run that names this log, and the signed
    checkpoint, and shows nothing of the other rows but hashes. The file is a C2SP tlog-proof. It is checked before it
    is written. alpha-db verify-proof checks it with no database. The log is sealed first, where this session can write.

    Exits 0 if the proof is written, 1 if the database does not hold what was signed, 3 if it cannot be read, 5 if the
    row, or a checkpoint of it, is not there.

    \b
    Examples:
      alpha-db prove signals 17 --checkpoints checkpoints/ --trust desk.vkey \\
        -o signals-17.tlog-proof
      alpha-db prove signals 17 --checkpoints checkpoints/000000042 \\
        --trust desk.vkey | alpha-db verify-proof - --trust desk.vkey
    """
    if str(output) == "-":
        leave_stdout()
    else:
        refuse_existing(output, force)
    trusted = all_keys(keys, policy)
    notes = open_notes(checkpoints, trusted, policy)
    signed = notes.of(table)
    if table == LOG_OF_RUNS:
        signed = whole(notes.run).head(table)  # of an older run, if the row of the latest could not be read
    notes.tell_unread()
    if row_id > signed.size:
        raise NotThere(
            f"row {row_id} of {table} is not among the {signed.size} rows of the checkpoint",
            hint="alpha-db checkpoint create makes one of the rows as they are now",
        )
    run = whole(notes.run)
    proof = _prove(settings, table, row_id, signed, notes, note_of(notes.run, trusted, policy))
    with judged(f"row {row_id} of {table}, as it is in the database"):
        found = verify_proof(proof, trusted)
    with new_file(output, force) as stream:
        stream.write(proof.encode())
    if too_long := len(proof.split("\n", 2)[1]) > MAX_FOREIGN_EXTRA // 3 * 4:
        note(
            ("The row is long", WARN),
            ": some other readers of tlog-proof refuse a line of more than 64 KiB. Ours read it.",
        )
    if str(output) == "-" and not as_json:
        return
    if as_json:
        told = {"origin": signed.origin, "table": table, "id": row_id, "row_hash": found.row_hash}
        emit_json({"file": str(output), **told, "size": signed.size, "run": run.id, "is_long": too_long})
    else:
        line(("ok", GOOD), f"  row {row_id:,} of {clean(table)}, among {signed.size:,} rows: {clean(output)}")


def _prove(settings: Settings, table: str, row_id: int, signed: Signed, notes: Notes, text: str) -> str:
    arguments = {"table_name": table, "id": row_id, "size": signed.size}
    with settings.installed() as (conn, place), conn.cursor(row_factory=dict_row) as cursor:
        logs = {log["table"]: Log(**log) for log in cursor.execute(query("logs")).fetchall()}
        if table not in logs:
            message = f"{table} is no chained table here, and {signed.size} rows of it were signed"
            raise EvidenceRefused(message)
        log = logs[table]
        log.require()
        if row_id <= log.start_id:
            raise archived_row(conn, table, row_id)
        if log.origin != signed.origin:
            raise EvidenceRefused(f"the checkpoint is of {signed.origin}, this is {log.origin}")
        if log.last_id < signed.size:
            message = f"{table} has {log.last_id} rows, and had {signed.size} when it was signed"
            if place.in_recovery:
                raise EvidenceUnreadable(
                    message, hint="wait until this standby has replayed them, or ask the primary"
                )
            raise EvidenceRefused(message, hint="alpha-db verify-chain --checkpoints tells more")
        seal_first(conn, place, table)
        with spinner(f"proving row {row_id} of {clean(table)}"):
            row = cursor.execute(query("row_to_prove"), arguments).fetchone()
    if row is None or row["previous_hash"] is None:
        missing = row_id if row is None else row_id - 1
        raise EvidenceRefused(f"row {missing} of {table} is missing")
    path = [bytes(node) for node in row["proof"]]
    if table == LOG_OF_RUNS and row_id == signed.size:
        return compose_run_proof(RunRow(row_id, row["previous_hash"], row["row_data"], path), text)
    assert notes.run.proof is not None  # whole() has looked
    return compose_row_proof(
        table, row_id, row["previous_hash"], row["row_data"], path, notes.run.proof.run_row, text
    )

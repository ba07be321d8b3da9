"""What a server that was cut off has more than the one that took over: export --surplus-over.

The two logs are one up to some row of each table, and nobody need know which: it is found. A checkpoint says where
the roots agree. An export of the new primary says it exactly, because a chain that differs once differs from there on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import click
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from alpha_db.errors import NotThere
from alpha_db.evidence.checkpoint.history import History, Run, read_history
from alpha_db.evidence.checkpoint.note import Position
from alpha_db.evidence.checkpoint.store import Store, is_run
from alpha_db.evidence.cli.export_rows import Log
from alpha_db.evidence.cli.notes import EvidenceRefused, EvidenceUnreadable, judged, open_notes
from alpha_db.evidence.offline_check import Key, Policy, Refused, open_file, read_lines, verify_export
from alpha_db.queries import ask, ask_one, query

Connection = psycopg.Connection[Any]

#: What a directory of surplus rows has besides: over what, and up to where both servers have each table.
MANIFEST = "surplus.json"

_EXPORT = b'{"format":"alpha-db/export/v1"'
_HEADER = re.compile(rb'"first_id":(\d+),"previous_hash":"([0-9a-f]{64})"')
_ROW = re.compile(rb'\{"id":\d+,"row_hash":"([0-9a-f]{64})"')
_OLDER = (
    "Name an older checkpoint that both servers have, or an export of the new primary from an older row on."
)


class Common(NamedTuple):
    """How far two logs of a table are the same: both have the rows up to `size`."""

    size: int
    by: str  #: the run or the file that says so
    is_exact: bool  #: whether the next row, if there is one, is not on the other server
    is_claimed: bool = False  #: whether only the caller says that the other server has the rows


class Over(Protocol):
    """What another server is known to have."""

    def require(self, conn: Connection) -> None:
        """Raise an error if nothing can be said of any table."""

    def common(self, conn: Connection, log: Log) -> Common:
        """Return how far a log is the same there."""

    def document(self) -> dict[str, Any]:
        """Return what it is, for the manifest."""


def open_over(path: Path, keys: Sequence[Key], policy: Policy | None) -> Over:
    """Return what a path names: checkpoints (a directory of runs, a run, a file of one), or exports of a server.

    Raises NotThere, CheckpointRefused, EvidenceRefused, EvidenceUnreadable and StoreError. Source: docs/standbys.md.
    """
    exports = _exports(path)
    if exports:
        return ExportsOver(path, exports)
    if not keys:
        raise click.UsageError(
            "--surplus-over a checkpoint needs --trust, or an edited note could leave rows out"
        )
    if path.is_dir() and not is_run(path):
        history = read_history(Store(path), keys, policy)
        return RunsOver(path, _believed(path, history), is_named=False)
    notes = open_notes(path, keys, policy)
    return RunsOver(path, [notes.run], is_named=True)


def _believed(path: Path, history: History) -> list[Run]:
    """The runs of a directory, latest first. One that does not hold is a reason to look first."""
    for refused in history.refused:
        raise EvidenceRefused(f"{path / refused.name}: {refused.reason}")
    for unreadable in history.unreadable:
        raise EvidenceUnreadable(f"{path / unreadable.name}: {unreadable.reason}")
    late = {run.name for run in history.not_cosigned}
    runs = [run for run in reversed(history.runs) if run.name not in late]
    if not runs:
        raise EvidenceRefused(f"{path}: {history.not_cosigned[-1].reason}")
    return runs


def _exports(path: Path) -> dict[str, Path]:
    """The files of exports by table, if that is what the path names: a directory with runs in it has checkpoints."""
    if str(path) == "-" or (path.is_dir() and (is_run(path) or any(map(is_run, path.iterdir())))):
        return {}
    if path.is_dir():
        packed = {file.name.removesuffix(".jsonl.gz"): file for file in path.glob("*.jsonl.gz")}
        return packed | {file.stem: file for file in path.glob("*.jsonl")}
    with judged(path), open_file(path) as stream:
        head = next(read_lines(stream), b"")
    found = re.search(rb'"table":"([^"]*)"', head) if head.startswith(_EXPORT) else None
    return {found[1].decode(errors="replace"): path} if found else {}


@dataclass(frozen=True)
class RunsOver:
    """Checkpoints that the other server has the rows of, the latest first.

    Of a directory that is known of the runs before one of a later timeline, because `checkpoint create` writes to a
    directory only what continues the last run in it. Of a run that somebody named, they say so.
    """

    path: Path
    runs: list[Run]
    is_named: bool

    def require(self, conn: Connection) -> None:
        """Raise NotThere if no run tells what the other server has; psycopg.Error."""
        self._known(_position(conn))

    def common(self, conn: Connection, log: Log) -> Common:
        """Return the latest size of a log at which the root is the signed one.

        Raises NotThere if no run tells, EvidenceRefused for another log, or if rows that both servers must have are
        others here; psycopg.Error.
        """
        here = _position(conn)
        runs = self._known(here)
        said = [run for run in runs if log.table in run.logs]
        broken = next((run for run in runs if run.facts and log.table in run.facts.broken), None)
        if not said:
            if broken or not all(run.is_whole for run in runs):
                raise NotThere(f"there is no checkpoint of {log.table} in {self.path}")
            return Common(0, runs[0].name, is_exact=True)  # chained since, and here only
        for run in said:
            signed = run.logs[log.table]
            if run.facts and signed.origin != log.origin:
                raise EvidenceRefused(f"{run.name} is of {signed.origin}, this is {log.origin}")
            if signed.size > log.last_id:
                continue
            if signed.size < log.start_id or _root(conn, log.table, signed.size) == signed.root:
                # the log ended there when it was made: what a later timeline added is not what stands here
                is_later = _is_later(run, here)
                is_exact = is_later or signed.size == log.last_id
                return Common(signed.size, run.name, is_exact, is_claimed=self.is_named and not is_later)
            if not _is_later(run, here):
                raise EvidenceRefused(
                    f"rows 1 to {signed.size} of {log.table} are not those that {signed.signer} signed in {run.name}",
                    hint="alpha-db verify-chain --checkpoints tells more; or name a run that both servers have",
                )
        raise NotThere(
            f"{self.path} does not say up to where {log.table} is the same on both servers: name an older checkpoint"
            " that both have, or an export of the new primary"
        )

    def _known(self, here: Position) -> list[Run]:
        """The runs of which the other server has the rows."""
        if self.is_named:
            return self.runs
        later = next((n for n, run in enumerate(self.runs) if _is_later(run, here)), None)
        if later is None:
            raise NotThere(
                f"no run in {self.path} was made after the failover, on a later timeline than {here.timeline} of this"
                " server: whether the new primary has their rows, they do not say",
                hint="Name the last run that alpha-db verify-chain --checkpoints finds intact on the new primary.",
            )
        return self.runs[later:]

    def document(self) -> dict[str, Any]:
        """Return the latest run: its name, its time, its signer, and the root of the log of runs."""
        run = self.runs[0]
        return {
            "kind": "checkpoint",
            "path": str(self.path),
            "run": run.name,
            "time": run.facts.time.isoformat() if run.facts else None,
            "signer": run.checkpoint.origin,
            "root": run.checkpoint.root.hex(),
        }


@dataclass(frozen=True)
class ExportsOver:
    """Exports of the other server. They are not signed, so take them from there yourself."""

    path: Path
    files: dict[str, Path]

    def require(self, conn: Connection) -> None:
        """Raise nothing: a file may lack a table, and tell of others."""

    def common(self, conn: Connection, log: Log) -> Common:
        """Return the last row of a log that is in the export, too: each row's hash is compared.

        Takes a connection in a transaction. Raises NotThere if the export lacks the table, or begins behind what is
        the same; EvidenceRefused and EvidenceUnreadable for what is none; psycopg.Error.
        """
        file = self.files.get(log.table)
        if file is None:
            raise NotThere(f"there is no export of {log.table} in {self.path}")
        with judged(file), open_file(file) as stream:
            compared = _Compared(conn, log, read_lines(stream))
            found = verify_export(compared)
            if found.origin != log.origin:
                raise Refused(f"it is of {found.origin}, this is {log.origin}")
        if compared.same is None:
            raise NotThere(
                f"{file} begins with row {found.first_id}, and {log.table} is another log here before that",
                hint="Export the new primary's rows from an older row on.",
            )
        return Common(compared.same, file.name, is_exact=True)

    def document(self) -> dict[str, Any]:
        """Return what the files are, and that nobody signed them."""
        return {"kind": "export", "path": str(self.path)}


class _Compared:
    """The lines of an export; `same` is the last row that a log has with the same hash, None if there is none."""

    def __init__(self, conn: Connection, log: Log, lines: Iterator[bytes]) -> None:
        self.same: int | None = None
        self._conn, self._log, self._lines = conn, log, lines

    def __iter__(self) -> Iterator[bytes]:
        head = next(self._lines, b"")
        yield head
        found = _HEADER.search(head)
        if found is None or not self._begins_here(int(found[1]) - 1, found[2].decode()):
            yield from self._lines
            return
        self.same = int(found[1]) - 1
        statement = sql.SQL(query("row_hashes_after")).format(sql.Identifier(self._log.table))
        with self._conn.cursor("row hashes", row_factory=tuple_row) as cursor:
            cursor.itersize = 10_000
            cursor.execute(statement, {"after": self.same})
            for line in self._lines:
                yield line
                row, here = _ROW.match(line), cursor.fetchone()
                if row is None or here is None or row[1].decode() != here[0]:
                    break
                self.same += 1
        yield from self._lines

    def _begins_here(self, before: int, previous: str) -> bool:
        """Whether the row before the export's first is the same here."""
        log = self._log
        if not log.start_id <= before <= log.last_id:
            return False
        if before == 0:
            return True  # the first row follows the genesis, which verify_export checks
        name = "start_hash" if before == log.start_id else "row_hash"
        return bool(ask_one(self._conn, name, table_name=log.table, before=before) == previous)


def _position(conn: Connection) -> Position:
    row = ask(conn, "whereabouts")[0]
    return Position(row["system_identifier"], row["timeline"], row["wal_lsn"])


def _is_later(run: Run, here: Position) -> bool:
    """Whether a run was made by a standby of this server, after it took over."""
    facts = run.facts
    return facts is not None and facts.system == here.system_identifier and facts.timeline > here.timeline


def _root(conn: Connection, table: str, size: int) -> bytes | None:
    # of the rows, not of stored nodes: this server is not trusted
    return bytes(ask_one(conn, "recompute_log_root", table_name=table, size=size))

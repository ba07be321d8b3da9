"""A migrated database, its command line, and checkpoints of it that are composed here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.cli.desk import Desk
from tests.evidence.made_by_hand import SIGNER, Book, Signer, run_proof
from tests.support import Connection, one, query

RUN = "000000003"


def book_of(db: Connection, table: str, size: int | None = None) -> Book:
    """A table's rows as a Book, whose hashes are computed anew from the texts."""
    rows = query(db, "select row_data from chain_rows(%s) order by id limit %s", [table, size])
    book = Book([row["row_data"] for row in rows], table)
    book.installation = one(db, "select installation_id::text from installation")
    return book


@dataclass
class Evidence:
    """Runs commands, with files in `folder`; `key` is a trusted public key's file."""

    desk: Desk
    db: Connection
    folder: Path

    def __post_init__(self) -> None:
        self.key = self.folder / "desk.vkey"
        self.key.write_text(f"{SIGNER.vkey}\n")

    def path(self, name: str) -> Path:
        return self.folder / name

    def run_file(self, table: str = "signals", size: int | None = None, signer: Signer = SIGNER) -> Path:
        """The proof of a run that names one table as it is now, or was with `size` rows."""
        file = self.path(f"{table}.tlog-proof")
        file.write_text(book_of(self.db, table, size).run(signer=signer), encoding="utf-8")
        return file

    def run_of(self, *tables: str) -> Path:
        """A directory of checkpoints with one run in it."""
        books = [book_of(self.db, table) for table in tables]
        return self._sign(books[0].runs(together=books), RUN).parent

    def record(self) -> Path:
        """The directory of a run that the database recorded: it names every log."""
        size = one(self.db, "select (record_checkpoint_run()).id")
        return self._sign(book_of(self.db, "checkpoint_runs"), f"{size:09d}")

    def _sign(self, runs: Book, name: str) -> Path:
        folder = self.path("checkpoints") / name
        folder.mkdir(parents=True)
        proof = run_proof(runs)
        (folder / "run.tlog-proof").write_text(proof, encoding="utf-8")
        (folder / "checkpoint.note").write_text(proof.split("\n\n", 1)[1], encoding="utf-8")
        return folder

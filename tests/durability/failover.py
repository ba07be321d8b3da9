"""An asynchronous failover that loses rows, played once: what both servers are left with.

The standby is cut off; the primary goes on, signs a checkpoint, and is killed. The standby is promoted, and gives the
ids of the rows that it never had to other rows. Then the former primary is started again, alone and read-only.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.checkpoint.book import Book, Result, make_key, public, run
from tests.cluster import Server
from tests.durability.acknowledged import INSTALLED
from tests.durability.processes import kill_everything
from tests.standbys import cut_off, promote, standby_of

#: Databases: the book; one of which no signed row is lost; one that was locked down before the standby was cut off; one
#: that was afterwards.
BOOK, KEPT, LOCKED, LATE = "failover_book", "failover_kept", "failover_locked", "failover_late"


@dataclass(frozen=True)
class Failover:
    """The book on both servers. Its directory has run 1, which both have, and run 2 of the former primary alone."""

    former: Book
    new: Book
    folder: Path
    kept: Book  #: of the new primary; if it was asked for

    def next_series(self) -> Book:
        """The book of the new primary with a directory and a key for the checkpoints from now on."""
        directory = self.folder / "next"
        directory.mkdir(exist_ok=True)
        key = self.folder / "next.key"
        if not key.exists():
            make_key(self.folder, "audit.example.org/trading-2", key.name)
        return replace(self.new, checkpoints=directory, key=key)

    def surplus(self, over: Path, name: str, *options: object, expect: int = 0) -> Result:
        """alpha-db export --surplus-over on the former primary, into a new directory of that name."""
        output = self.folder / name
        shutil.rmtree(output, ignore_errors=True)
        given = ("--surplus-over", over, "--output", output, *options)
        return run("--dsn", self.former.dsn, "export", *given, expect=expect)

    @property
    def trust(self) -> tuple[object, ...]:
        """The keys of both series."""
        return ("--trust", public(self.new.key), "--trust", public(self.next_series().key))


@contextmanager
def played(primary: Server, folder: Path, *, is_kept: bool) -> Iterator[Failover]:
    """Play it, with the book of which no signed row is lost if asked to. Afterwards the primary runs as it did."""
    for name in (BOOK, LOCKED, LATE, *([KEPT] if is_kept else [])):
        primary.psql("postgres", f"create database {name} template {INSTALLED}")
    primary.psql("postgres", "create role failover_auditor login in role app_auditor")
    primary.psql("postgres", "create role failover_app login in role app_trading")
    (folder / "checkpoints").mkdir()
    (folder / "kept").mkdir()
    former = Book(primary, BOOK, folder / "checkpoints", make_key(folder))
    kept = replace(former, dbname=KEPT, checkpoints=folder / "kept")
    conf = (primary.data / "postgresql.conf").read_text()
    with standby_of(primary) as standby:
        new = replace(former, server=standby)
        for book in (former, kept) if is_kept else (former,):
            book.write(1)
            book.create(book.checkpoints, "--wait-for-standby")
        _engage(primary, LOCKED)
        cut_off(primary, standby)
        former.write(4)
        former.sign()
        former.write(7)
        if is_kept:
            kept.write(4)
        _engage(primary, LATE)
        kill_everything(primary)
        promote(standby)
        try:
            new.write(10, signals=4)
            with (primary.data / "postgresql.conf").open("a") as more:
                more.write("default_transaction_read_only = on\n")
            primary.start()
            yield Failover(former, new, folder, replace(kept, server=standby))
        finally:
            primary.stop("immediate", keep=True)
            (primary.data / "standby.signal").unlink(missing_ok=True)  # if it followed the new one meanwhile
            (primary.data / "postgresql.auto.conf").write_text("")
            (primary.data / "postgresql.conf").write_text(conf)
            primary.start()


def _engage(server: Server, database: str) -> None:
    server.psql(database, "select _engage_lockdown('test', '[]')")

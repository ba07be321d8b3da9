"""alpha-db guards --checkpoints: what changed since a checkpoint, accepted or not, and who had a hand in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoint.book import Book, Result, make_key, run
from tests.cluster import Server
from tests.security.refusals import install_guard
from tests.support import query, tamper


def test_what_changed(book: Book) -> None:
    def since(path: Path, expect: int) -> dict[str, object]:
        command = ("--dsn", book.dsn, "guards", "--checkpoints", path, "--trust", book.vkey, "--json")
        found: dict[str, object] = run(*command, expect=expect).json
        return found

    assert since(book.checkpoints, 0)["facts"] == []
    with book.connect() as conn:
        query(conn, "alter table signals set (fillfactor = 90)")
        query(conn, "select record_guards('ticket 42')")
        query(conn, "create index more on signals (symbol)")
    latest = book.runs[-1]
    for path in (book.checkpoints, latest, latest / "run.tlog-proof"):
        found = since(path, 1)
        facts = {
            (row["object_kind"], row["object_name"], row["problem"]): (row["expected"], row["found"])
            for row in found["facts"]  # type: ignore[attr-defined]
        }
        before, after = facts.pop(("relation", "signals", "changed"))
        assert after == f"{before}, fillfactor=90"
        assert {name for _, name, _ in facts} == {"more"}
        assert [row["reason"] for row in found["guard_states"]] == ["ticket 42"]  # type: ignore[attr-defined]
        assert found["maintenance_events"] == []
        assert found["note"] is None
    text = run("--dsn", book.dsn, "guards", "--checkpoints", latest, "--trust", book.vkey, expect=1).out
    assert "fillfactor=90" in text
    assert "ticket 42" in text
    # signed as they are: the run itself tells that they were not as recorded
    book.sign()
    found = since(book.checkpoints, 1)
    assert {row["object_name"] for row in found["facts"]} == {"more"}  # type: ignore[attr-defined]
    assert "something had been changed before" in str(found["note"])
    assert since(latest, 1)["note"] is None


def test_what_is_refused(book: Book, tmp_path: Path) -> None:
    def since(path: Path, expect: int, key: str = book.vkey) -> str:
        return run("--dsn", book.dsn, "guards", "--checkpoints", path, "--trust", key, expect=expect).err

    latest = book.runs[-1]
    assert "the row of run checkpoint.note could not be read" in since(latest / "checkpoint.note", 3)
    other = make_key(tmp_path, "mallory.example", "other.key").with_name("other.key.vkey")
    assert "none of the trusted keys" in since(latest, 1, str(other))
    with book.connect() as conn:
        tamper(conn, "update only guard_states set facts = '[]' where id = 1")
        tamper(conn, "update only guard_states set row_hash = repeat('a', 64) where id = 1")
    assert "guard_states is not what was signed" in since(latest, 1)


def test_maintenance_appears_in_the_chain(
    server: Server, new_book: Book, make_database: Callable[..., str], admin: object
) -> None:
    del make_database, admin
    install_guard(server, new_book.dbname)
    new_book.sign()
    with new_book.connect() as conn, conn.transaction():
        query(conn, "set local alpha.maintenance = 'a smaller table'")
        query(conn, "alter table signals set (fillfactor = 90)")
        query(conn, "alter table signals reset (fillfactor)")
    command = (
        "--dsn",
        new_book.dsn,
        "guards",
        "--checkpoints",
        new_book.checkpoints,
        "--trust",
        new_book.vkey,
    )
    found = run(*command, "--json").json
    assert [
        (row["command_tag"], row["object_identity"], row["reason"]) for row in found["maintenance_events"]
    ] == [("ALTER TABLE", "public.signals", "a smaller table")] * 2
    said = run(*command).out
    assert "a smaller table" in said
    assert "All guards are as in" in said, "they are again, and that something was done is told all the same"
    new_book.sign()
    checkpoints = run("checkpoint", "list", new_book.checkpoints, "--json").json
    assert [row["sizes"]["maintenance_events"] for row in checkpoints] == [0, 2], "and it is signed"


def test_an_older_checkpoint_stands_in_for_one_that_cannot_be_read(book: Book) -> None:
    def since(expect: int) -> Result:
        command = ("--dsn", book.dsn, "guards", "--checkpoints", book.checkpoints, "--trust", book.vkey)
        return run(*command, "--json", expect=expect)

    _, second, third = book.runs
    (third / "run.tlog-proof").write_text("")
    found = since(3)
    assert found.json["run"] == second.name
    empty = "it is not a proof (c2sp.org/tlog-proof@v1), or not the whole of it"
    assert found.json["unreadable"] == [{"name": f"{third.name}/run.tlog-proof", "reason": empty}]
    assert f"{third.name}/run.tlog-proof: {empty}" in found.err
    shutil.rmtree(third)
    third.write_text("")  # as good as a directory that may not be read
    assert since(3).json["unreadable"] == [{"name": third.name, "reason": "it is not a directory"}]
    with book.connect() as conn:
        query(conn, "alter table signals set (fillfactor = 90)")
    assert since(1).json["changed"] is True


@pytest.mark.parametrize("table", ["chains", "installation", "guard_states"])
def test_a_register_that_is_gone_is_no_unreadable_checkpoint(book: Book, table: str) -> None:
    with book.connect() as conn:
        query(conn, f"drop table {table} cascade")
    command = ("--dsn", book.dsn, "guards", "--checkpoints", book.checkpoints, "--trust", book.vkey)
    assert "AUD-0" in run(*command, expect=1).err

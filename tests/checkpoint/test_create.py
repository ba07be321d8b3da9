"""Making checkpoints: durable, consistent, whole or not at all, one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from alpha_db.errors import AlphaDbError
from alpha_db.evidence.checkpoint import create as making
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.note import NOTE, PROOF
from alpha_db.evidence.checkpoint.store import Store, StoreError
from tests.chain.by_force import rehash
from tests.checkpoint.book import Book, run
from tests.cluster import client_environment
from tests.fix_database import Connection, LoginRole
from tests.support import PATIENCE, ROOT, make_signal, one, query, result_of, tamper

# The command line and the files; the SQL behind them is tested on every server elsewhere.
pytestmark = pytest.mark.any_server

NAMES = ["000000001", "000000002", "000000010"]


def test_the_first_and_the_next(new_book: Book) -> None:
    first = new_book.create(new_book.checkpoints)
    assert "It is the first one" in first.out
    new_book.write(1)
    second = new_book.create(new_book.checkpoints, "--json")
    made = second.json
    assert made["previous"] == new_book.runs[0].name
    assert Path(made["path"]) == new_book.runs[1]
    assert {one["table"]: one["size"] for one in made["logs"]}["signals"] == 3
    third = new_book.create(new_book.checkpoints)
    assert f"continues   {made['run']}" in third.out
    listed = run("checkpoint", "list", new_book.checkpoints, "--json").json
    assert [row["run"] for row in listed] == [path.name for path in new_book.runs]
    assert [row["sizes"]["signals"] for row in listed] == [0, 3, 3]
    assert run("checkpoint", "list", new_book.checkpoints).out.count("\n") == 4


def test_an_engaged_lockdown_is_mentioned(new_book: Book) -> None:
    assert (
        "There is nothing to verify in 1 of 1."
        in run("checkpoint", "verify", new_book.checkpoints, "--trust", new_book.vkey, expect=5).out
    )
    assert new_book.create(new_book.checkpoints, "--json").json["lockdown_engaged"] is False
    with new_book.connect() as conn:
        query(conn, "select _engage_lockdown('a test', '[]')")
    assert "The lockdown is engaged: " in new_book.create(new_book.checkpoints).err


def test_as_the_auditor(new_book: Book, login_role: LoginRole) -> None:
    login = login_role("app_auditor")
    new_book.write(1)
    dsn = new_book.server.dsn(new_book.dbname, login)
    run("--dsn", dsn, "checkpoint", "create", "--key", new_book.key, new_book.checkpoints)
    checkpoints = ("--checkpoints", new_book.checkpoints, "--trust", new_book.vkey)
    assert run("--dsn", dsn, "verify-chain", *checkpoints).out.endswith(
        f"As signed in {new_book.runs[0].name}.\n"
    )
    said = run(
        "--dsn", dsn, "checkpoint", "create", "--key", new_book.key, new_book.checkpoints,
        "--wait-for-standby", "--timeout", "0", expect=3,
    )  # fmt: skip
    assert "no standby is connected" in said.err


def test_to_stdout(new_book: Book, tmp_path: Path) -> None:
    assert "name the DIRECTORY" in new_book.create("--stdout", expect=2).err
    printed = new_book.create("--stdout", "--first")
    assert "compared with nothing" in printed.err
    file = tmp_path / "note"
    file.write_text(printed.out)
    (checked,) = run("checkpoint", "verify", file, "--trust", new_book.vkey, "--json").json["checked"]
    assert (checked["sizes"], checked["is_whole_run"]) == ({"checkpoint_runs": 1}, False)
    assert "A note alone does not say" in run("checkpoint", "verify", file, "--trust", new_book.vkey).out
    new_book.write(1)
    new_book.sign()
    document = new_book.create(new_book.checkpoints, "--stdout", "--json").json
    assert (document["path"], document["previous"]) == (None, new_book.runs[0].name)
    assert len(new_book.runs) == 1
    assert document["note"].split("\n")[1] == "3"
    file.write_text(document["proof"])
    (checked,) = run("checkpoint", "verify", file, "--trust", new_book.vkey, "--json").json["checked"]
    assert (checked["sizes"]["signals"], checked["is_whole_run"]) == (3, True)
    with new_book.connect() as conn:
        assert len(checked["sizes"]) == one(conn, "select count(*) from chain_status()")


def test_usage(new_book: Book, tmp_path: Path) -> None:
    assert "name the DIRECTORY" in new_book.create(expect=2).err
    assert "--timeout is for" in new_book.create(new_book.checkpoints, "--timeout", "1", expect=2).err
    missing = new_book.create(tmp_path / "missing", expect=5)
    assert "mkdir" in missing.err
    assert not (tmp_path / "missing").exists(), "a mount that is not there must not begin a new series"


def test_a_session_that_cannot_write(new_book: Book) -> None:
    options = "options=-cdefault_transaction_read_only=on"
    dsn = f"{new_book.dsn} {options}"
    said = run("--dsn", dsn, "checkpoint", "create", "--key", new_book.key, new_book.checkpoints, expect=3)
    assert "this session cannot write" in said.err
    assert new_book.runs == []


def test_rows_are_on_disk_before_anything_is_signed(new_book: Book, admin: Connection) -> None:
    """Rows that were committed without waiting are flushed, though nothing else does so here."""
    query(admin, "alter system set wal_writer_delay = '10s'")
    query(admin, "select pg_reload_conf()")
    try:
        with new_book.connect() as conn:
            query(conn, "set synchronous_commit = off")
            behind = "select pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()"
            # the WAL writer may still be in a round of before
            assert any(make_signal(conn, n) and one(conn, behind) for n in range(1, 50))
            new_book.sign()
            lsn = one(conn, "select wal_lsn from checkpoint_runs")
            assert one(conn, "select pg_current_wal_flush_lsn() >= %s::pg_lsn", [lsn])
    finally:
        query(admin, "alter system reset wal_writer_delay")
        query(admin, "select pg_reload_conf()")


def test_nothing_is_signed_before_it_is_on_disk(new_book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    signed: list[str] = []
    sign = SigningKey.sign
    key = SigningKey.load(new_book.key)

    def noted(self: SigningKey, text: str) -> str:
        if self.public_key == key.public_key:
            signed.append(text)
        return sign(self, text)

    def not_durable(*_: object) -> None:
        raise AlphaDbError("not on disk")

    monkeypatch.setattr(SigningKey, "sign", noted)
    new_book.sign()
    assert len(signed) == 1
    monkeypatch.setattr(making, "make_durable", not_durable)
    assert "not on disk" in new_book.create(new_book.checkpoints, expect=3).err
    assert len(signed) == 1
    assert len(new_book.runs) == 1


def test_a_wrong_clock_changes_nothing(book: Book) -> None:
    """A run is named by its place in the log of runs, and no clock moves that."""
    assert [path.name for path in book.runs] == ["000000001", "000000002", "000000003"]
    with book.connect() as conn:
        # as a clock that was years ahead would have left it
        query(conn, "alter table checkpoint_runs disable trigger all")
        query(conn, "update checkpoint_runs set created_at = '2036-01-01' where id = 3")
        rehash(conn, "checkpoint_runs", 3)
        query(conn, "alter table checkpoint_runs enable trigger all")
        query(conn, "alter table checkpoint_runs enable always trigger _100_reject_change")
        query(conn, "alter table checkpoint_runs enable always trigger _200_reject_truncate")
    other = replace(book, checkpoints=book.checkpoints.parent / "other")
    other.checkpoints.mkdir()
    assert other.sign() == "000000004"
    assert other.sign() == "000000005"
    other.verify()


def test_a_run_whose_note_was_never_written_is_passed_over(book: Book) -> None:
    """A process that is killed between the two leaves a row of checkpoint_runs, and no directory."""
    with book.connect() as conn:
        assert one(conn, "select (record_checkpoint_run()).id") == 4
    made = book.create(book.checkpoints, "--json").json
    assert (made["run"], made["previous"]) == ("000000005", "000000003")
    book.verify()


def test_nothing_is_recorded_if_the_log_contradicts_the_last_checkpoint(book: Book) -> None:
    with book.connect() as conn:
        tamper(conn, "delete from only order_events where id > 4")
        book.create(book.checkpoints, expect=1)
        assert one(conn, "select count(*) from checkpoint_runs") == 3


# ----------------------------------------------------------------------------------------------------
# The directory


def test_killed_midway_no_half_run_is_left(tmp_path: Path) -> None:
    """The process is killed at every single flush of a run in turn."""
    store = Store(tmp_path)
    store.write(NAMES[0], {NOTE: "1\n"})
    notes = {NOTE: "2\n", PROOF: "3\n"}
    flushes = len(notes) + 2  # each note, the new directory, the directory it is in
    for number in range(1, flushes + 1):
        child = os.fork()
        if child == 0:
            _die_at_flush(number, store, NAMES[1], notes)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        if number == flushes:
            break  # renamed, so it is there
        assert store.names() == [NAMES[0]]
        assert any(path.name.startswith(".new-") for path in tmp_path.iterdir())
    assert store.names() == NAMES[:2]
    assert store.read(NAMES[1]).files == notes
    store.write(NAMES[2], notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES, "what was left is cleared away"


def _die_at_flush(number: int, store: Store, name: str, notes: dict[str, str]) -> None:
    flushed = 0

    def fsync(_descriptor: object) -> None:
        nonlocal flushed
        flushed += 1
        if flushed == number:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        os.fsync = fsync  # type: ignore[assignment]
        store.write(name, notes)
    finally:
        os._exit(0)


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.write(NAMES[0], {NOTE: "1\n"})
    with pytest.raises(StoreError, match="is there already"):
        store.write(NAMES[0], {NOTE: "2\n"})
    assert store.read(NAMES[0]).files == {NOTE: "1\n"}

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        store.write(NAMES[1], {NOTE: "2\n"})
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[0]]


def test_concurrent_runs_follow_each_other(new_book: Book) -> None:
    """All wait for one lock; each compares with the run that the one before it wrote."""
    command = [
        sys.executable, "-m", "alpha_db", "--dsn", new_book.dsn, "checkpoint", "create", "--key",
        str(new_book.key), str(new_book.checkpoints), "--json",
    ]  # fmt: skip
    environment = client_environment({"PYTHONPATH": str(ROOT / "python")})
    lock = os.open(new_book.checkpoints / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    try:
        _wait_for_the_lock(new_book.checkpoints / ".lock", [process.pid for process in running])
        assert new_book.runs == []
        os.close(lock)
        made = []
        for process in running:
            out, err = process.communicate(timeout=PATIENCE)
            assert (process.returncode, err) == (0, "")
            made.append(result_of(out, 0))
    finally:
        for process in running:
            process.kill()
            process.wait()
    made.sort(key=lambda document: str(document["run"]))
    assert [document["previous"] for document in made] == [None, made[0]["run"], made[1]["run"]]
    assert [path.name for path in new_book.runs] == [document["run"] for document in made]
    run("checkpoint", "verify", new_book.checkpoints, "--trust", new_book.vkey)


def _wait_for_the_lock(lock: Path, pids: list[int]) -> None:
    """Wait until each process has opened the lock's file, which it does to ask for the lock again and again."""
    end = time.monotonic() + PATIENCE
    if not Path("/proc/self/fd").exists():
        return  # not Linux: they may come one after the other, which is a weaker test
    while not all(_has_open(lock, pid) for pid in pids):
        assert time.monotonic() < end, "they never waited for the lock"
        time.sleep(0.01)


def _has_open(file: Path, pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):  # a descriptor that was closed meanwhile
        return any(os.path.realpath(link) == str(file) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_reading_writes_nothing(book: Book) -> None:
    """So that it works on a read-only mount."""
    (book.checkpoints / ".lock").unlink()
    before = sorted(book.checkpoints.rglob("*"))
    for path in [*before, book.checkpoints]:
        path.chmod(path.stat().st_mode & ~0o222)
    run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey)
    run("checkpoint", "list", book.checkpoints)
    book.verify()
    assert sorted(book.checkpoints.rglob("*")) == before
    if os.getuid() != 0:  # nothing is read-only to root
        assert "cannot write" in book.create(book.checkpoints, expect=3).err
    book.checkpoints.chmod(0o755)

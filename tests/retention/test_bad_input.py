"""What retention propose and prune refuse: one line each, and nothing half-done."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys

import pytest

from tests.cluster import client_environment
from tests.evidence.made_by_hand import SIGNER, Book
from tests.retention.keeper import Keeper
from tests.support import one, tamper

pytestmark = pytest.mark.any_server


def propose_by_hand(keeper: Keeper, *options: object) -> list[str]:
    """The command line of a process of its own."""
    return [
        sys.executable, "-m", "alpha_db", "--dsn", keeper.desk.dsn, "retention", "propose",
        "--before", keeper.now, "--segments", str(keeper.segments), *keeper.evidence,
        "--reason", "seven years", *keeper.desk.sign("ada"), *map(str, options),
    ]  # fmt: skip


def nothing_is_done(keeper: Keeper) -> bool:
    left = (
        [path for path in keeper.segments.iterdir() if path.name != ".lock"]
        if keeper.segments.is_dir()
        else []
    )
    return not left and one(keeper.db, "select count(*) from proposals") == 0


def test_a_full_disk(keeper: Keeper) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    done = subprocess.run(
        propose_by_hand(keeper), env=client_environment(), capture_output=True, text=True, check=False,
        preexec_fn=limit,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr
    assert "File too large" in done.stderr
    assert nothing_is_done(keeper)


def test_a_directory_that_cannot_be_made(keeper: Keeper) -> None:
    (keeper.folder / "segments").write_text("a file")
    assert "is not a directory" in keeper.propose(expect=2)
    keeper.segments.unlink()
    shutil.rmtree(keeper.folder / "missing", ignore_errors=True)
    other = keeper.desk.run(
        "retention", "propose", "--segments", str(keeper.folder / "missing" / "x"), *keeper.evidence,
        "--reason", "r", *keeper.desk.sign("ada"), expect=2,
    )  # fmt: skip
    assert "there is no directory" in other.err


def test_a_directory_that_cannot_be_written_to(keeper: Keeper) -> None:
    said = keeper.propose("--segments", "/proc", expect=3)  # root may write anywhere else
    assert "cannot write to /proc" in said
    assert nothing_is_done(keeper)


def test_a_file_of_another_installation_in_the_place(keeper: Keeper) -> None:
    keeper.segments.mkdir()
    file = keeper.segment("order_events", 1, 512)
    file.write_bytes(b"".join(Book.of(512, "order_events").segment(1, 512)))
    said = keeper.propose("--table", "order_events", expect=3)
    assert f"{file} is there, and is not this segment: the note is signed by desk.example/log" in said
    assert file.read_bytes().startswith(b'{"format":"alpha-db/segment/v1"')
    assert one(keeper.db, "select count(*) from proposals") == 0


@pytest.mark.parametrize("content", [b"", b"hello\n", "export", "short"], ids=str)
def test_another_file_in_the_place(keeper: Keeper, content: bytes | str) -> None:
    file = keeper.segment("order_events", 1, 512)
    keeper.propose("--table", "order_events")
    data = file.read_bytes()
    if content == "export":
        content = data.split(b"\n", 1)[1]
    elif content == "short":
        content = data[: len(data) // 2]
    assert isinstance(content, bytes)
    file.write_bytes(content)
    assert "is there, and is not this segment" in keeper.propose("--table", "order_events", expect=3)
    assert file.read_bytes() == content


def test_a_checkpoint_that_does_not_cover_the_rows(keeper: Keeper) -> None:
    shutil.rmtree(keeper.checkpoints / "000000002")
    assert "the checkpoint is of 300 rows of order_events" in keeper.propose(
        "--table", "order_events", expect=5
    )
    assert nothing_is_done(keeper)


def test_rows_that_were_signed_otherwise(keeper: Keeper) -> None:
    tamper(keeper.db, "update order_events set row_hash = repeat('0', 64) where id = 512")
    assert "are not those that audit.example.org/trading signed" in keeper.propose(
        "--table", "order_events", expect=1
    )
    assert nothing_is_done(keeper)


def test_content_that_was_changed(keeper: Keeper) -> None:
    tamper(keeper.db, "update order_events set fill_price = 2 where id = 400")
    said = keeper.propose("--table", "order_events", expect=1)
    assert "order_events: row 400 does not give its hash" in said
    assert nothing_is_done(keeper)


def test_a_session_that_cannot_write(keeper: Keeper) -> None:
    keeper.archive()
    keeper.desk.dsn += " options='-c default_transaction_read_only=on'"
    assert "this session is read-only" in keeper.run("retention", "prune", expect=3).err
    assert "this session is read-only" in keeper.propose(expect=3)


def test_nothing_leaves_in_a_lockdown(keeper: Keeper) -> None:
    keeper.archive("--table", "order_events")
    tamper(keeper.db, "update signals set symbol = 'X' where id = 1100")
    keeper.run("verify-chain", expect=1)
    assert "[AUD-009]: in a lockdown nothing leaves the log" in keeper.propose(
        "--table", "ai_debates", expect=1
    )
    assert "[AUD-016]: in a lockdown nothing leaves the log" in keeper.run("retention", "prune", expect=1).err
    assert one(keeper.db, "select min(id) from order_events") == 1
    assert not keeper.segment("ai_debates", 1, 1024).exists()


def test_a_key_of_nobody_writes_nothing(keeper: Keeper) -> None:
    keeper.desk.keygen("dan")
    options = ("--agent", "dan", "--key", keeper.desk.key("dan"))
    assert "RSK-003" in keeper.propose(*options, expect=1)
    assert nothing_is_done(keeper)


def test_two_at_a_time(keeper: Keeper) -> None:
    keeper.propose("--table", "order_events")
    holder = subprocess.Popen(
        ["flock", str(keeper.segments / ".lock"), "sh", "-c", "echo held; read x"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    said = keeper.propose("--table", "order_events", "--lock-timeout", "0.1", expect=3)
    holder.communicate(b"\n")
    assert "another process has held" in said


def test_a_checkpoint_of_another_installation(keeper: Keeper) -> None:
    run = keeper.folder / "run.tlog-proof"
    run.write_text(Book.of(600, "order_events").run(), encoding="utf-8")
    done = keeper.run(
        "retention", "propose", "--before", keeper.now, "--table", "order_events", "--segments", keeper.segments,
        "--checkpoints", run, "--trust", SIGNER.vkey, "--reason", "r", *keeper.desk.sign("ada"), expect=1,
    )  # fmt: skip
    assert "the checkpoint is of alpha-db/6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f/order_events" in done.err
    assert nothing_is_done(keeper)

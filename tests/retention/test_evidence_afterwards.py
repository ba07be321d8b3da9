"""Checkpoints, exports, proofs and tiles of logs that begin behind a segment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alpha_db.evidence import offline_check
from alpha_db.evidence.checkpoint.blocks import read_blocks, root_of, roots_at
from alpha_db.evidence.offline_check import Signed
from alpha_db.verify.chain import recompute
from tests.retention.keeper import Keeper
from tests.support import Row, one, query

pytestmark = pytest.mark.any_server


def findings(keeper: Keeper, checkpoints: Path, expect: int = 0) -> dict[str, Row]:
    """What verify-chain finds of each table, compared with a directory."""
    found = keeper.run(
        "verify-chain", "--checkpoints", checkpoints, "--trust", keeper.trust, "--json", expect=expect
    )
    return {row["subject"]: row for row in found.json["checkpoints"]["results"]}


def add_events(keeper: Keeper, number: int) -> None:
    query(
        keeper.db,
        "insert into order_events (order_execution_id, event_type, fill_quantity, fill_price)"
        " select 550, 'FILL', 1, 1 from generate_series(1, %s)",
        [number],
    )


def sha256_of_signals(keeper: Keeper) -> str:
    """What the agents approved."""
    return str(one(keeper.db, "select segment_sha256 from archived_segments where table_name = 'signals'"))


def only(keeper: Keeper, run: str) -> Path:
    """A directory with one of the runs."""
    folder = keeper.folder / "other"
    folder.mkdir()
    shutil.copytree(keeper.checkpoints / run, folder / run)
    return folder


def test_checkpoints_from_before_and_after_compare(left: Keeper) -> None:
    left.sign()
    found = findings(left, left.checkpoints)
    assert {row["verdict"] for row in found.values()} == {"intact"}
    assert found["signals"]["detail"].endswith("; 1 older checkpoint of rows that only their segments have")


def test_an_older_checkpoint_of_whole_blocks_compares(keeper: Keeper) -> None:
    for more in (218, 300):  # to 768 events, and beyond
        add_events(keeper, more)
        keeper.sign()
    keeper.leave("--table", "order_events")
    assert one(keeper.db, "select max(id) from chain_starts") == 1024
    said = findings(keeper, keeper.checkpoints)["order_events"]["detail"]
    assert said.endswith("and 1 older checkpoint; 2 older checkpoints of rows that only their segments have")


def test_a_checkpoint_of_archived_rows_alone_is_archived(left: Keeper) -> None:
    found = findings(left, only(left, "000000001"))
    assert found["signals"]["verdict"] == "archived"
    assert "can be compared with their segment only" in found["signals"]["detail"]
    told = "verify-chain", "--checkpoints", left.folder / "other", "--trust", left.trust
    assert "order_events: what was signed of it is archived since" in left.run(*told).out


def test_its_segment_compares_with_that_checkpoint(left: Keeper) -> None:
    run = only(left, "000000001")
    files = left.segment("signals", 1, 1024), "--checkpoints", run, "--trust", left.trust
    assert "rows 1 to 1,024, all signed" in left.run("verify-export", *files).out


def test_a_forged_start_is_damage_for_checkpoints_too(keeper: Keeper) -> None:
    with keeper.db.transaction():
        query(keeper.db, "set local session_replication_role = replica")
        query(
            keeper.db,
            "insert into chain_starts select 'order_events', id, row_hash, created_at from order_events where id = 512",
        )
        query(keeper.db, "delete from order_events where id <= 512")
    assert findings(keeper, keeper.checkpoints, expect=1)["order_events"]["verdict"] == "missing_rows"
    said = keeper.run("checkpoint", "create", "--key", keeper.key, only(keeper, "000000001"), expect=1).err
    assert "AUD-009" in said


def test_a_checkpoint_follows_one_of_archived_rows(left: Keeper) -> None:
    folder = only(left, "000000001")
    made = left.run("checkpoint", "create", "--key", left.key, folder)
    assert "signals" in made.err
    assert "archived" in made.err
    left.run("checkpoint", "verify", folder, "--trust", left.trust)
    assert {row["verdict"] for row in findings(left, folder).values()} == {"intact"}


def test_an_export_begins_behind_the_segment(left: Keeper) -> None:
    run = left.sign()
    left.run("export", "-o", left.folder / "book")
    files = sorted((left.folder / "book").iterdir())
    told = left.run("verify-export", *files, *left.evidence, "--json").json["exports"]
    signals = next(one for one in told if one["table"] == "signals")
    assert (signals["first_id"], signals["last_id"], signals["signed_to"]) == (1025, 1100, 1100)
    shutil.copy(offline_check.__file__, left.folder)
    command = [sys.executable, "-I", "-S", "offline_check.py", "export", "book/signals.jsonl"]
    done = subprocess.run(
        [*command, "--checkpoint", str(run / "run.tlog-proof"), "--trust", left.trust],
        cwd=left.folder, env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "rows       1025 to 1100" in done.stdout


def test_segment_and_export_are_the_whole_log(keeper: Keeper) -> None:
    keeper.run("export", "--table", "signals", "-o", keeper.folder / "whole.jsonl")
    keeper.leave()
    keeper.run("export", "--table", "signals", "-o", keeper.folder / "rest.jsonl")
    whole = (keeper.folder / "whole.jsonl").read_bytes().splitlines()
    segment = keeper.segment("signals", 1, 1024).read_bytes().splitlines()
    rest = (keeper.folder / "rest.jsonl").read_bytes().splitlines()
    assert whole[1:-1] == segment[2:-1] + rest[1:-1]


@pytest.mark.parametrize(
    "options", [("--from-id", "5"), ("--to-id", "5"), ("--from-id", "1024")], ids=" ".join
)
def test_an_export_of_archived_rows_names_the_segment(left: Keeper, options: tuple[str, ...]) -> None:
    sha256 = sha256_of_signals(left)
    export = ("export", "--table", "signals", *options, "-o", left.folder / "x")
    assert sha256 in left.run(*export, expect=5).err
    assert not (left.folder / "x").exists()


def test_an_increment_since_archived_rows_names_the_segment(left: Keeper) -> None:
    sha256 = sha256_of_signals(left)
    since = ("--since-checkpoint", left.checkpoints / "000000001", "--trust", left.trust)
    err = left.run("export", "--table", "signals", *since, "-o", left.folder / "x", expect=5).err
    assert "row 601 of signals is archived" in err
    assert sha256 in err


def test_a_row_that_stays_is_proved_against_an_old_note(keeper: Keeper) -> None:
    rows = [1025, 1026, 1100]
    before = [keeper.run("prove", "signals", row, *keeper.evidence).out for row in rows]
    keeper.leave()
    assert [keeper.run("prove", "signals", row, *keeper.evidence).out for row in rows] == before


def test_a_row_that_left_is_in_the_segment(left: Keeper) -> None:
    sha256 = sha256_of_signals(left)
    err = left.run("prove", "signals", 1024, *left.evidence, expect=5).err
    assert "row 1024 of signals is archived" in err
    assert sha256 in err


def test_verifying_since_the_last_run_goes_on(keeper: Keeper) -> None:
    keeper.run("verify-chain")
    keeper.leave("--table", "order_events")
    keeper.run("verify-chain", "--since-last")


def test_tiles_go_on(keeper: Keeper) -> None:
    folder = keeper.folder / "tiles"
    keeper.run("tiles", folder)
    keeper.leave()
    keeper.sign()
    keeper.run("tiles", folder, *keeper.evidence)
    assert not (folder / "signals" / "minimum-index").exists()


def test_tiles_made_afterwards_begin_at_the_minimum_index(left: Keeper) -> None:
    left.sign()
    folder = left.folder / "tiles"
    left.run("tiles", folder, *left.evidence)
    assert (folder / "signals" / "minimum-index").read_text() == "1024\n"
    files = {str(p.relative_to(folder / "signals")) for p in folder.glob("signals/tile/**/*") if p.is_file()}
    assert files == {"tile/0/004.p/76", "tile/1/000.p/4", "tile/entries/004.p/76"}
    left.run("tiles", folder, *left.evidence)
    left.run("tiles", folder, "--full")


def test_tiles_that_end_before_the_archived_rows_do(keeper: Keeper) -> None:
    folder = keeper.folder / "tiles"
    keeper.run("tiles", folder)
    add_events(keeper, 300)
    keeper.sign()
    keeper.leave("--table", "order_events")
    said = keeper.run("tiles", folder, expect=1).out
    assert "its tiles end with row 550, and rows up to 768 are archived" in said


def test_a_chain_is_recomputed_from_the_end_of_its_segment(keeper: Keeper) -> None:
    (told,) = keeper.leave("--table", "order_events")
    assert (broken := recompute(keeper.db, "order_events").broken)
    assert broken.id == 1
    found = recompute(keeper.db, "order_events", (told["through_id"], told["row_hash"]))
    assert (found.rows, found.broken) == (38, None)
    assert recompute(keeper.db, "order_events", (told["through_id"], "0" * 64)).broken


def test_older_checkpoints_are_recomputed_from_the_rows_that_stay(left: Keeper) -> None:
    def head(size: int) -> Signed:
        return Signed("", "signals", size, one(left.db, "select log_root('signals', %s)", [size]), "")

    heads = [head(size) for size in (1025, 1090, 1099)]
    blocks = read_blocks(left.db, "signals", 1100, None)
    assert blocks
    assert root_of(blocks) == head(1100).root
    sizes = [each.size for each in heads]
    assert list(roots_at(left.db, "signals", blocks, sizes, None)) == [each.root for each in heads]

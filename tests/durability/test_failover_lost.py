"""After an asynchronous failover that lost rows: what shows, how one goes on, and what the former primary still has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from alpha_db.evidence import offline_check
from tests.checkpoint.book import Book, Result, public, run
from tests.cluster import Server
from tests.documents.blocks import Block
from tests.durability.acknowledged import assert_whole
from tests.durability.failover import LATE, LOCKED, Failover, played
from tests.durability.failover_page import blocks, place, run_block
from tests.risk.council import Council
from tests.standbys import rewind
from tests.support import assert_healthy, changed_guards, make_signal, one, query, wait_until
from tests.witness.by_hand import WITNESS
from tests.witness.running import in_process

pytestmark = pytest.mark.any_server


@pytest.fixture(scope="module")
def failover(
    durable: Server, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Failover]:
    """Both servers after the failover."""
    is_all = bool(pytestconfig.getoption("all"))
    with played(durable, tmp_path_factory.mktemp("failover"), is_kept=is_all) as made:
        yield made


def rows_of(folder: Path, table: str) -> list[dict[str, object]]:
    """The rows in a file of a surplus, as they were hashed."""
    lines = (folder / f"{table}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(json.loads(line)["row_data"], parse_float=Decimal) for line in lines[1:-1]]


def test_the_new_primary_gives_the_ids_again_and_raises_no_alarm(failover: Failover) -> None:
    with failover.new.connect() as new, failover.former.connect() as former:
        assert_whole(new)
        assert changed_guards(new) == []
        both = "select row_hash from signals where id = %s"
        assert [one(new, both, [n]) == one(former, both, [n]) for n in (3, 4, 7)] == [True, False, False]
    assert run("--dsn", failover.new.dsn, "verify-chain").code == 0


def test_a_checkpoint_of_lost_rows_shows_which_and_why(failover: Failover) -> None:
    found = failover.new.findings("--no-lockdown")
    row = found["signals"]
    assert (row["verdict"], row["cause"]) == ("checkpoint_mismatch", "older_copy")
    assert "rows 1 to 3 agree with the checkpoint 000000001" in row["detail"]
    assert "the first changed row is one of 4 to 6" in row["detail"]
    assert "this server left timeline 1 at" in row["detail"]
    assert row["detail"].endswith("promoted before it had the rows, and wrote others since")
    runs = found["checkpoint_runs"]
    assert (runs["verdict"], runs["cause"], runs["missing_rows"]) == ("tail_missing", "older_copy", 1)


@pytest.mark.long
def test_an_auditor_is_told_that_the_timeline_changed(failover: Failover) -> None:
    """Who may not read the timeline's history is not told that the rows were rewritten, nor that they were not."""
    auditor = ("--dsn", failover.new.server.dsn(failover.new.dbname, "failover_auditor"))
    checkpoints = ("--checkpoints", failover.new.checkpoints, "--trust", public(failover.new.key))
    told = run(*auditor, "verify-chain", "--no-lockdown", "--json", *checkpoints, expect=1).json
    (row,) = (row for row in told["checkpoints"]["results"] if row["subject"] == "signals")
    assert row["cause"] == "unknown"
    assert "this server went from timeline 1 to 2 since" in row["detail"]


def test_no_checkpoint_continues_one_of_lost_rows(failover: Failover) -> None:
    before = failover.new.runs
    said = failover.new.create(failover.new.checkpoints, expect=1).err
    assert "checkpoint_runs" in said
    assert "this server left timeline 1 at" in said
    assert "HINT: Nothing was written. If this is a failover that lost rows" in said
    assert failover.new.runs == before
    left_out = failover.new.create(failover.new.checkpoints, "--without", "000000002", expect=3).err
    assert "000000002 is there already, of another log of runs. HINT: Begin a new directory" in left_out


@pytest.mark.long
def test_a_new_directory_and_a_new_key_go_on(failover: Failover) -> None:
    book = failover.next_series()
    assert "It is the first one" in book.create(book.checkpoints).out
    assert book.verify()["checkpoints"]["latest"] == book.runs[-1].name
    book.create(book.checkpoints)
    book.verify()


@pytest.fixture
def overs(failover: Failover) -> dict[str, Path]:
    """What the surplus can be taken over, by what it is."""
    book, exports = failover.next_series(), failover.folder / "exports"
    if not book.runs:
        book.sign()
    if not exports.exists():
        run("--dsn", book.dsn, "export", "--output", exports)
    return {
        "run": failover.former.runs[0],
        "exports": exports,
        "both": failover.former.checkpoints,
        "next": book.checkpoints,
    }


@pytest.mark.parametrize("over", ["exports", pytest.param("run", marks=pytest.mark.long)])
def test_the_surplus_is_what_the_former_primary_alone_has(
    failover: Failover, overs: dict[str, Path], over: str
) -> None:
    told = failover.surplus(overs[over], f"over-{over}", *failover.trust, "--json").json
    tables = {table["table"]: table for table in told["surplus"]["tables"]}
    assert [(tables[name]["same_to"], tables[name]["rows"]) for name in ("signals", "checkpoint_runs")] == [
        (3, 6),
        (1, 1),
    ]
    assert tables["signals"]["is_exact"] is (over == "exports")
    folder = failover.folder / f"over-{over}"
    assert [row["signal_id"] for row in rows_of(folder, "signals")] == [f"tv-{n:06d}" for n in range(4, 10)]
    assert json.loads((folder / "surplus.json").read_text()) == told["surplus"]
    files = sorted(folder.glob("*.jsonl"))
    signed = ("--checkpoint", failover.former.runs[1], "--trust", public(failover.former.key))
    assert offline_check.main(["export", *map(str, files)]) == 0
    run("verify-export", folder / "signals.jsonl", *signed)


def test_a_directory_without_a_run_of_the_new_primary_says_nothing(
    failover: Failover, overs: dict[str, Path]
) -> None:
    """Its last run is the former primary's own: over that one, rows that were lost would be left out."""
    said = failover.surplus(overs["both"], "over-both", *failover.trust, expect=5).err
    assert "was made after the failover" in said
    assert "HINT: Name the last run that" in said


@pytest.mark.long
def test_a_checkpoint_of_other_rows_alone_says_nothing(failover: Failover, overs: dict[str, Path]) -> None:
    told = failover.surplus(overs["next"], "over-next", *failover.trust, "--json", expect=5).json
    verdicts = {one["table"]: one["verdict"] for one in told["exports"]}
    assert (verdicts["signals"], verdicts["agents"]) == ("not_there", "holds")


def test_a_checkpoint_needs_a_trusted_key(failover: Failover, overs: dict[str, Path]) -> None:
    assert "needs --trust" in failover.surplus(overs["run"], "x", expect=2).err
    assert (
        "excludes"
        in failover.surplus(
            overs["run"], "x", "--since-checkpoint", overs["run"], *failover.trust, expect=2
        ).err
    )


def test_an_export_that_begins_too_late_says_nothing(failover: Failover) -> None:
    late = failover.folder / "late.jsonl"
    run(
        "--dsn",
        failover.new.dsn,
        "export",
        "--table",
        "signals",
        "--from-id",
        "5",
        "--output",
        late,
        "--force",
    )
    said = failover.surplus(late, "late", "--table", "signals", expect=5).err
    assert "begins with row 5, and signals is another log here before that" in said
    late.write_text(late.read_text().replace("tv-000011", "tv-000012"))
    assert "does not give its hash" in failover.surplus(late, "late", "--table", "signals", expect=1).err


def test_a_lockdown_is_there_if_the_standby_had_it(failover: Failover) -> None:
    with psycopg.connect(failover.new.server.dsn(LOCKED), autocommit=True) as locked:
        assert one(locked, "select is_locked from lockdown_status()") is True
        with pytest.raises(psycopg.DatabaseError, match="AUD-009"):
            make_signal(locked, 1)
    with psycopg.connect(failover.new.server.dsn(LATE), autocommit=True) as late:
        assert one(late, "select is_locked from lockdown_status()") is False
        assert changed_guards(late) == []
        make_signal(late, 1)


@pytest.mark.long
def test_the_surplus_is_delivered_again_once(failover: Failover, overs: dict[str, Path]) -> None:
    """Twice over, and the second time nothing is new. What is new has ids and hashes of the new primary."""
    failover.surplus(overs["exports"], "again", *failover.trust)
    names = ("signal_id", "symbol", "side", "price", "quantity", "raw_payload", "correlation_id")
    call = (
        "select id, is_new from record_signal(" + ", ".join(f"{name} => %({name})s" for name in names) + ")"
    )
    with failover.new.connect() as new:
        for expected in (True, False):
            for row in rows_of(failover.folder / "again", "signals"):
                given = {name: row[name] for name in names} | {"raw_payload": json.dumps(row["raw_payload"])}
                assert query(new, call, given)[0]["is_new"] is expected
        assert_whole(new)


@pytest.mark.long
def test_a_release_acknowledges_the_loss(failover: Failover) -> None:
    """The old directory can be compared again: what it shows is known. It engages the lockdown once, not for ever."""
    server = failover.new.server
    server.psql("postgres", f"create database failover_released template {failover.new.dbname}")
    book = replace(failover.new, dbname="failover_released")
    with book.connect() as connection:
        council = Council(connection).bootstrap("ada", "ben", "cyd")
        assert book.findings()["signals"]["verdict"] == "checkpoint_mismatch"
        assert one(connection, "select is_locked from lockdown_status()") is True
        council.release()
        make_signal(connection, 99)
        found = book.findings(expect=0)
        assert {row["verdict"] for row in found.values()} == {"acknowledged"}
        assert_whole(connection)


@pytest.mark.long
def test_a_witness_takes_the_new_series_only_under_a_new_name(failover: Failover, tmp_path: Path) -> None:
    """A witness that saw run 2 of the former primary never cosigns another log of that name."""
    series = failover.next_series()
    same = replace(failover.new, checkpoints=tmp_path / "same")
    same.checkpoints.mkdir()
    if not series.runs:
        series.sign()
    with in_process(tmp_path, (), vkeys=[same.vkey, series.vkey]) as running:

        def ask(book: Book, expect: int) -> Result:
            lines = [f"log {book.vkey}", f"witness outside {WITNESS.vkey} {running.url}", "quorum outside"]
            file = tmp_path / "policy"
            file.write_text("".join(f"{line}\n" for line in lines))
            asked = ("checkpoint", "witness", "--policy", file, book.checkpoints)
            return run("--dsn", book.dsn, *asked, expect=expect)

        ask(failover.former, 0)
        same.sign()
        assert "FORK" in ask(same, 1).out
        ask(series, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page's commands are run."""
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


@pytest.mark.long
def test_a_failover_that_lost_no_signed_row(failover: Failover, folder: Path) -> None:
    """The checkpoint that is made before other rows are written says exactly what the former primary has more."""
    kept, former = failover.kept, failover.former.server
    place(folder, kept)
    ask, sign = blocks("At the failover")
    assert "As signed in 000000001." in run_block(ask, folder, kept, former)
    dsn = f"export ALPHA_DB_DSN='{kept.server.dsn(kept.dbname, 'failover_auditor')}'\n"
    signed = Block(sign.line, "sh", dsn + sign.text)
    run_block(signed, folder, kept, former)
    kept.write(20)
    export, said, exactly, deliver = blocks("What the former primary has more")
    told = run_block(export, folder, kept, former)
    for line in said.text.splitlines():
        assert line in told.splitlines()
    assert '"is_exact": false' not in (folder / "surplus" / "surplus.json").read_text()
    dsn = dsn.replace(str(kept.server.directory), str(former.directory))
    run_block(Block(exactly.line, "sh", dsn + exactly.text), folder, kept, former)
    both = [(folder / name / "signals.jsonl").read_bytes() for name in ("surplus", "surplus-exact")]
    assert both[0] == both[1]
    assert run_block(deliver, folder, kept, former).splitlines() == ["4 is 7 new", "5 is 8 new", "6 is 9 new"]
    assert run_block(deliver, folder, kept, former).count("there already") == 3


@pytest.mark.long
def test_a_failover_that_lost_signed_rows(failover: Failover, folder: Path) -> None:
    new, former = failover.new, failover.former.server
    place(folder, new)
    ask, _ = blocks("At the failover")
    assert "rows 1 to 3 agree with the checkpoint 000000001" in run_block(ask, folder, new, former, expect=1)
    (series,) = blocks("When signed rows are lost")
    assert "As signed in 00000000" in run_block(series, folder, new, former)


def test_the_former_primary_follows_after_pg_rewind(failover: Failover) -> None:
    """Its surplus is gone then, so it is exported before. Last in this file, because it ends the former primary."""
    former, standby = failover.former.server, failover.new.server
    rewind(former, standby)
    with failover.former.connect() as copy, failover.new.connect() as new:
        written = make_signal(new, 1000)["row_hash"]
        wait_until(copy, "select exists (select from signals where row_hash = %s)", [written])
        assert one(copy, "select pg_is_in_recovery()") is True
        assert_healthy(copy)
        assert_whole(copy)
        assert one(copy, "select count(*) from signals where signal_id = 'tv-000009' and id = 9") == 0
    told = run("--dsn", failover.former.dsn, "verify-chain").out
    assert "Intact: 19 chains" in told

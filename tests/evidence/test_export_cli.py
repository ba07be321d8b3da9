"""alpha-db export and verify-export on real books."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence.cli.new_file import NotWritten, new_file
from tests.cluster import Server, client_environment
from tests.evidence.desk import Evidence, book_of
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, bit_flips, run_proof
from tests.fix_database import LoginRole
from tests.support import (
    AUDIT_TABLES,
    PATIENCE,
    ROOT,
    Connection,
    as_role,
    fill,
    make_signal,
    one,
    query,
    tamper,
)
from tests.witness.by_hand import Signer as Witness


def export(evidence: Evidence, name: str, *arguments: str, expect: int = 0) -> Path:
    path = evidence.path(name)
    evidence.desk.run("export", "-o", str(path), *arguments, expect=expect)
    return path


def verify(evidence: Evidence, *arguments: object, expect: int = 0) -> list[dict[str, object]]:
    done = evidence.desk.run("verify-export", *map(str, arguments), "--json", expect=expect)
    exports: list[dict[str, object]] = done.json["exports"]
    return exports


def test_a_whole_book(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=4)
    make_signal(db, 50, raw_payload='{"n": 1.50, "note": "é \\" \\\\ / \\u0001 %s \\n 𝄞", "s": "  two  "}')
    run = evidence.record()
    folder = export(evidence, "book")
    tables = [row["table_name"] for row in query(db, "select table_name from chains")]
    assert set(AUDIT_TABLES) < set(tables)
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{table}.jsonl" for table in tables)
    # byte for byte what the description of the format says
    for table in tables:
        assert (folder / f"{table}.jsonl").read_bytes() == b"".join(book_of(db, table).export()), table
    found = verify(evidence, *sorted(folder.iterdir()), "--checkpoint", run, "--trust", evidence.key)
    assert {one["verdict"] for one in found} == {"holds"}
    assert all(one["signed_to"] == one["last_id"] for one in found)
    done = evidence.desk.run("verify-export", str(folder / "signals.jsonl"))
    assert "signals  rows 1 to 5\n" in done.out
    assert "Not compared with a checkpoint" in done.out


def test_ranges(evidence: Evidence) -> None:
    fill(evidence.db, signals=9)
    book, run = book_of(evidence.db, "signals"), evidence.run_file()
    for first, last in ((1, 9), (1, 4), (2, 9), (5, 5), (4, 8), (10, 9), (1, 0)):
        path = export(
            evidence, f"{first}-{last}", "--table", "signals", f"--from-id={first}", f"--to-id={last}"
        )
        assert path.read_bytes() == b"".join(book.export(first, last))
    (found,) = verify(evidence, evidence.path("2-9"), "--checkpoint", run, "--trust", evidence.key)
    assert (found["first_id"], found["signed_to"]) == (2, 9)
    # a part that ends before the checkpoint does is not what was signed
    (found,) = verify(evidence, evidence.path("1-4"), "--checkpoint", run, "--trust", evidence.key, expect=1)
    assert str(found["reason"]).startswith(
        "the end is missing: 9 rows were signed, the export ends at row 4 ("
    )
    for code, wrong in (
        (5, ["--to-id=10"]),
        (5, ["--from-id=11"]),
        (2, ["--from-id=5", "--to-id=3"]),
        (2, ["--from-id=0"]),
    ):
        export(evidence, "wrong", "--table", "signals", *wrong, expect=code)
    assert not evidence.path("wrong").exists()


def test_since_a_checkpoint(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=3)
    run = evidence.record()
    with as_role(db, "alpha_owner"):
        db.execute(
            "create table late (id bigserial primary key, row_hash char(64) not null, created_at timestamptz not null)"
        )
        query(db, "select _chain_attach('late')")
    db.execute("insert into late default values")
    make_signal(db, 20)
    make_signal(db, 21)
    key = ("--trust", str(evidence.key))
    folder = export(evidence, "since", "--since-checkpoint", str(run), *key, "--gzip")
    parts = {file.name.split(".")[0]: gzip.decompress(file.read_bytes()) for file in folder.iterdir()}
    assert parts["signals"] == b"".join(book_of(db, "signals").export(4))
    assert parts["ai_debates"] == b"".join(book_of(db, "ai_debates").export(4))  # nothing new
    assert parts["checkpoint_runs"] == b"".join(book_of(db, "checkpoint_runs").export(2))
    assert parts["late"] == b"".join(book_of(db, "late").export())  # chained since the run
    verify(evidence, folder / "signals.jsonl.gz", "--checkpoint", evidence.run_file(), *key)  # of now
    one_file = export(
        evidence,
        "one.jsonl",
        "--since-checkpoint",
        str(evidence.run_file(size=2)),
        *key,
        "--table",
        "signals",
    )
    assert one_file.read_bytes() == b"".join(book_of(db, "signals").export(3))


def test_since_a_checkpoint_that_does_not_fit(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=5)
    run, key = evidence.run_file(), ("--trust", str(evidence.key))
    since = ("export", "--table", "signals", "-o", str(evidence.path("x")), "--since-checkpoint", str(run))
    assert "needs --trust" in evidence.desk.run(*since, expect=2).err
    assert "none of the trusted keys" in evidence.desk.run(*since, "--trust", OTHER.vkey, expect=1).err
    assert "exclude" in evidence.desk.run(*since, *key, "--from-id", "2", expect=2).err
    tamper(db, "delete from signals where id = 5")
    assert "has 4 rows, and had 5" in evidence.desk.run(*since, *key, expect=1).err
    foreign = book_of(db, "signals")
    foreign.installation = "00000000" + foreign.installation[8:]
    run.write_text(foreign.run(), encoding="utf-8")
    assert "the checkpoint is of alpha-db/00000000" in evidence.desk.run(*since, *key, expect=1).err
    evidence.run_file()
    tamper(db, "update signals set row_hash = repeat('0', 64) where id = 2")
    assert "are not those that desk.example/log signed" in evidence.desk.run(*since, *key, expect=1).err
    evidence.path("empty").mkdir()
    done = evidence.desk.run(*since[:-1], str(evidence.path("empty")), *key, expect=5)
    assert "there is no checkpoint" in done.err
    assert not evidence.path("x").exists()


def test_damage_is_exported_told_and_found_again(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=5)
    for statement, words in (
        ("update signals set quantity = 0.26 where id = 2", "row 2 does not give its hash"),
        ("delete from signals where id = 4", "row 2 does not give its hash"),
    ):
        tamper(db, statement)
        done = evidence.desk.run(
            "export", "--table", "signals", "-o", str(evidence.path("d")), "--force", expect=1
        )
        assert words in done.out
        (found,) = verify(evidence, evidence.path("d"), expect=1)
        assert words in str(found["reason"])
    lines = evidence.path("d").read_bytes().splitlines()
    assert [json.loads(line).get("id") for line in lines] == [None, 1, 2, 3, 5, None]
    assert json.loads(lines[-1]) == {
        "format": "alpha-db/export-end/v1",
        "rows": 4,
        "last_id": 5,
        "last_hash": one(db, "select row_hash from signals where id = 5"),
    }
    # behind the gap nothing can be shown to belong there
    done = evidence.desk.run(
        "export", "--table", "signals", "--from-id", "5", "-o", str(evidence.path("e")), expect=1
    )
    assert "row 4 of signals is missing" in done.err
    done = evidence.desk.run(
        "export", "--table", "signals", "--from-id", "6", "-o", str(evidence.path("e")), expect=1
    )
    assert "AUD-009" in done.err
    assert sorted(file.name for file in evidence.folder.iterdir()) == ["d", "desk.vkey"]


def test_a_file_is_there_whole_or_not_at_all(evidence: Evidence) -> None:
    fill(evidence.db)
    path = export(evidence, "s.jsonl", "--table", "signals")
    kept = path.read_bytes()
    path.write_bytes(b"mine")
    done = evidence.desk.run("export", "--table", "signals", "-o", str(path), expect=2)
    assert "is there already; --force" in done.err
    assert path.read_bytes() == b"mine"
    link = evidence.path("link.jsonl")
    link.symlink_to(path)
    export(evidence, "link.jsonl", "--table", "signals", "--force")
    assert link.is_symlink()
    assert path.read_bytes() == kept
    folder = export(evidence, "folder")
    assert "is there already" in evidence.desk.run("export", "-o", str(folder), expect=2).err
    export(evidence, "folder", "--table", "signals", "--force")  # one of them
    for arguments in (["-o", "-"], ["-o", str(path)], ["-o", os.devnull, "--table", "signals"],
                      ["-o", str(evidence.path("no/where")), "--table", "signals"], ["-o", str(evidence.path("n/o"))],
                      ["-o", str(folder), "--from-id", "1"]):  # fmt: skip
        evidence.desk.run("export", *arguments, expect=2)
    unknown = evidence.desk.run("export", "-o", "x", "--table", "installation", expect=5)
    assert "installation is not a chained table; these are: webhook_deliveries, signals, " in unknown.err
    assert not [file for file in evidence.folder.iterdir() if file.name.startswith(".")]


def test_a_writer_that_fails_or_comes_second_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.gz"

    def interrupted() -> None:
        with new_file(target, force=False) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    def second() -> None:
        with new_file(target, force=False) as stream:
            stream.write(b"late")
            target.write_bytes(b"first")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotWritten, match="File exists"):
        second()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("out.gz", b"first")]
    with new_file(target, force=True) as stream:
        stream.write(b"whole")
        assert target.read_bytes() == b"first"
    assert gzip.decompress(target.read_bytes()) == b"whole"


def test_no_setting_of_the_client_changes_a_byte(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(evidence.db)
    make_signal(evidence.db, 9, raw_payload='{"note": "é ℵ"}')
    plain = export(evidence, "plain", "--table", "signals").read_bytes()
    monkeypatch.setenv(
        "PGOPTIONS", "-c timezone=Asia/Kathmandu -c datestyle=German -c extra_float_digits=-15"
    )
    assert export(evidence, "set", "--table", "signals").read_bytes() == plain
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert export(evidence, "latin", "--table", "signals").read_bytes() == plain
    # and packing depends on nothing but the rows
    first = export(evidence, "a.gz", "--table", "signals").read_bytes()
    assert export(evidence, "b.gz", "--table", "signals").read_bytes() == first
    assert gzip.decompress(first) == plain


def test_standard_output_has_the_rows_and_nothing_else(
    server: Server,
    db: Connection,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(db)
    dsn = server.dsn(db.info.dbname)
    capfdbinary.readouterr()
    assert main(["--dsn", dsn, "export", "--table", "signals", "-o", "-", "--json"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"".join(book_of(db, "signals").export())
    assert json.loads(err)["result"]["exports"][0]["rows"] == 3
    for data in (out, gzip.compress(out)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        assert main(["verify-export", "-", "--json"]) == 0


def test_a_reader_that_goes_away_ends_it(server: Server, db: Connection) -> None:
    """The server is in the middle of a COPY then: nothing may wait for its end."""
    db.execute(
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 's' || n, 'BTCUSD', 'BUY', 1, 1, jsonb_build_object('x', repeat(n::text, 5000))"
        " from generate_series(1, 400) as n"
    )
    command = [sys.executable, "-m", "alpha_db", "export", "--table", "signals", "-o", "-"]
    environment = client_environment(
        {"ALPHA_DB_DSN": server.dsn(db.info.dbname), "PYTHONPATH": str(ROOT / "python")}
    )
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.read(10) == b'{"format":'
        child.stdout.close()
        assert child.wait(timeout=PATIENCE) == 128 + signal.SIGPIPE
        assert child.stderr is not None
        assert child.stderr.read() == b""


def test_columns_that_were_added_later(evidence: Evidence) -> None:
    db = evidence.db
    fill(db)
    with db.transaction():
        db.execute("set local alpha.maintenance = 'test'")
        db.execute('alter table signals add column "50% more" text')
        query(db, "select chain_extend('signals')")
    make_signal(db, 30)
    rows = export(evidence, "s", "--table", "signals").read_bytes().splitlines()[1:-1]
    assert [b"50% more" in row for row in rows] == [False, False, False, True]
    verify(evidence, evidence.path("s"), "--checkpoint", evidence.run_file(), "--trust", evidence.key)


def test_who_may_export(evidence: Evidence, server: Server, login_role: LoginRole) -> None:
    fill(evidence.db)
    auditor, trader = login_role("app_auditor"), login_role("app_trading")
    dsn = server.dsn(evidence.db.info.dbname, auditor)
    assert main(["--dsn", dsn, "export", "-o", str(evidence.path("all"))]) == 0
    assert (
        main(
            ["--dsn", dsn, "export", "-o", str(evidence.path("some")), "--table", "signals", "--from-id", "2"]
        )
        == 0
    )
    dsn = server.dsn(evidence.db.info.dbname, trader)
    assert main(["--dsn", dsn, "export", "--table", "signals", "-o", str(evidence.path("x"))]) == 3
    assert not evidence.path("x").exists()


def test_an_export_reads_one_snapshot_and_writes_nothing(evidence: Evidence, db: Connection) -> None:
    fill(db)
    before = query(db, "select table_name, last_id from chain_status()")
    db.execute(f"alter database {db.info.dbname} set default_transaction_read_only = on")
    export(evidence, "book")
    assert query(db, "select table_name, last_id from chain_status()") == before


@pytest.mark.usefixtures("no_connections")
def test_verify_export_without_a_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    book = Book.of(3)
    Path("good").write_bytes(b"".join(book.export()))
    Path("begin").write_bytes(b"".join(book.export(last=1)))
    Path("end").write_bytes(b"".join(book.export(3)))
    Path("other").write_bytes(b"".join(Book([row.replace("2.50", "2.51") for row in book.rows]).export()))
    Path("cut").write_bytes(b"".join(book.export(last=2)))
    Path("middle").write_bytes(b"".join(book.export(2, 2)))
    Path("rest").write_bytes(b"".join(book.export(2)))
    Path("none").write_bytes(b"".join(book.export(last=0)))
    Path("nothing").touch()
    Path("text").write_text("hello\n", encoding="utf-8")
    Path("folder", "below").mkdir(parents=True)
    Path("folder", "2.segment").write_bytes(b"".join(book.segment(2, 3)))
    Path("short").write_bytes(b"".join(book.export())[:-9])
    Path("packed").write_bytes(gzip.compress(Path("good").read_bytes())[:-9])
    good = Path("good").read_bytes()
    Path("turned").write_bytes(bit_flips(good, [good.index(b"2.50")])[0])
    Path("debates").write_bytes(b"".join(Book.of(3, "ai_debates").export()))
    Path("note").write_text(book.note(), encoding="utf-8")
    Path("run").write_text(book.run(), encoding="utf-8")
    runs = book.runs()
    broken = runs.rows[2].replace(f'"{book.head()["root"]}"', "null")
    Path("broken").write_text(run_proof(Book([*runs.rows[:2], broken], runs.table)), encoding="utf-8")
    witness = Witness("witness.example", 4)
    Path("policy").write_text(f"witness w {witness.vkey}\nquorum w\n", encoding="utf-8")
    Path("cosigned").write_text(book.run() + witness.line(book.text()), encoding="utf-8")
    Path("forged").write_text(book.run().replace("\n3\n", "\n4\n"), encoding="utf-8")
    against = ("--checkpoint", "run", "--trust", SIGNER.vkey)
    for code, arguments, words in (
        (0, ("good",), "ok       good  signals  rows 1 to 3\n"),
        (0, ("good", *against), "Signed by desk.example/log at 2026-01-25 12:00:03.123456+00:00.\n"),
        (1, ("cut", *against), "not ok   cut  the end is missing: 3 rows were signed"),
        (0, ("begin", "rest", *against), "ok       begin  signals  rows 1 to 1, all signed, as rest continues them\n"),
        (0, ("begin", "middle", "end", *against), "rows 1 to 1, all signed, as middle continues them\n"),
        (0, ("good", "cut", *against), "rows 1 to 2, all signed, as good continues them\n"),
        (1, ("begin", "middle", *against), "not ok   signals  rows 1 to 2 in 2 files: the end is missing: 3 rows "),
        (1, ("begin", "middle", *against), "not run  begin   not compared with the checkpoint: middle continues it, "),
        (3, ("begin", "end", *against), "not run  begin  not compared with the checkpoint: no file continues it "),
        (0, ("middle", "end"), "without a gap\n         rows 1 to 1 are in none of these files\n"),
        (0, ("none", "none"), "ok       signals  no rows in 2 files, without a gap\n"),
        (3, ("nothing",), "not run  nothing  it is empty"),
        (3, ("text",), "not run  text  it is no export"),
        (5, ("folder",), "absent   signals  rows 2 to 3 in 1 file: row 1 is in no file that holds\n"),
        (5, ("folder",), "Passed over, because of their names: 1 (folder/below)\n"),
        (3, ("good", "short"), "not run  short  line 5 is cut short"),
        (1, ("short", "turned"), "not ok   turned  row "),
        (3, ("packed",), "the gzip file is cut short"),
        (5, ("absent",), "absent   absent  there is no such file"),
        (5, ("absent", "."), "absent   .       no file in this directory is a *.segment or "),
        (1, ("good", "other"), "not ok   signals  rows 1 to 3 in 2 files, 3 of them in several: there are "),
        (0, ("begin", "good", "--jobs", "2"), "1 to 3 in 2 files, 1 of them in several, without a gap"),
        (0, ("good", "good", *against, "--jobs", "2"), "rows 1 to 3, all signed\n"),
        (5, ("begin", "end"), "absent   signals  rows 1 to 3 in 2 files: row 2 is in no file that holds"),
        (3, ("note",), "not run  note  it is no export"),
        (5, ("debates", *against), "there is no checkpoint of ai_debates in run; by itself it holds"),
        (5, ("good", "--checkpoint", "note", "--trust", SIGNER.vkey), "name its run.tlog-proof; by itself it holds"),
        (3, ("good", "--checkpoint", "broken", "--trust", SIGNER.vkey), "run 3 has no root of signals, because a row "),
        (0, ("good", "--checkpoint", "cosigned", "--trust", SIGNER.vkey, "--policy", "policy"), "Signed by desk."),
        (1, ("good", *against, "--policy", "policy"), "not ok   run   it is not cosigned by the quorum w"),
        (1, ("turned", *against, "--policy", "policy"), "not ok   turned  row "),
        (2, ("good", "--checkpoint", "run", "--policy", "policy"), "--checkpoint needs --trust"),
        (5, ("good", *against, "--policy", "nowhere"), "nowhere: there is no such file"),
        (2, ("good", "--checkpoint", "run"), "--checkpoint needs --trust"),
        (2, (), "Missing argument"),
        (1, ("good", "--checkpoint", "forged", "--trust", SIGNER.vkey), "the note was changed"),
        (1, ("good", "--checkpoint", "run", "--trust", OTHER.vkey), "none of the trusted keys"),
        (3, ("good", "--checkpoint", "good", "--trust", SIGNER.vkey), "not run  good  it is not a signed note"),
        (5, ("good", "--checkpoint", "nowhere", "--trust", SIGNER.vkey), "absent   nowhere  there is no such file"),
        (1, ("turned", "--checkpoint", "nowhere", "--trust", SIGNER.vkey), "not ok   turned   row "),
        (5, ("good", "--checkpoint", "run", "--trust", "nonsense"), "nonsense"),
    ):  # fmt: skip
        assert main(["verify-export", *arguments]) == code, arguments
        out, err = capsys.readouterr()
        assert words in out + err, (arguments, out, err)
        assert "Traceback" not in err

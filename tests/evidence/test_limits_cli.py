"""What a row may hold is the database's to say: no limit of Python decides what is proved, exported or checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence import offline_check
from alpha_db.evidence.checkpoint import create
from alpha_db.evidence.cli import notes as shared
from tests.evidence.desk import Evidence, book_of
from tests.evidence.made_by_hand import SIGNER, Book
from tests.support import fill, make_signal, one, query, tamper

PAYLOADS = {
    "integers of 5,000 digits": f'{{"n": 1{"0" * 5000}, "m": -{"9" * 4999}}}',
    "nested 5,000 deep": '{"deep": ' + "[" * 5000 + "]" * 5000 + "}",
    "a string of 2 MB": '{"x": "' + "é\\\\" * 700_000 + '"}',
}


def test_rows_that_no_parser_of_python_reads(evidence: Evidence) -> None:
    for n, payload in enumerate(PAYLOADS.values(), 1):
        evidence.db.execute(  # nothing of it comes back: Python could not read it
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " values (%s, 'BTCUSD', 'BUY', 1, 1, %s)",
            [f"s{n}", payload],
        )
    run, key = evidence.run_file(), ("--trust", str(evidence.key))
    against = ("--checkpoint", str(run), *key)
    book = evidence.path("signals.jsonl")
    evidence.desk.run("export", "--table", "signals", "-o", str(book))
    evidence.desk.run("verify-export", str(book), *against)
    assert offline_check.main(["export", str(book), *against]) == 0
    for n in range(1, len(PAYLOADS) + 1):
        proof = evidence.path(f"{n}.tlog-proof")
        evidence.desk.run("prove", "signals", str(n), "--checkpoints", str(run), *key, "-o", str(proof))
        shown = evidence.desk.run("verify-proof", str(proof), *key)
        assert len(shown.out) < 20_000
        assert "--json prints all" in shown.out
        told = evidence.desk.run("verify-proof", str(proof), *key, "--json").json
        assert told["row_data"] == book_of(evidence.db, "signals").rows[n - 1]
        assert offline_check.main(["proof", str(proof), *key]) == 0


@pytest.mark.any_server
@pytest.mark.usefixtures("no_connections")
def test_a_proof_of_a_long_row_is_shown_whole_but_to_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book(['{"id":1,"x":"' + "\N{ZERO WIDTH SPACE}y" * 10_000 + '"}'])
    file = tmp_path / "p"
    file.write_text(book.proof(1), encoding="utf-8")
    arguments = ["proof", str(file), "--trust", SIGNER.vkey]
    assert offline_check.main(arguments) == 0
    assert "\\u200by" * 10_000 in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert offline_check.main(arguments) == 0
    out = capsys.readouterr().out
    assert len(out) < 20_000
    assert "… (20,015 characters; redirect the output to have all)" in out


@pytest.mark.any_server
@pytest.mark.usefixtures("no_connections")
def test_what_was_saved_otherwise_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = Book.of(3)
    proof = book.proof(2).encode()
    for data, words in (
        (proof.replace(b"\n", b"\r\n"), "CRLF line ends"),
        (b"\xef\xbb\xbf" + proof, "it begins with a byte order mark"),
        (proof.decode().encode("utf-16"), "it is UTF-16"),
        (proof.decode().encode("utf-32"), "it is UTF-32"),
        (b"", "not a proof"),
    ):
        (tmp_path / "p").write_bytes(data)
        assert main(["verify-proof", str(tmp_path / "p"), "--trust", SIGNER.vkey]) == 3
        out, err = capsys.readouterr()
        assert words in out + err
        for command in ("proof", "checkpoint"):
            assert offline_check.main([command, str(tmp_path / "p"), "--trust", SIGNER.vkey]) == 3
            assert words.removeprefix("not a proof") in capsys.readouterr().err
    export = b"".join(book.export())
    for data, words in (
        (export.replace(b"\n", b"\r\n"), "CRLF line ends"),
        (b"\xef\xbb\xbf" + export, "byte order"),
    ):
        (tmp_path / "e").write_bytes(data)
        assert main(["verify-export", str(tmp_path / "e")]) == 3
        assert words in capsys.readouterr().out


def test_the_daily_round_of_logs_with_and_without_new_rows(evidence: Evidence) -> None:
    """export --since-checkpoint OLDER, then verify-export with the newer checkpoint."""
    db = evidence.db
    fill(db, signals=3)
    older = evidence.record()
    make_signal(db, 20)
    make_signal(db, 21)
    newer = evidence.record()
    make_signal(db, 22)  # while the export is made
    key = ("--trust", str(evidence.key))
    folder = evidence.path("today")
    evidence.desk.run("export", "--since-checkpoint", str(older), *key, "-o", str(folder))
    files = sorted(map(str, folder.iterdir()))
    assert len(files) == one(db, "select count(*) from chains")
    done = evidence.desk.run("verify-export", *files, "--checkpoints", str(newer), *key)
    assert "rows 4 to 6, signed to 5, 1 came later" in done.out
    assert "votes  no rows, none was signed since row 0" in done.out.replace("  ", " ").replace(
        "votes ", "votes  "
    )
    # against the checkpoint that it begins behind: what came later is chained to what was signed
    evidence.desk.run("verify-export", *files, "--checkpoints", str(older), *key)
    # a day older than that: the rows between are in no file
    first = evidence.run_file(size=2)
    done = evidence.desk.run(
        "verify-export", str(folder / "signals.jsonl"), "--checkpoint", str(first), *key, expect=3
    )
    assert "2 rows were signed, the export begins behind them at 4" in done.out


def test_an_unreadable_run_is_named_by_every_command(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=3)
    checkpoints, key = evidence.run_of("signals", "ai_debates"), ("--trust", str(evidence.key))
    book = evidence.path("signals.jsonl")
    evidence.desk.run("export", "--table", "signals", "-o", str(book))
    later = checkpoints / "000000004"
    later.mkdir()
    (later / "run.tlog-proof").write_text("")
    where = f"{later}/run.tlog-proof"
    made = evidence.desk.run("prove", "signals", "2", "--checkpoints", str(checkpoints), *key)
    assert f"{where}: it is not a proof" in made.err
    made = evidence.desk.run(
        "export",
        "--table",
        "signals",
        "--since-checkpoint",
        str(checkpoints),
        *key,
        "-o",
        str(evidence.path("s")),
    )
    assert f"{where}: it is not a proof" in made.err
    found = evidence.desk.run("verify-export", str(book), "--checkpoints", str(checkpoints), *key, expect=3)
    assert "rows 1 to 3, all signed" in found.out
    assert f"not run  {where}" in found.out
    # another table's checkpoint is as it was
    evidence.desk.run("prove", "ai_debates", "2", "--checkpoints", str(checkpoints), *key)


def test_one_table_that_does_not_hold_keeps_no_other_from_being_exported(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=3)
    tables = [row["table_name"] for row in query(db, "select table_name from chains")]
    checkpoints = evidence.record().parent
    tamper(db, "update signals set row_hash = repeat('0', 64) where id = 2")
    folder = evidence.path("book")
    done = evidence.desk.run(
        "export",
        "--since-checkpoint",
        str(checkpoints),
        "--trust",
        str(evidence.key),
        "-o",
        str(folder),
        expect=1,
    )
    assert "rows 1 to 3 of signals are not those that desk.example/log signed" in done.out
    assert sorted(file.stem for file in folder.iterdir()) == sorted(set(tables) - {"signals"})


def test_a_table_that_is_gone_keeps_no_other_from_being_exported_and_proved(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=3)
    run, key = evidence.run_file(), ("--trust", str(evidence.key))
    gone = evidence.run_file("votes")
    db.execute("drop table votes cascade")
    folder = evidence.path("book")
    done = evidence.desk.run("export", "-o", str(folder), expect=1)
    assert "not ok  votes" in done.out
    assert "the table votes is not there" in done.out
    assert {"signals.jsonl", "order_events.jsonl"} < {file.name for file in folder.iterdir()}
    evidence.desk.run("prove", "signals", "2", "--checkpoints", str(run), *key)
    refused = evidence.desk.run("export", "--table", "votes", "-o", str(evidence.path("v")), expect=1)
    assert "[AUD-009]" in refused.err
    unknown = evidence.desk.run("prove", "votes", "1", "--checkpoints", str(gone), *key, expect=5)
    assert "row 1 of votes is not among the 0 rows" in unknown.err


def test_a_log_is_sealed_before_a_row_of_it_is_proved(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = evidence.db
    db.execute(
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 's' || n, 'BTCUSD', 'BUY', 1, 1, '{}' from generate_series(1, 600) as n"
    )
    monkeypatch.setattr(shared, "_FEW", 500)
    run, key = evidence.run_file(), ("--trust", str(evidence.key))
    prove = ("prove", "signals", "2", "--checkpoints", str(run), *key)
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    done = evidence.desk.run(*prove)
    assert "The log of signals is not sealed, so this takes long" in done.err
    assert one(db, "select count(*) from log_nodes where table_name = 'signals'") == 0
    monkeypatch.delenv("PGOPTIONS")
    monkeypatch.setattr(create, "BATCH", 256)
    done = evidence.desk.run(*prove)
    assert done.err == ""
    assert one(db, "select count(*) from log_nodes where table_name = 'signals'") == 2
    assert one(db, "select count(*) from log_nodes where table_name <> 'signals'") == 0

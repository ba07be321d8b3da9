"""alpha-db prove and verify-proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from tests.cluster import Server
from tests.evidence.desk import Evidence, book_of
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, checkpoint_text, tlog_proof
from tests.fix_database import LoginRole
from tests.support import fill, make_signal, tamper


def test_every_row_of_a_book(evidence: Evidence) -> None:
    fill(evidence.db, signals=6)
    books = [book_of(evidence.db, table) for table in ("signals", "order_events")]
    book, runs = books[0], evidence.run_of("signals", "order_events")
    log = book.runs(together=books)
    run = {"previous_hash": log.hashes[2].hex(), "row_data": log.rows[2]}
    make_signal(evidence.db, 30)
    keys = ("--trust", str(evidence.key))
    for n in range(1, 7):
        made = evidence.desk.run("prove", "signals", str(n), "--checkpoints", str(runs), *keys)
        # byte for byte what the description of the format says
        assert made.out == tlog_proof(book.extra(n) | {"run": run}, log, SIGNER.sign(checkpoint_text(log)))
    assert len(made.out) < 4096
    evidence.desk.run("prove", "order_events", "4", "--checkpoints", str(runs), *keys)
    done = evidence.desk.run("prove", "signals", "7", "--checkpoints", str(runs), *keys, expect=5)
    assert (
        "row 7 of signals is not among the 6 rows of the checkpoint. HINT: alpha-db checkpoint create"
        in done.err
    )
    # of a run's proof as well, into a file, which is not overwritten; a run of the directory is as good
    file = evidence.path("signals-7.tlog-proof")
    arguments = ("prove", "signals", "7", "--checkpoints", str(evidence.run_file()), *keys, "-o", str(file))
    evidence.desk.run("prove", "signals", "6", "--checkpoints", str(next(runs.iterdir())), *keys)
    assert evidence.desk.run(*arguments, "--json").json["size"] == 7
    assert "is there already" in evidence.desk.run(*arguments, expect=2).err
    evidence.desk.run(*arguments, "--force")
    found = evidence.desk.run("verify-proof", str(file), *keys, "--json").json
    assert (found["verdict"], found["id"], found["size"], found["run"]["id"]) == ("holds", 7, 7, 3)
    assert (found["checkpoint"]["size"], found["checkpoint"]["signer"]) == (3, SIGNER.name)
    assert found["row_data"] == book_of(evidence.db, "signals").rows[6]


def test_nothing_is_proved_that_is_not_so(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=5)
    book, run = book_of(db, "signals"), evidence.run_file()
    prove = ("prove", "signals", "3", "--checkpoints", str(run), "-o", str(evidence.path("p")))
    key = ("--trust", str(evidence.key))
    assert "Missing option '--trust'" in evidence.desk.run(*prove, expect=2).err
    assert "none of the trusted keys" in evidence.desk.run(*prove, "--trust", OTHER.vkey, expect=1).err
    unknown = evidence.desk.run("prove", "ai_debates", "1", "--checkpoints", str(run), *key, expect=5)
    assert "no checkpoint of ai_debates" in unknown.err
    alone = evidence.path("checkpoint.note")
    alone.write_text(book.note(), encoding="utf-8")
    unknown = evidence.desk.run("prove", "signals", "3", "--checkpoints", str(alone), *key, expect=5)
    assert "a note alone covers no other log: name its run.tlog-proof" in unknown.err
    book.installation = "00000000" + book.installation[8:]
    run.write_text(book.run(), encoding="utf-8")
    assert "the checkpoint is of alpha-db/00000000" in evidence.desk.run(*prove, *key, expect=1).err
    evidence.run_file()
    # one row changed, with its hash: the row does not give the root that was signed
    tamper(db, "update signals set quantity = 0.26 where id = 3")
    assert "is not the row 3 of the log" in evidence.desk.run(*prove, *key, expect=1).err
    tamper(
        db,
        "update signals set row_hash = encode(sha256("
        "  decode((select row_hash from signals where id = 2), 'hex')"
        "  || convert_to((select row_data from chain_rows('signals', 3, 3)), 'UTF8')), 'hex') where id = 3",
    )
    assert "is not the row 3 of the log" in evidence.desk.run(*prove, *key, expect=1).err
    tamper(db, "delete from signals where id = 2")
    assert "AUD-009" in evidence.desk.run(*prove, *key, expect=1).err
    tamper(db, "delete from signals where id > 3")
    assert "signals has 3 rows, and had 5" in evidence.desk.run(*prove, *key, expect=1).err
    assert not evidence.path("p").exists()


def test_who_may_prove(evidence: Evidence, server: Server, login_role: LoginRole) -> None:
    fill(evidence.db)
    run = str(evidence.run_file())
    for role, code in (("app_auditor", 0), ("app_trading", 3)):
        dsn = server.dsn(evidence.db.info.dbname, login_role(role))
        assert (
            main(["--dsn", dsn, "prove", "signals", "2", "--checkpoints", run, "--trust", SIGNER.vkey])
            == code
        )


@pytest.mark.usefixtures("no_connections")
def test_verify_proof_without_a_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    book = Book.of(5)
    Path("good").write_text(book.proof(2), encoding="utf-8")
    forged = {**book.extra(2), "row_data": book.rows[1].replace("2.50", "2.51")}
    Path("bad").write_text(tlog_proof(forged, book.runs(), book.note()), encoding="utf-8")
    Path("note").write_text(book.note(), encoding="utf-8")
    Path("run").write_text(book.run(), encoding="utf-8")
    Path("none").write_bytes(b"\xff" * 10)
    Path("keys").write_text(f"{OTHER.vkey}\n{SIGNER.vkey}\n", encoding="utf-8")
    for code, arguments, words in (
        (0, ("good", "--trust", "keys"), "ok  row 2 was among the 5 rows that desk.example/log signed\n"),
        (0, ("run", "--trust", "keys"), "ok  row 3 was among the 3 rows that desk.example/log signed\n"),
        (1, ("bad", "--trust", "keys"), "row 2 is not the row 2 of the log that desk.example/log signed"),
        (3, ("note", "--trust", "keys"), "note: it is not a proof"),
        (1, ("good", "--trust", OTHER.vkey), "none of the trusted keys"),
        (3, ("none", "--trust", "keys"), "none: it is not UTF-8"),
        (3, ("keys", "--trust", "keys"), "keys: it is not a proof (c2sp.org/tlog-proof@v1)"),
        (5, ("absent", "--trust", "keys"), "absent: there is no such file"),
        (2, ("good",), "Missing option '--trust'"),
    ):
        assert main(["verify-proof", *arguments]) == code
        out, err = capsys.readouterr()
        assert words in out + err, (arguments, out, err)
        assert "Traceback" not in err
        assert err.count("\n") == (0 if code == 0 else 1)
    monkeypatch.setenv("ALPHA_DB_TRUST", SIGNER.vkey)
    assert main(["verify-proof", "good", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["row_data"] == book.rows[1]
    assert main(["verify-proof", "bad", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["result"]["verdict"] == "refused"

"""alpha-db prove and verify-proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from tests.cluster import Server
from tests.evidence.desk import Evidence, book_of
from tests.evidence.made_by_hand import OTHER, SIGNER, Book
from tests.fix_database import LoginRole
from tests.support import fill, make_signal, tamper


def test_every_row_of_a_book(evidence: Evidence) -> None:
    fill(evidence.db, signals=6)
    book, runs = book_of(evidence.db, "signals"), evidence.run_of("signals", "order_events")
    make_signal(evidence.db, 30)
    keys = ("--trust", str(evidence.key))
    for n in range(1, 7):
        made = evidence.desk.run("prove", "signals", str(n), "--checkpoints", str(runs), *keys)
        proof = json.loads(made.out)
        note = (next(runs.iterdir()) / "signals.note").read_text(encoding="utf-8")
        # what the description of the format says
        assert proof == {**book.proof(n), "checkpoint": note}
    assert len(made.out) < 4096
    evidence.desk.run("prove", "order_events", "4", "--checkpoints", str(runs), *keys)
    done = evidence.desk.run("prove", "signals", "7", "--checkpoints", str(runs), *keys, expect=5)
    assert (
        "row 7 of signals is not among the 6 rows of the checkpoint. HINT: alpha-db checkpoint create"
        in done.err
    )
    # of a single note as well, into a file, which is not overwritten
    note_file, file = evidence.note(), evidence.path("proof.json")
    arguments = ("prove", "signals", "7", "--checkpoints", str(note_file), *keys, "-o", str(file))
    assert evidence.desk.run(*arguments, "--json").json["size"] == 7
    assert "is there already" in evidence.desk.run(*arguments, expect=2).err
    evidence.desk.run(*arguments, "--force")
    found = evidence.desk.run("verify-proof", str(file), *keys, "--json").json
    assert (found["verdict"], found["id"], found["checkpoint"]["size"]) == ("holds", 7, 7)
    assert found["row_data"] == book_of(evidence.db, "signals").rows[6]


def test_nothing_is_proved_that_is_not_so(evidence: Evidence) -> None:
    db = evidence.db
    fill(db, signals=5)
    book, note = book_of(db, "signals"), evidence.note()
    prove = ("prove", "signals", "3", "--checkpoints", str(note), "-o", str(evidence.path("p")))
    key = ("--trust", str(evidence.key))
    assert "Missing option '--trust'" in evidence.desk.run(*prove, expect=2).err
    assert "none of the trusted keys" in evidence.desk.run(*prove, "--trust", OTHER.vkey, expect=1).err
    unknown = evidence.desk.run("prove", "ai_debates", "1", "--checkpoints", str(note), *key, expect=5)
    assert "no checkpoint of ai_debates" in unknown.err
    book.installation = "00000000" + book.installation[8:]
    note.write_text(book.note(), encoding="utf-8")
    assert "the checkpoint is of alpha-db/00000000" in evidence.desk.run(*prove, *key, expect=1).err
    evidence.note()
    # one row changed, with its hash: the row does not give the root that was signed
    tamper(db, "update signals set quantity = 0.26 where id = 3")
    assert "row 3 does not give its hash" in evidence.desk.run(*prove, *key, expect=1).err
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
    note = str(evidence.note())
    for role, code in (("app_auditor", 0), ("app_trading", 3)):
        dsn = server.dsn(evidence.db.info.dbname, login_role(role))
        assert (
            main(["--dsn", dsn, "prove", "signals", "2", "--checkpoints", note, "--trust", SIGNER.vkey])
            == code
        )


@pytest.mark.usefixtures("no_connections")
def test_verify_proof_without_a_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    book = Book.of(5)
    Path("good").write_text(json.dumps(book.proof(2)), encoding="utf-8")
    Path("bad").write_text(json.dumps({**book.proof(2), "row_data": "{}"}), encoding="utf-8")
    Path("none").write_bytes(b"\xff" * 10)
    Path("keys").write_text(f"{OTHER.vkey}\n{SIGNER.vkey}\n", encoding="utf-8")
    for code, arguments, words in (
        (0, ("good", "--trust", "keys"), "ok  row 2 was among the 5 rows that desk.example/log signed\n"),
        (1, ("bad", "--trust", "keys"), "row 2 does not give its hash"),
        (1, ("good", "--trust", OTHER.vkey), "none of the trusted keys"),
        (3, ("none", "--trust", "keys"), "none: it is not UTF-8"),
        (3, ("keys", "--trust", "keys"), "alpha-db/proof/v1"),
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

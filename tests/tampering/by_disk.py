"""What someone tries who has the server's disk, or the disk that the checkpoints are on."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from pathlib import Path

from alpha_db.evidence.checkpoint.note import NOTE, PROOF
from tests.checkpoint.book import make_key, run
from tests.support import one, verdicts
from tests.tampering.by_owner import force
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import chain, checkpoint, not_found, shown
from tests.tampering.stage import Stage
from tests.witness.by_hand import WITNESS
from tests.witness.running import in_process

disk = Section(
    "disk",
    "Someone with the disk",
    "Anyone who can write the server's data files, put back a backup, or write where the checkpoints are kept.",
    "superuser",
)
does = disk.does


def _edit_file(stage: Stage) -> None:
    """Change a byte of a row in the data file, which no process has read yet."""
    path = stage.server.data / one(stage.db, "select pg_relation_filepath('signals')")
    page = path.read_bytes()
    assert b"BTCUSD" in page
    path.write_bytes(page.replace(b"BTCUSD", b"XTCUSD", 1))


@does("Changes a row in the data file, and the page's checksum with it", chain("signals", "content_mismatch"))
def edits_a_file(stage: Stage) -> None:
    _edit_file(stage)
    stage.db.execute("set ignore_checksum_failure = on")  # stands for the checksum that the attacker computes


def _cannot_be_read(stage: Stage) -> None:
    said = verdicts(stage.db)
    assert (said["signals"].verdict, said["signals"].is_valid) == ("not_run", None)
    assert "XX001" in said["signals"].detail
    assert said["ai_debates"].verdict == "intact"
    run("--dsn", stage.server.dsn(stage.dbname), "verify-chain", expect=3)


@does(
    "Changes a row in the data file, where pages have checksums (the default from 18 on)",
    shown("`alpha-db verify-chain`", "the page cannot be read: `not_run`, exit 3", _cannot_be_read),
    only=(18, 99),
)
def edits_a_file_without_its_checksum(stage: Stage) -> None:
    _edit_file(stage)


@does("Puts back an older copy of the database", checkpoint("signals", "tail_missing"), begins="signed")
def puts_an_older_copy_back(stage: Stage) -> None:
    stage.put_back("book")


def _remembers(stage: Stage) -> None:
    state = stage.guardrail(high_water=stage.folder / "mark").state
    assert not state.is_normal
    assert "was seen before" in state.reason


@does(
    "Puts back an older copy, to have the limits of then again",
    shown("the guardrail", "Safe Mode, because it has seen a later version", _remembers),
    begins="signed",
)
def puts_older_limits_back(stage: Stage) -> None:
    assert stage.guardrail(high_water=stage.folder / "mark").state.is_normal
    stage.put_back("book")


# ----------------------------------------------------------------------------------------------------
# Checkpoints


def _refuses(stage: Stage, words: str) -> None:
    found = stage.book.findings()
    refusals = [row["detail"] for row in found.values() if row["verdict"] == "checkpoint_refused"]
    assert refusals, found
    assert any(words in detail for detail in refusals), refusals
    run("checkpoint", "verify", stage.book.checkpoints, "--trust", stage.book.vkey, expect=1)


def refuses(words: str) -> object:
    return shown(
        "`alpha-db checkpoint verify` and `verify-chain --checkpoints`",
        f"“{words}”, exit 1",
        lambda stage: _refuses(stage, words),
    )


def _on_notes(name: str, what: str, words: str, attack: object) -> None:
    def run_it(stage: Stage) -> None:
        attack(stage)  # type: ignore[operator]

    run_it.__name__ = name
    does(what, refuses(words), begins="signed")(run_it)  # type: ignore[arg-type]


def _edit_note(stage: Stage) -> None:
    note = stage.book.runs[-1] / NOTE
    note.write_text(note.read_text().replace("\n2\n", "\n3\n", 1))


def _exchange_notes(stage: Stage) -> None:
    first, second = stage.book.runs
    shutil.copy(first / PROOF, second / PROOF)


def _change_a_head(stage: Stage) -> None:
    proof = stage.book.runs[-1] / PROOF
    first, extra, *rest = proof.read_text().split("\n")
    row = base64.b64decode(extra.removeprefix("extra ")).replace(b'"size\\": 7', b'"size\\": 6', 1)
    proof.write_text("\n".join([first, f"extra {base64.b64encode(row).decode()}", *rest]))


def _rename_run(stage: Stage) -> None:
    first, second = stage.book.runs
    shutil.rmtree(second)
    first.rename(stage.book.checkpoints / "000000009")


def _sign_with_another_key(stage: Stage) -> None:
    folder = stage.folder / "mallory"
    folder.mkdir()
    mallory = replace(stage.book, key=make_key(folder, "mallory.example"))
    trusted = stage.base.key.with_name(f"{stage.base.key.name}.vkey")
    mallory.create(stage.book.checkpoints, "--trust", trusted)


def _sign_a_shorter_log(stage: Stage) -> None:
    fork = replace(stage.book, checkpoints=stage.folder / "fork")
    fork.checkpoints.mkdir()
    force(stage.db, "order_events", "delete from order_events where id > 6")
    later = fork.sign()
    shutil.copytree(fork.checkpoints / later, stage.book.checkpoints / later)


_on_notes("edits_a_checkpoint", "Changes a signed checkpoint", "does not have the signature", _edit_note)
_on_notes(
    "exchanges_checkpoints",
    "Puts what an earlier run names into a later one",
    "not of one checkpoint",
    _exchange_notes,
)
_on_notes(
    "changes_a_run",
    "Changes how many rows of a table a run names",
    "is not the run",
    _change_a_head,
)
_on_notes(
    "renames_a_run",
    "Gives an older run out as the latest, to hide a cut tail",
    "stands under another name",
    _rename_run,
)
_on_notes(
    "signs_with_another_key",
    "Signs a checkpoint with a key of its own",
    "mallory.example",
    _sign_with_another_key,
)
_on_notes(
    "signs_a_shorter_log",
    "Signs a shorter log with the stolen key",
    "rows in it, and had",
    _sign_a_shorter_log,
)


def _gone(path: Path) -> None:
    shutil.rmtree(path)


@does(
    "Removes the latest checkpoints and cuts off the rows that only they cover",
    not_found(
        "keep checkpoints where they cannot be removed (an object lock, another machine)",
        lambda stage: _verifies_calmly(stage),
    ),
    begins="signed",
)
def removes_checkpoints(stage: Stage) -> None:
    _gone(stage.book.runs[-1])
    force(stage.db, "order_events", "delete from order_events where id > 4")


def _verifies_calmly(stage: Stage) -> None:
    assert stage.book.findings(expect=0) == {}
    assert one(stage.db, "select count(*) from order_events") == 4


def _contradicts(stage: Stage) -> None:
    found = stage.book.findings()
    assert found["order_events"]["verdict"] == "checkpoint_mismatch"
    assert "they contradict each other" in found["order_events"]["detail"]


@does(
    "Has the signing key, cuts a tail off, and signs every checkpoint again",
    shown(
        "`verify-chain --checkpoints`",
        "a run that the database recorded contradicts it, exit 1",
        _contradicts,
    ),
    begins="signed",
)
def signs_again(stage: Stage) -> None:
    for path in stage.book.runs:
        _gone(path)
    force(stage.db, "order_events", "delete from order_events where id > 4")
    stage.book.sign()


@does(
    "Has the signing key, cuts a tail and the recorded runs off, and signs every checkpoint again",
    not_found(
        "a key that an attacker has proves nothing; keep it on another machine than the database",
        lambda stage: _new_notes_verify(stage),
    ),
    begins="signed",
)
def signs_everything_anew(stage: Stage) -> None:
    for path in stage.book.runs:
        _gone(path)
    force(stage.db, "order_events", "delete from order_events where id > 4")
    force(stage.db, "checkpoint_runs", "delete from checkpoint_runs")
    stage.book.sign()


def _new_notes_verify(stage: Stage) -> None:
    assert stage.book.findings(expect=0) == {}


def _ask_the_witness(stage: Stage, expect: int) -> str:
    """The witness, which remembers from one call to the next, is asked to cosign the latest run."""
    with in_process(stage.folder, (), vkeys=[stage.book.vkey]) as witness:
        policy = stage.folder / "policy"
        policy.write_text(
            f"log {stage.book.vkey}\nwitness outside {WITNESS.vkey} {witness.url}\nquorum outside\n"
        )
        command = ["checkpoint", "witness", "--policy", policy, stage.book.checkpoints]
        return run("--dsn", stage.book.dsn, *command, expect=expect).out


def _the_witness_refuses(stage: Stage) -> None:
    assert "it cosigned another root of size 2" in _ask_the_witness(stage, expect=1)


@does(
    "The same, with the runs that cover the tail, after a witness has cosigned the latest run",
    shown("`alpha-db checkpoint witness`", "the witness cosigned another log, exit 1", _the_witness_refuses),
    begins="signed",
)
def signs_a_fork_that_a_witness_sees(stage: Stage) -> None:
    _ask_the_witness(stage, expect=0)
    for path in stage.book.runs:
        _gone(path)
    force(stage.db, "order_events", "delete from order_events where id > 4")
    force(stage.db, "checkpoint_runs", "delete from checkpoint_runs where id > 1")
    stage.book.sign()

"""What no chain finds by itself and a checkpoint does (docs/checkpoints.md), each with its verdict and exit code."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.note import NOTE, PROOF, compose_note
from tests.chain.by_force import rehash
from tests.checkpoint.book import NAME, Book, Result, make_key, public, run
from tests.risk.council import Council
from tests.support import Connection, make_signal, one, query, tamper, verdicts

# The command line and the files; the SQL behind them is tested on every server elsewhere.
pytestmark = pytest.mark.any_server

Attack = Callable[[Connection], None]

MISMATCH = {"verdict": "checkpoint_mismatch", "missing_rows": None, "cause": None, "size": 12}


def cut_tail(conn: Connection) -> None:
    tamper(conn, "delete from only order_events where id > 10")


def rewrite(conn: Connection, first: int = 5) -> None:
    """Change a row and compute every hash from it on anew, as whoever owns the server can."""
    query(conn, "set session_replication_role = replica")
    for table in ("ai_debates",):
        query(conn, f"alter table {table} disable trigger all")
        query(conn, f"update {table} set elapsed_ms = elapsed_ms + 1 where id = %s", [first])
        rehash(conn, table, first)
        query(conn, f"alter table {table} enable trigger all")
        query(conn, f"alter table {table} enable always trigger _100_reject_change")
        query(conn, f"alter table {table} enable always trigger _200_reject_truncate")
    query(conn, "reset session_replication_role")


def rewrite_from_the_first(conn: Connection) -> None:
    rewrite(conn, 1)


def rewrite_the_last(conn: Connection) -> None:
    rewrite(conn, 9)


def empty(conn: Connection) -> None:
    tamper(conn, "delete from only order_events")


def empty_and_fill(conn: Connection) -> None:
    """As many rows as before, and others."""
    orders = query(conn, "select order_execution_id as id from order_events order by id")
    empty(conn)
    for order in orders:
        query(conn, "select record_order_event(%s, 'CANCELLED')", [order["id"]])


def launder(conn: Connection) -> None:
    """What a data-only restore does where the triggers are on: every row is hashed anew."""
    query(conn, "create temp table saved as select * from order_events")
    empty(conn)
    query(conn, "insert into order_events select * from saved order by id")


#: Each attack, the table, what is found there, and words of the detail.
CUT = (
    cut_tail,
    "order_events",
    {"verdict": "tail_missing", "broken_id": 11, "missing_rows": 2, "cause": "unknown", "size": 12},
    [
        "the rows were deleted, an older dump was loaded, or an older copy",
        "rows 1 to 8 agree with",
        "rows 9 to 10 may be others than those that were signed",
        "up to 4 rows are lost",
    ],
)
EMPTIED = (
    empty,
    "order_events",
    {"verdict": "tail_missing", "broken_id": 1, "missing_rows": 12, "cause": "unknown"},
    ["12 rows are missing"],
)
REPLACED = (empty_and_fill, "order_events", MISMATCH, ["the first changed row is one of 1 to 4"])
LAUNDERED = (launder, "order_events", MISMATCH, ["the first changed row is one of 1 to 4"])
REWRITTEN = (rewrite, "ai_debates", MISMATCH | {"size": 9}, ["rows 1 to 3 agree", "one of 4 to 6"])
FROM_THE_FIRST = (rewrite_from_the_first, "ai_debates", MISMATCH | {"size": 9}, ["one of 1 to 3"])
AT_THE_END = (rewrite_the_last, "ai_debates", MISMATCH | {"size": 9}, ["rows 1 to 6 agree", "7 to 9"])


@pytest.mark.parametrize(
    "attacks",
    [
        [CUT, REWRITTEN],
        pytest.param([EMPTIED, FROM_THE_FIRST], marks=pytest.mark.long),
        [LAUNDERED, AT_THE_END],
        pytest.param([REPLACED], marks=pytest.mark.long),
    ],
    ids=lambda attacks: " ".join(attack.__name__ for attack, *_ in attacks),
)
def test_what_no_chain_finds(
    book: Book, attacks: list[tuple[Attack, str, dict[str, Any], list[str]]]
) -> None:
    with book.connect() as conn:
        for attack, *_ in attacks:
            attack(conn)
        assert {verdict.verdict for verdict in verdicts(conn).values()} == {"intact"}, "by itself it holds"
        found = book.findings()
        assert set(found) == {table for _, table, *_ in attacks}
        for _, table, expected, told in attacks:
            row = found[table]
            assert {name: row[name] for name in expected} == expected
            assert (row["is_valid"], row["error_code"]) == (False, "AUD-009")
            for words in told:
                assert words in row["detail"]
        assert one(conn, "select is_locked from lockdown_status()") is True
    refused = book.create(book.checkpoints, expect=1)
    named = {attack[2]["verdict"] for attack in attacks}
    assert any(refused.err.startswith(f"alpha-db: error [AUD-009]: {verdict}: ") for verdict in named)
    assert len(book.runs) == 3, "nothing was written"


def test_rows_missing_on_the_same_timeline_accuse_nobody(book: Book) -> None:
    """A copy of the server's files that was put back keeps its timeline, so deleted rows look like that."""
    with book.connect() as conn:
        tamper(conn, "delete from only order_events where id > 4")
        tamper(conn, "delete from only ai_debates where id > 3")
    found = book.findings()
    assert {row["cause"] for row in found.values()} == {"unknown"}
    assert all("Which, the write-ahead log does not tell" in row["detail"] for row in found.values())
    assert [row["missing_rows"] for row in found.values()] == [6, 8]


def test_more_rows_are_no_damage(book: Book, make_database: Callable[..., str]) -> None:
    book.write(10)
    document = book.verify()
    assert {row["verdict"] for row in document["checkpoints"]["results"]} == {"intact"}
    assert document["checkpoints"]["latest"] == book.runs[-1].name
    assert document["checkpoints"]["runs"] == 3
    signals = next(row for row in document["checkpoints"]["results"] if row["subject"] == "signals")
    assert "9 rows, as the checkpoint says, and 2 older checkpoints" in signals["detail"]
    # One that somebody signed over other rows, though the later ones are of the right ones.
    fork = replace(book, dbname=make_database(book.dbname), checkpoints=book.checkpoints.parent / "fork")
    fork.checkpoints.mkdir()
    with fork.connect() as conn:
        make_signal(conn, 100)
    forged = fork.sign()
    book.write(13)
    assert book.sign() == forged
    book.sign()
    book.verify()
    shutil.rmtree(book.checkpoints / forged)
    shutil.copytree(fork.checkpoints / forged, book.checkpoints / forged)
    found = book.findings("--no-lockdown")
    assert {row["run"] for row in found.values()} == {forged}
    assert set(found) == {"signals", "checkpoint_runs"}
    assert found["signals"]["verdict"] == "checkpoint_mismatch"
    assert found["signals"]["size"] == 13
    assert "they contradict each other" in found["signals"]["detail"]


def test_no_lockdown_is_engaged_where_none_is_wanted(book: Book) -> None:
    with book.connect() as conn:
        cut_tail(conn)
        assert "lockdown not asked for" in book.findings("--no-lockdown")["order_events"]["detail"]
        assert one(conn, "select is_locked from lockdown_status()") is False


def test_acknowledged_damage_is_exit_0_and_shown(book: Book) -> None:
    with book.connect() as conn:
        council = Council(conn).bootstrap("ada", "ben", "cyd")
        cut_tail(conn)
        book.findings()
        council.release()
        found = book.findings(expect=0)
        assert {name: row["verdict"] for name, row in found.items()} == {"order_events": "acknowledged"}


def test_a_new_directory_begins_after_an_acknowledged_loss(book: Book) -> None:
    """The runs that the database recorded before name rows that are gone for good."""
    after = replace(book, checkpoints=book.checkpoints.parent / "after")
    after.checkpoints.mkdir()
    with book.connect() as conn:
        council = Council(conn).bootstrap("ada", "ben", "cyd")
        cut_tail(conn)
        book.findings()
        assert list(after.findings(expect=5))
        council.release()
        after.sign()
        assert after.findings(expect=0) == {}
        # what is recorded from then on counts
        tamper(conn, "delete from only order_events where id > 8")
        assert list(after.findings()) == ["order_events"]


def test_what_stands_behind_an_acknowledged_gap_is_not_called_signed(book: Book) -> None:
    with book.connect() as conn:
        council = Council(conn).bootstrap("ada", "ben", "cyd")
        tamper(conn, "delete from only order_events where id = 5")
        verdicts(conn)
        council.release()
    vkey = public(book.key)
    said = run("--dsn", book.dsn, "verify-chain", "--checkpoints", book.checkpoints, "--trust", vkey).out
    assert f"As signed in {book.runs[-1].name}, but for order_events: " in said
    assert "compared with nothing" in said
    refused = book.create(book.checkpoints, expect=1)
    assert "missing_rows" in refused.err


def test_one_table_alone(book: Book) -> None:
    with book.connect() as conn:
        cut_tail(conn)
    assert book.findings("--table", "signals", expect=0) == {}
    assert list(book.findings("--table", "order_events")) == ["order_events"]


# ----------------------------------------------------------------------------------------------------
# Guards


def test_a_guard_changed_and_accepted_is_named(book: Book) -> None:
    with book.connect() as conn:
        query(conn, "alter table signals set (fillfactor = 90)")
        found = book.findings()["guards"]
        assert (found["verdict"], found["error_code"]) == ("guard_changed", "AUD-011")
        assert "no new state was recorded since" in found["detail"]
        query(conn, "select record_guards('ticket 42')")
        run("--dsn", book.dsn, "guards")  # accepted, so nothing is to be seen without the checkpoint
        found = book.findings()["guards"]
        assert "ticket 42 (guard_states " in found["detail"]
        assert "a new checkpoint accepts it" in found["detail"]
        assert one(conn, "select is_locked from lockdown_status()") is False
    signed = book.create(book.checkpoints)
    assert "The guards are not those of the last checkpoint" in signed.err
    assert book.findings(expect=0) == {}


def test_a_table_that_is_gone_and_one_that_is_new(book: Book) -> None:
    with book.connect() as conn:
        query(
            conn,
            "set role alpha_owner; create table later (id bigserial primary key, row_hash char(64) not null,"
            " created_at timestamptz not null); select _chain_attach('later'); reset role",
        )
        found = book.findings()
        assert (found["later"]["verdict"], found["later"]["is_valid"]) == ("not_run", None)
        tamper(
            conn,
            "set local alpha.maintenance = 'x'; delete from only chains where table_name = 'votes'",
        )
        book.checkpoints.joinpath("unrelated").mkdir()
        row = book.findings(expect=4)["votes"]
        assert (row["verdict"], row["missing_rows"], row["error_code"]) == ("tail_missing", 0, "AUD-009")
        assert "votes is no chain any more" in book.create(book.checkpoints, expect=1).err


# ----------------------------------------------------------------------------------------------------
# Checkpoints that must not be relied on


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def refused(book: Book) -> dict[str, str]:
    """The runs that verify-chain and checkpoint verify refuse, alike, with their reasons."""
    found = {
        name: row["detail"] for name, row in book.findings().items() if row["verdict"] == "checkpoint_refused"
    }
    offline = run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey, "--json", expect=1).json
    assert {one["what"]: one["reason"] for one in offline["checked"] if not one["ok"]} == found
    return found


def test_an_edited_checkpoint(book: Book) -> None:
    first, second, third = book.runs
    edit(third / NOTE, "\n3\n", "\n4\n")
    edit(second / PROOF, "\n2\n", "\n3\n")
    changed = "the note was changed: it does not have the signature of audit.example.org/trading"
    assert refused(book) == {third.name: f"{NOTE}: {changed}", second.name: f"{PROOF}: {changed}"}
    assert book.verify(expect=1)["checkpoints"]["latest"] == first.name, "what holds is compared all the same"


def test_a_run_that_says_something_else_than_was_signed(book: Book) -> None:
    """The heads are not part of the note: their row's hash is in the root that it signs."""
    proof = book.runs[-1] / PROOF
    first, extra, *rest = proof.read_text(encoding="utf-8").split("\n")
    said = json.loads(base64.b64decode(extra.removeprefix("extra ")))
    said["row_data"] = said["row_data"].replace('"size": 9', '"size": 8', 1)
    forged = base64.b64encode(json.dumps(said, separators=(",", ":")).encode()).decode()
    proof.write_text("\n".join([first, f"extra {forged}", *rest]))
    assert "run 3 is not the run 3 of the log" in refused(book)[book.runs[-1].name]


def test_files_exchanged_between_runs(book: Book) -> None:
    first, second, third = book.runs
    shutil.copy(first / PROOF, second / PROOF)
    shutil.copy(second / NOTE, third / NOTE)
    said = refused(book)
    assert said == {
        second.name: "its files are not of one checkpoint",
        third.name: "its files are not of one checkpoint",
    }


def test_two_notes_of_the_same_number_are_a_fork(book: Book) -> None:
    latest = book.runs[-1]
    forged = compose_note(3, bytes(32), SigningKey.load(book.key))
    (latest / "cosigned-1.note").write_text(forged)
    assert refused(book) == {latest.name: "its files are not of one checkpoint"}


def test_a_note_of_another_run_is_passed_over(book: Book) -> None:
    shutil.copy(book.runs[0] / NOTE, book.runs[-1] / "cosigned-1.note")
    assert book.findings(expect=3)[f"{book.runs[-1].name}/cosigned-1.note"]["detail"].endswith(
        "it is of run 1"
    )
    book.create(book.checkpoints)


def test_what_lies_beside_the_runs_blocks_no_new_one(book: Book) -> None:
    (book.checkpoints / ".new-x").write_text("nothing")
    (book.checkpoints / ".new-y").symlink_to("nowhere")
    (book.checkpoints / NOTE).write_text("hello\n")
    book.create(book.checkpoints)
    run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey)


def forge_run(conn: Connection, table: str, head: str) -> None:
    """Write a run past the trigger, with another head of a table, chained as it should be."""
    query(conn, "alter table checkpoint_runs disable trigger all")
    query(
        conn,
        "insert into checkpoint_runs select (r).* from (select jsonb_populate_record(c, jsonb_build_object("
        " 'id', c.id + 1, 'heads', jsonb_set(c.heads, array[%s], %s::jsonb))) as r"
        " from checkpoint_runs as c order by c.id desc limit 1) as made",
        [table, head],
    )
    rehash(conn, "checkpoint_runs", one(conn, "select max(id) from checkpoint_runs"))
    query(conn, "alter table checkpoint_runs enable trigger all")
    query(conn, "alter table checkpoint_runs enable always trigger _100_reject_change")
    query(conn, "alter table checkpoint_runs enable always trigger _200_reject_truncate")


def test_a_run_that_somebody_wrote_past_the_trigger_is_found_and_counts_for_nothing(
    book: Book, tmp_path: Path
) -> None:
    """The next true checkpoint covers it; but nobody compared it with the logs when that was signed."""
    with book.connect() as conn:
        forge_run(conn, "signals", '{"size": 7, "root": "' + "ab" * 32 + '", "row_hash": null}')
    signed = book.sign()
    assert signed == "000000005"
    found = book.findings()
    assert set(found) == {"signals"}
    assert (found["signals"]["run"], found["signals"]["verdict"]) == ("000000004", "checkpoint_mismatch")
    # and a proof that the forged run stands in the signed log proves nothing of the tables
    proof = tmp_path / "p"
    command = ("--dsn", book.dsn, "prove", "checkpoint_runs", 4, "--checkpoints", book.checkpoints)
    run(*command, "--trust", book.vkey, "-o", proof)
    run("verify-proof", proof, "--trust", book.vkey)
    run("checkpoint", "verify", proof, "--trust", book.vkey)
    shutil.copy(proof, book.runs[-1] / PROOF)
    assert "another row" in refused(book)[signed]


def test_two_versions_under_one_key_contradict_each_other(book: Book) -> None:
    """A run that was signed and left out of the directory stands in the log of runs for ever."""
    with book.connect() as conn:
        rewrite(conn)
        hidden = replace(book, checkpoints=book.checkpoints.parent / "hidden")
        hidden.checkpoints.mkdir()
        hidden.sign()
        rewrite(conn)
    other = replace(book, checkpoints=book.checkpoints.parent / "shown")
    other.checkpoints.mkdir()
    other.sign()
    found = other.findings("--no-lockdown")
    assert found["ai_debates"]["verdict"] == "checkpoint_mismatch"
    assert "they contradict each other" in found["ai_debates"]["detail"]


def test_a_file_that_anybody_may_have_added_does_not_hide_the_run(book: Book, tmp_path: Path) -> None:
    latest = book.runs[-1]
    mallory = SigningKey.load(make_key(tmp_path, NAME, "other.key"))
    (latest / "cosigned-1.note").write_text(compose_note(3, bytes(32), mallory))
    (latest / "cosigned-2.note").write_text("hello\n")
    found = book.findings("--no-lockdown", expect=3)
    assert {name: row["verdict"] for name, row in found.items()} == {
        f"{latest.name}/cosigned-1.note": "not_run",
        f"{latest.name}/cosigned-2.note": "not_run",
    }


def test_the_proof_of_another_run(book: Book) -> None:
    """An older run's row must not pass as the latest run's, though it stands in the same log."""
    book.create(book.checkpoints)
    latest = book.runs[-1]
    run(
        "--dsn", book.dsn, "prove", "checkpoint_runs", 2, "--checkpoints", latest, "--trust", book.vkey,
        "-o", latest / PROOF, "--force",
    )  # fmt: skip
    assert refused(book) == {latest.name: f"{PROOF} is the proof of another row than this run's"}


def test_a_run_under_another_name(book: Book) -> None:
    """An older run must not pass as the latest: it would hide a cut tail."""
    with book.connect() as conn:
        tamper(conn, "delete from only order_events where id > 4")
    old = book.runs[0].rename(book.checkpoints / "000000009")
    for other in book.runs[:-1]:
        shutil.rmtree(other)
    assert "stands under another name" in refused(book)[old.name]


def test_an_unknown_key(book: Book, tmp_path: Path) -> None:
    other = make_key(tmp_path, "mallory.example", "other.key")
    mallory = replace(book, key=other)
    refusal = mallory.create(book.checkpoints, expect=1)
    assert "checkpoint_refused" in refusal.err
    assert "--trust" in refusal.err
    run(
        "--dsn",
        book.dsn,
        "checkpoint",
        "create",
        "--key",
        other,
        "--trust",
        public(book.key),
        book.checkpoints,
    )
    assert list(refused(book)) == [book.runs[-1].name]
    # a key that follows the other: whoever trusts both is content
    run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey, "--trust", public(other))


def test_another_installation(book: Book, new_book: Book, tmp_path: Path) -> None:
    with new_book.connect() as conn:
        # clones have the identity of what they were made of
        query(conn, "alter table installation disable trigger user")
        query(conn, "update installation set installation_id = gen_random_uuid()")
        query(conn, "alter table installation enable trigger user")
    elsewhere = replace(book, dbname=new_book.dbname)
    said = {row["detail"] for row in elsewhere.findings().values()}
    assert len(said) == 1
    assert "of another installation" in said.pop()
    refusal = elsewhere.create(book.checkpoints, expect=1)
    assert "checkpoint_refused" in refusal.err
    assert "of installation" in refusal.err
    # one among those of this installation
    odd = replace(new_book, checkpoints=tmp_path / "odd", key=book.key)
    odd.checkpoints.mkdir()
    for _ in range(4):
        odd.sign()
    shutil.copytree(odd.runs[3], book.checkpoints / odd.runs[3].name)
    assert "and the runs before are of alpha-db/" in refused(book)[odd.runs[3].name]


def test_signed_runs_that_contradict_each_other(book: Book, tmp_path: Path) -> None:
    """Somebody with the key signed a shorter log later: sizes never decrease."""
    fork = replace(book, checkpoints=tmp_path / "fork")
    fork.checkpoints.mkdir()
    with book.connect() as conn:
        tamper(conn, "delete from only order_events where id > 10")
    later = fork.sign()
    shutil.copytree(fork.checkpoints / later, book.checkpoints / later)
    assert refused(book)[later] == f"order_events has 10 rows in it, and had 12 in {book.runs[2].name}"


# ----------------------------------------------------------------------------------------------------
# What cannot be compared


@pytest.mark.parametrize("trouble", ["missing", "empty", "a file"])
def test_no_directory_of_checkpoints_is_no_comparison(book: Book, trouble: str) -> None:
    shutil.rmtree(book.checkpoints)
    if trouble == "a file":
        book.checkpoints.write_text("nothing here")
    elif trouble == "empty":
        book.checkpoints.mkdir()
        (book.checkpoints / "README").write_text("nothing here")
    code, verdict = (3, "not_run") if trouble == "a file" else (5, "not_there")
    found = book.findings(expect=code)
    assert {row["verdict"] for row in found.values()} == {verdict}
    run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey, expect=code)
    run("checkpoint", "list", book.checkpoints, expect=0 if trouble == "empty" else code)
    run("--dsn", book.dsn, "guards", "--checkpoints", book.checkpoints, "--trust", book.vkey, expect=code)
    if trouble != "empty":
        book.create(book.checkpoints, expect=code)


def test_damage_that_the_chain_shows_is_damage_also_without_checkpoints(book: Book) -> None:
    shutil.rmtree(book.checkpoints)
    with book.connect() as conn:
        tamper(conn, "update only ai_debates set elapsed_ms = 1 where id = 2")
        book.verify(expect=1)
        assert one(conn, "select is_locked from lockdown_status()") is True


def test_a_run_that_only_the_checkpoints_contradict_is_not_remembered(book: Book) -> None:
    with book.connect() as conn:
        rewrite(conn)
        assert {row.verdict for row in verdicts(conn).values()} == {"intact"}
    assert book.verify("--since-last", expect=1)["run"]["id"] is None
    with book.connect() as conn:
        assert one(conn, "select count(*) from verification_runs") == 0


@pytest.mark.parametrize(
    ("code", "options"),
    [
        (2, ()),
        (2, ("--trust", "")),
        (5, ("--trust", "/nowhere")),
        (3, ("--trust", "/")),
        (3, ("--trust", "x+00000000+AAAA")),
    ],
    ids=["none", "empty", "no file", "a directory", "no key"],
)
def test_without_a_trusted_key_nothing_passes(book: Book, code: int, options: tuple[str, ...]) -> None:
    run("checkpoint", "verify", book.checkpoints, *options, expect=code)
    run("--dsn", book.dsn, "verify-chain", "--checkpoints", book.checkpoints, *options, expect=code)
    run("--dsn", book.dsn, "guards", "--checkpoints", book.checkpoints, *options, expect=code)


def test_keys_from_the_environment(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_DB_TRUST", f"{book.vkey} {public(book.key)}")
    monkeypatch.setenv("ALPHA_DB_CHECKPOINT_CREATE_KEY", str(book.key))
    run("checkpoint", "verify", book.checkpoints)
    run("--dsn", book.dsn, "guards", "--checkpoints", book.checkpoints)
    run("--dsn", book.dsn, "checkpoint", "create", book.checkpoints)


def test_a_range_is_not_compared(book: Book) -> None:
    run(
        "--dsn",
        book.dsn,
        "verify-chain",
        "--checkpoints",
        book.checkpoints,
        "--trust",
        book.vkey,
        "--from-id",
        1,
        expect=2,
    )


def test_what_is_printed(book: Book) -> None:
    def text(*options: str, expect: int = 0) -> Result:
        checkpoints = ("--checkpoints", book.checkpoints, "--trust", book.vkey)
        return run("--dsn", book.dsn, "verify-chain", *checkpoints, *options, expect=expect)

    latest = book.runs[-1].name
    assert text().out.endswith(f"As signed in {latest}.\n")
    metrics = text("--format", "prometheus").out
    assert 'alpha_db_checkpoint_valid{table="order_events"} 1' in metrics
    assert "\nalpha_db_checkpoint_timestamp_seconds " in metrics
    with book.connect() as conn:
        cut_tail(conn)
        query(conn, "alter table signals set (fillfactor = 90); select record_guards('ticket 42')")
    said = text(expect=1).out
    assert "tail_missing at id 11 (AUD-009)" in said
    assert said.endswith(
        f"NOT WHAT WAS SIGNED: order_events (2 rows missing). Guards changed since {latest}.\n"
    )
    metrics = text("--format", "prometheus", expect=1).out
    assert 'alpha_db_checkpoint_valid{table="order_events"} 0' in metrics
    assert 'alpha_db_checkpoint_findings{verdict="guard_changed"} 1' in metrics

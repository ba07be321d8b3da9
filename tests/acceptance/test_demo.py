"""`alpha-db demo`, run as a user runs it: what it prints is true, and it leaves nothing behind."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from alpha_db.cli.main import main
from alpha_db.demo import cli, risk, story, years
from alpha_db.demo.host import undisturbed
from alpha_db.demo.statements import statement
from alpha_db.demo.story import Step
from alpha_db.embedded import Server, find_binaries
from tests.support import AUDIT_TABLES, PATIENCE, result_of

# The story and its text; the SQL that it shows is tested on every server elsewhere.
pytestmark = pytest.mark.any_server

ROOT = Path(__file__).resolve().parents[2]
HASH = re.compile(r"[0-9a-f]{64}")

Completed = subprocess.CompletedProcess[str]


def environment(**extra: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT / "python"), **extra}


#: What python runs: the program.
PROGRAM = ("-m", "alpha_db")
#: … which also keeps what its steps found; a file comes next.
RECORDING = """
import pickle, sys
from alpha_db.cli.main import main
from alpha_db.demo import cli

def document(steps, made=cli.document):
    with open(sys.argv[1], "wb") as file:
        pickle.dump(steps, file)
    return made(steps)

cli.document = document
sys.exit(main(sys.argv[2:]))
"""
#: … which instead of migrating waits for its input to end.
IDLE = """
import sys
from alpha_db.cli.main import main
from alpha_db.demo import story

story.migrate = lambda _dsn: [0 for _ in sys.stdin.read()]
sys.exit(main())
"""


def demo(binaries: Path, *arguments: str, program: Sequence[str] = PROGRAM, **env: str) -> Completed:
    command = [sys.executable, *program, "demo", "--pg", str(binaries), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
        check=False,
        env=environment(**env),
        cwd="/",
    )


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a blank in its name, where the server's user can get."""
    directory = Path(tempfile.mkdtemp(prefix="alpha db ")).resolve()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one whole run keeps what its steps found."""
    return tmp_path_factory.mktemp("demo") / "steps"


@pytest.fixture(scope="module")
def printed(binaries: Path, kept: Path) -> Completed:
    return demo(binaries, program=("-c", RECORDING, str(kept)))


@pytest.fixture(scope="module")
def steps(printed: Completed, kept: Path) -> list[Step]:
    """What was found behind the text; a second run would find the same."""
    assert printed.returncode == 0
    found: list[Step] = pickle.loads(kept.read_bytes())
    return found


class Told:
    """A story that is told again."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def __call__(self, *_: object, **__: object) -> Told:
        return self

    def steps(self) -> Iterator[Step]:
        yield from self._steps


@pytest.fixture(scope="module")
def document(binaries: Path, steps: list[Step]) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.setattr(cli, "host", lambda *_, **__: nullcontext(SimpleNamespace(url=None)))
        patch.setattr(cli, "Story", Told(steps))
        assert main(["demo", "--pg", str(binaries), "--json"]) == 0
    found: dict[str, Any] = result_of(out.getvalue(), 0)
    return found


def test_rows_are_written(document: dict[str, Any]) -> None:
    rows = dict(document["rows_written"])
    assert rows.pop("total") == sum(rows.values())
    assert rows["signals"] == 3238
    assert min(rows.values()) > 300
    assert set(rows) == {*AUDIT_TABLES}


def test_chain_is_intact_and_there_is_a_kill_switch(document: dict[str, Any]) -> None:
    assert document["intact"] is True
    assert document["kill_switch"]["zar_equity"] == "830477.45"
    assert document["kill_switch"]["positions_closed"][0]["quantity"] == "15.195"
    assert document["trade"]["hmac_verified"] is True


def test_refusals_have_their_codes(document: dict[str, Any]) -> None:
    refused = document["refused"]
    assert sorted(refused) == [f"AUD-00{n}" for n in range(2, 8)]
    assert document["not_refused"] == []
    for word in ("UPDATE", "DELETE", "TRUNCATE"):
        assert any(word in statement for statement in refused.values())
    assert list(document["refused_to_trader"]) == ["42501"]


def test_tampering_is_found_and_locks_down(document: dict[str, Any]) -> None:
    found = document["tamper_found"]
    assert (found["table"], found["id"]) == ("signals", 1619)
    assert HASH.fullmatch(found["expected_hash"])
    assert HASH.fullmatch(found["actual_hash"])
    assert found["expected_hash"] != found["actual_hash"]
    assert document["locked_down"] is True
    assert document["lockdown_refusal"] == "AUD-009"


def test_a_cut_tail_is_found_by_the_checkpoint_alone(document: dict[str, Any]) -> None:
    found = document["checkpoint"]
    assert found["rows"] > document["rows_written"]["total"]
    assert (found["deleted"], found["unnoticed"]) == (1, True)
    assert found["found"] == {
        "table": "order_events",
        "id": document["rows_written"]["order_events"],
        "verdict": "tail_missing",
        "code": "AUD-009",
        "missing_rows": 1,
    }


def test_risk_limits_are_changed_by_agents_and_by_nobody_else(document: dict[str, Any]) -> None:
    found = document["risk"]
    assert found["agents"] == ["ada", "ben", "cyd"]
    assert sorted(found["refused"]) == ["RSK-002", "RSK-004"]
    assert all(message.startswith(code) for code, message in found["refused"].items())
    assert found["applied"]["version"] == 2
    assert HASH.fullmatch(found["applied"]["state_hash"])
    assert found["applied"]["limits"] == {
        "max_position_size_pct": "0.0500",
        "daily_drawdown_limit_pct": "0.0300",
        "max_leverage_ratio": "1.50",
    }
    assert 0 < found["seen_by_hydrator_ms"] < 30_000
    assert found["safe_mode"]["entered"] is True
    assert found["safe_mode"]["reason"].startswith("RSK-007")


def test_an_own_table_is_append_only(document: dict[str, Any]) -> None:
    found = document["own_table"]
    assert (found["rows"], list(found["refused"])) == (1, ["AUD-013"])


def test_a_table_that_changes_has_a_history(document: dict[str, Any]) -> None:
    found = document["history"]
    assert [(row["operation"], row["before"], row["after"]) for row in found["changes"]] == [
        ("INSERT", None, "2.5"),
        ("UPDATE", "2.5", "4"),
        ("UPDATE", "4", "1.5"),
    ]
    assert found["as_of"] == [{"symbol": "ETHBTC", "quantity": "4"}]
    assert (found["code"], found["found"]["problem"]) == ("AUD-015", "changed_row")
    assert found["found"]["present"]["quantity"] == "9"


def test_old_rows_leave_by_consensus_and_not_by_hand(document: dict[str, Any]) -> None:
    found = document["retention"]
    assert found["votes"] == ["PENDING", "APPLIED"]
    assert found["deleted"] == {row["table"]: row["rows"] for row in found["plan"]}
    assert found["deleted"]["order_events"] == 256
    assert {row["table"] for row in found["segments"]} == set(found["deleted"])
    assert found["intact"] is True
    assert found["verdict"] == f"rows 1 to 256 archived by proposal {found['proposal_id']}"
    assert found["deleted_by_hand"] == 1
    assert found["found"] == {
        "table": "order_events",
        "id": 257,
        "verdict": "missing_rows",
        "code": "AUD-009",
    }


def test_the_rest_of_the_document(document: dict[str, Any], binaries: Path) -> None:
    assert document["server_version"] == find_binaries(binaries).version
    assert document["connect"] is None
    assert 0 < document["seconds"] < 5 * PATIENCE


def test_text_is_for_a_newcomer(printed: Completed) -> None:
    assert (printed.returncode, printed.stderr) == (0, "")
    lines = printed.stdout.splitlines()
    headings = [line for line in lines if re.match(r"\d+\. ", line)]
    assert [int(heading.partition(".")[0]) for heading in headings] == list(range(1, 12))
    assert len(lines) <= 140, "three screens"
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines if "/" not in line)
    assert printed.stdout.isprintable() or "\x1b" not in printed.stdout
    for told in (
        "3,238",
        "AUD-002",
        "AUD-003",
        "42501",
        "content_mismatch",
        "AUD-009",
        "tail_missing",
        "RSK-004",
        "Safe Mode: RSK-007",
        "AUD-013: UPDATE on fees refused",
        "history_mismatch (AUD-015): 9, recorded was 1.5",
        "archived by proposal",
        "order_events, row 257: missing_rows (AUD-009)",
        "All of it was as promised",
    ):
        assert told in printed.stdout


def test_nothing_is_left(printed: Completed) -> None:
    directory = next(Path(line.strip()) for line in printed.stdout.splitlines() if line.startswith("   /"))
    assert not directory.exists()
    assert not directory.parent.exists()


def assert_rows(printed: Completed, document: dict[str, Any]) -> None:
    rows = document["rows_written"]
    for table in AUDIT_TABLES:
        assert re.search(rf"{table} +{rows[table]:,} ", printed.stdout)


def test_text_and_document_name_the_same_rows(printed: Completed, document: dict[str, Any]) -> None:
    assert_rows(printed, document)


@pytest.mark.long  # nothing but the decisions could differ: tests/unit/test_webhooks.py
def test_two_runs_print_the_same_story(printed: Completed, binaries: Path) -> None:
    said = demo(binaries, "--json")
    assert (said.returncode, said.stderr) == (0, "")
    assert_rows(printed, result_of(said.stdout, 0))


def assert_short_story(said: Completed, count: int) -> None:
    assert (said.returncode, said.stderr) == (0, "")
    found = result_of(said.stdout, 0)
    assert found["rows_written"]["signals"] == count
    assert found["tamper_found"]["id"] == (count + 1) // 2
    assert found["checkpoint"]["found"]["missing_rows"] == 1
    assert found["retention"] == {"plan": [], "too_few": True}


@pytest.mark.long  # the next one has one signal
def test_few_signals_tell_the_same(binaries: Path) -> None:
    assert_short_story(demo(binaries, "--signals", "2", "--json"), 2)


@pytest.mark.long
def test_environment_of_another_database_is_ignored(binaries: Path) -> None:
    said = demo(
        binaries,
        "--signals",
        "1",
        "--json",
        PGHOST="nowhere.invalid",
        PGOPTIONS="-csearch_path=elsewhere",
        PGREQUIREAUTH="scram-sha-256",
        PGCLIENTENCODING="LATIN1",
        ALPHA_DB_DSN="postgresql://nowhere.invalid/production",
        ALPHA_DB_SCHEMA="elsewhere",
    )
    assert_short_story(said, 1)


@pytest.mark.long
def test_staying_says_how_to_connect_and_stop(binaries: Path, place: Path) -> None:
    directory = place / "the data"
    said = demo(binaries, "--signals", "9", "--json", "--directory", str(directory))
    try:
        assert (said.returncode, said.stderr) == (0, "")
        connect = result_of(said.stdout, 0)["connect"]
        assert connect["directory"] == str(directory)
        assert connect["stop"].endswith(f"server stop '{directory}'")
        with psycopg.connect(connect["url"]) as conn:
            assert conn.execute("select count(*) from signals").fetchone() == (9,)
        answer = subprocess.run(
            [*shlex.split(connect["psql"]), "-Atc", "select count(*) from signals"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout == "9\n"
        verified = main(["--dsn", connect["url"], "verify-chain"])
        assert verified == 0
        assert main(["--dsn", connect["url"], "risk", "verify"]) == 0
        changed = connect["url"].replace(story.DATABASE, story.RISK_COPY)
        assert main(["--dsn", changed, "risk", "verify"]) == 1
        again = demo(binaries, "--directory", str(directory))
        assert (again.returncode, again.stdout) == (3, "")
        assert again.stderr.startswith(f"alpha-db: error: {directory} is not empty. HINT: ")
        assert again.stderr.count("\n") == 1
    finally:
        server = Server(directory, binaries)
        assert server.stop("immediate")
        server.socket_dir.rmdir()


def refuse(_dsn: str) -> None:
    raise KeyError("nothing is migrated")


@pytest.mark.parametrize(
    "fails_late", [False, pytest.param(True, marks=pytest.mark.long)], ids=["early", "late"]
)
def test_failing_leaves_nothing_though_it_was_to_stay(
    binaries: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails_late: bool,
) -> None:
    if fails_late:
        monkeypatch.setitem(story.ATTACKS, "no_such_statement", "AUD-002")
    else:
        monkeypatch.setattr(story, "migrate", refuse)
    directory = place / "data"
    command = ["demo", "--pg", str(binaries), "--signals", "1", "--directory", str(directory)]
    assert main(command) == 3
    out, err = capsys.readouterr()
    assert f"   {directory}" in out.splitlines(), "it had begun"
    assert err.count("\n") == 1
    assert list(place.iterdir()) == []


def test_broken_promise_is_exit_1(
    binaries: Path, steps: list[Step], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(story.ATTACKS, "update_signal", "AUD-003")
    for chapter in ("cut", "risk", "years"):  # what comes after the broken promise is only told again
        (told,) = (step for step in steps if step.name == chapter)
        monkeypatch.setattr(story.Story, f"_{chapter}", lambda _story, told=told: told)
    assert main(["demo", "--pg", str(binaries), "--signals", "1"]) == 1
    text = capsys.readouterr().out
    assert "AUD-002  UPDATE signals" in text, "what the database answered, not what was hoped for"
    assert text.count("THIS IS NOT WHAT ALPHA-DB PROMISES") == 1


@pytest.mark.long
def test_change_that_is_not_applied_is_exit_1(
    binaries: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = threading.active_count()
    monkeypatch.setattr(risk, "TIGHTER", risk.LOOSER)
    monkeypatch.setattr(risk, "_PATIENCE", 2.0)  # what never comes is waited for to the end
    assert main(["demo", "--pg", str(binaries), "--signals", "1", "--json"]) == 1
    found = result_of(capsys.readouterr().out, 1)
    assert found["risk"]["seen_by_hydrator_ms"] is None
    assert found["risk"]["applied"]["version"] == 1
    assert threading.active_count() == before, "the hydrators are stopped"


@pytest.mark.long
def test_a_difference_that_is_not_found_is_exit_1(
    binaries: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_recorded = statement("third_position")
    monkeypatch.setattr(
        years, "statement", lambda name: as_recorded if name == "behind_the_back" else statement(name)
    )
    assert main(["demo", "--pg", str(binaries), "--signals", "1"]) == 1
    text = capsys.readouterr().out
    assert "NOT FOUND" in text
    assert "too few rows" in text
    assert text.count("THIS IS NOT WHAT ALPHA-DB PROMISES") == 1


@pytest.mark.parametrize(
    ("number", "stays", "when"),
    [
        (signal.SIGINT, False, "   /"),  # it migrates
        pytest.param(signal.SIGINT, False, "2.", marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, False, "2.", marks=pytest.mark.long),
        (signal.SIGTERM, True, "2."),
    ],
)
def test_interrupted_leaves_nothing(
    binaries: Path, place: Path, number: signal.Signals, stays: bool, when: str
) -> None:
    command = [sys.executable, "-m", "alpha_db", "demo", "--pg", str(binaries)]
    if stays:
        command += ["--directory", str(place / "data")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONUNBUFFERED="1"),
        # the tests may run where these are ignored: behind nohup, in the background
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("   /"):
                directory = Path(line.strip())
            if line.startswith(when):
                break
        assert directory.exists()
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "\nalpha-db: interrupted\n"), "below the ^C"
    assert not directory.exists()
    assert list(place.iterdir()) == []


class Finalized:
    """Gets a signal while it is finalized, where Python swallows what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def finalize_and_wait() -> None:
    Finalized()
    threading.Event().wait(PATIENCE)


def test_an_interrupt_within_a_finalizer_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), undisturbed():
        finalize_and_wait()


@pytest.mark.parametrize(
    "program",
    [("-c", IDLE), pytest.param(PROGRAM, marks=pytest.mark.long)],
    ids=["before it migrates", "while it migrates"],
)
def test_reader_that_goes_away_leaves_nothing(binaries: Path, program: Sequence[str]) -> None:
    command = [sys.executable, *program, "demo", "--pg", str(binaries), "--signals", "1"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONUNBUFFERED="1"),
    ) as process:
        assert process.stdout is not None
        directory = next(Path(line.strip()) for line in process.stdout if line.startswith("   /"))
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGPIPE
    assert errors == ""
    assert not directory.exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--pg", "14"], 3), (["--pg", "/nowhere"], 3), (["--signals", "0"], 2), (["--signals", "1.5"], 2)],
)
def test_what_cannot_run_is_one_line(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("alpha-db: ")
    assert err.count("\n") == 1

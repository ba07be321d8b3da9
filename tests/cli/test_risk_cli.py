"""alpha-db risk and lockdown release: what is shown, what is signed, what is refused, and exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.desk import Desk
from tests.cluster import Server, client_environment
from tests.fix_database import LoginRole
from tests.risk.council import unguarded
from tests.support import PATIENCE, ROOT, Connection, fill, one, query, result_of, tamper, verdicts

# The command line and the files; the SQL behind them is tested on every server elsewhere.
pytestmark = pytest.mark.any_server

pytest_plugins = ["tests.cli.fix_desk"]

POSITION, DRAWDOWN, LEVERAGE = "max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio"


def in_force(desk: Desk) -> dict[str, str]:
    limits = desk.run("risk", "get-config", "--json").json["limits"]
    assert isinstance(limits, dict)
    return limits


# --------------------------------------------------------------------------------------------------
# From nothing to a loosened limit


def test_before_there_are_limits(trio: Desk) -> None:
    assert "No limits yet" in trio.run("risk", "get-config").out
    assert trio.run("risk", "get-config", "--json").json["limits"] is None
    some = trio.run("risk", "update-param", POSITION, "0.05", "--reason", "x", *trio.sign("ada"), expect=2)
    assert DRAWDOWN in some.err
    assert "Nothing was changed" in trio.run("risk", "history").out
    trio.run("risk", "verify")


def test_the_whole_way(governed: Desk) -> None:
    assert in_force(governed) == {POSITION: "0.0500", DRAWDOWN: "0.0300", LEVERAGE: "2.00"}
    shown = governed.run(
        "risk", "update-param", LEVERAGE, "3", "--reason", "busy book", *governed.sign("ada")
    ).out  # fmt: skip
    assert f"{LEVERAGE}  2.00 → 3" in shown
    assert "loosens: it needs 2 other agents" in shown
    assert 'reason: "busy book"' in shown
    assert "alpha-db/proposal/v1" in shown
    listed = governed.run("risk", "proposals").out
    assert "0 of 2 approvals" in listed
    (pending,) = governed.run("risk", "proposals", "--json").json
    proposal_id = pending["proposal_id"]
    first = governed.run("risk", "approve", proposal_id[:8], *governed.sign("ben")).out
    assert "alpha-db/approval/v1" in first
    assert pending["digest"] in first
    assert 'reason: "busy book"' in first
    assert "1 of 2 approvals" in first
    assert in_force(governed)[LEVERAGE] == "2.00"
    assert "version 2" in governed.run("risk", "approve", proposal_id, *governed.sign("cyd")).out
    assert in_force(governed)[LEVERAGE] == "3.00"
    config = governed.run("risk", "get-config").out
    assert re.search(r"approved by  (ben, cyd|cyd, ben)", config)
    assert "yes" in config
    story = governed.run("risk", "history").out
    assert f"{LEVERAGE} 2.00 → 3.00" in story
    assert re.search(r"by ada, approved by (ben, cyd|cyd, ben)", story)
    assert "why: busy book" in story
    assert governed.run("risk", "history", "--limit", "1", "--json").json[0]["version"] == 2
    governed.run("risk", "verify")
    assert "No proposal is pending" in governed.run("risk", "proposals").out
    assert "APPLIED" in governed.run("risk", "proposals", "--all").out


def test_what_tightens_needs_one(governed: Desk) -> None:
    made = governed.run(
        "risk",
        "update-param",
        POSITION,
        "0.01",
        LEVERAGE,
        "1",
        "--reason",
        "calm",
        *governed.sign("ben"),
        "--json",
    ).json
    assert (made["direction"], made["approvals_needed"]) == ("tighten", 1)
    assert made["changes"] == [
        {"name": POSITION, "old": "0.0500", "new": "0.01"},
        {"name": LEVERAGE, "old": "2.00", "new": "1"},
    ]
    assert governed.approve(made["proposal_id"], "cyd") == ["APPLIED"]


def test_what_get_config_writes_can_be_proposed(governed: Desk) -> None:
    file = governed.folder / "limits.json"
    file.write_text(governed.run("risk", "get-config", "--json").out)
    same = governed.run(
        "risk", "update-param", "--from", str(file), "--reason", "x", *governed.sign("ada"), expect=2
    )
    assert "nothing would change" in same.err
    document = result_of(file.read_text(), 0)
    document["limits"][DRAWDOWN] = "0.02"
    for text in (document, document["limits"]):
        file.write_text(json.dumps(text))
        governed.propose("ada", "risk", "update-param", "--from", str(file))
    proposals = governed.run("risk", "proposals", "--json").json
    assert [p["payload"] for p in proposals] == [document["limits"]] * 2


def test_kill_thresholds(governed: Desk) -> None:
    new = governed.propose(
        "ada", "risk", "set-kill-threshold", "BTC", "--loss-pct", "0.1", "--price", "30000"
    )
    assert governed.approve(new, "ben") == ["APPLIED"]
    assert (
        "kill BTC at a loss of 0.1000, or at price 30000.0000000000" in governed.run("risk", "get-config").out
    )
    less = governed.propose("ada", "risk", "set-kill-threshold", "BTC", "--price", "none")
    assert governed.approve(less, "ben", "cyd") == ["PENDING", "APPLIED"]
    gone = governed.propose("ada", "risk", "set-kill-threshold", "BTC", "--retire")
    assert governed.approve(gone, "ben", "cyd") == ["PENDING", "APPLIED"]
    assert governed.run("risk", "get-config", "--json").json["kill_thresholds"] == []
    story = governed.run("risk", "history").out
    assert "BTC no threshold → killed at a loss of 0.1000 or at 30000.0000000000" in story
    assert "BTC killed at a loss of 0.1000 → no threshold" in story
    for options in (["--retire"], ["--price", "1"], [], ["--retire", "--loss-pct", "0.1"]):
        governed.run(
            "risk", "set-kill-threshold", "ETH", *options, "--reason", "x", *governed.sign("ada"), expect=2
        )  # fmt: skip


def test_quorum_policy(governed: Desk) -> None:
    policy = ["risk", "quorum-policy", "--tighten", "2", "--loosen", "2", "--govern", "2"]
    assert governed.approve(governed.propose("ada", *policy), "ben", "cyd") == ["PENDING", "APPLIED"]
    made = governed.run(
        "risk", "update-param", POSITION, "0.01", "--reason", "x", *governed.sign("ada"), "--json"
    )
    assert made.json["approvals_needed"] == 2
    assert "tighten 2, loosen 2, govern 2" in governed.run("risk", "history").out


def test_reject_and_withdraw(governed: Desk) -> None:
    first, second = (
        governed.propose("ada", "risk", "update-param", POSITION, value) for value in ("0.04", "0.03")
    )
    assert "Rejected" in governed.run("risk", "reject", first, *governed.sign("ben")).out
    assert "Withdrawn" in governed.run("risk", "reject", second, *governed.sign("ada")).out
    states = {
        p["proposal_id"]: p["status"] for p in governed.run("risk", "proposals", "--all", "--json").json
    }
    assert (states[first], states[second]) == ("REJECTED", "WITHDRAWN")
    assert "[RSK-006]" in governed.run("risk", "approve", first, *governed.sign("cyd"), expect=1).err


# --------------------------------------------------------------------------------------------------
# Refusals and questions


def test_refusals_exit_with_1_and_their_code(governed: Desk) -> None:
    proposal_id = governed.propose("ada", "risk", "update-param", POSITION, "0.04")
    stale = governed.propose("ben", "risk", "update-param", POSITION, "0.03")
    assert "[RSK-004]" in governed.run("risk", "approve", proposal_id, *governed.sign("ada"), expect=1).err
    assert "[RSK-006]" in governed.run("risk", "approve", str(uuid4()), *governed.sign("ben"), expect=1).err
    assert governed.approve(proposal_id, "cyd") == ["APPLIED"]
    assert "[RSK-005]" in governed.run("risk", "approve", stale, *governed.sign("cyd"), expect=1).err


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1.01", "-0.1", "0.00001", "1e-2", "", "five"])
def test_impossible_values_are_refused_before_anybody_signs(
    governed: Desk, value: str, db: Connection
) -> None:
    before = one(db, "select count(*) from proposals")
    options = ["--reason", "x", *governed.sign("ada")]
    arguments = ["risk", "update-param", *options, "--", POSITION, value]
    assert "[RSK-001]" in governed.run(*arguments, expect=1).err
    assert one(db, "select count(*) from proposals") == before


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (f"update-param {POSITION} five", "HINT: Give decimals"),
        (
            "set-kill-threshold BTC --loss-pct five",
            "HINT: Give a short, visible name as the asset, and decimals",
        ),
        ("quorum-policy --tighten 1 --loosen 1 --govern 2", "HINT: Give whole numbers"),
    ],
)
def test_the_hint_fits_what_is_proposed(governed: Desk, command: str, hint: str) -> None:
    made = governed.run("risk", *command.split(), "--reason", "x", *governed.sign("ada"), expect=1)
    assert hint in made.err


def test_usage(governed: Desk) -> None:
    signed = ["--reason", "x", *governed.sign("ada")]
    for arguments in (
        ["update-param", *signed],
        ["update-param", POSITION, *signed],
        ["update-param", "leverage", "1", *signed],
        ["update-param", POSITION, "0.1", POSITION, "0.2", *signed],
        ["update-param", POSITION, "0.05", *signed],
        ["update-param", POSITION, "0.1", "--from", "x.json", *signed],
        ["update-param", POSITION, "0.1", *governed.sign("ada")],
        ["update-param", POSITION, "0.1", "--reason", "x", "--yes"],
        ["update-param", POSITION, "0.1", "--expires-in", "soon", *signed],
    ):
        governed.run("risk", *arguments, expect=2)


def test_nothing_is_sent_without_an_answer(governed: Desk, db: Connection) -> None:
    before = one(db, "select count(*) from proposals")
    asked = governed.run(
        "risk", "update-param", POSITION, "0.1", "--reason", "x", "--key", str(governed.key("ada")), expect=2
    )
    assert "--yes" in asked.err
    assert "alpha-db/proposal/v1" in asked.out
    assert one(db, "select count(*) from proposals") == before


@pytest.mark.parametrize(("answer", "code", "more"), [("y", 0, 1), ("n", 3, 0)])
def test_a_command_asks_on_a_terminal_before_it_signs(
    governed: Desk, db: Connection, answer: str, code: int, more: int
) -> None:
    before = one(db, "select count(*) from proposals")
    arguments = ["risk", "update-param", POSITION, "0.1", "--reason", "x", "--key", str(governed.key("ada"))]
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "alpha_db", "--dsn", governed.dsn, *arguments],
        env=client_environment({"PYTHONPATH": str(ROOT / "python")}),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    out, err = child.communicate(timeout=PATIENCE)
    os.close(ours)
    assert child.returncode == code, (out, err)
    assert b"Sign and send" in err
    assert b"alpha-db/proposal/v1" in out
    assert one(db, "select count(*) from proposals") == before + more


def test_the_key_finds_its_agent_and_no_other(governed: Desk) -> None:
    options = ["risk", "update-param", POSITION, "0.01", "--reason", "x", "--yes", "--json", "--key"]
    made = governed.run(*options, str(governed.key("ben")))
    assert made.json["proposer"]["name"] == "ben"
    wrong = governed.run(*options, str(governed.key("ben")), "--agent", "ada", expect=1)
    assert "[RSK-003]" in wrong.err
    governed.keygen("eve")
    assert "[RSK-003]" in governed.run(*options, str(governed.key("eve")), expect=1).err
    assert "[RSK-003]" in governed.run(*options, str(governed.key("ben")), "--agent", "zoe", expect=1).err


def test_keys_from_the_environment(governed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_DB_AGENT", "cyd")
    monkeypatch.setenv("ALPHA_DB_KEY", str(governed.key("cyd")))
    made = governed.run("risk", "update-param", POSITION, "0.01", "--reason", "x", "--yes", "--json")
    assert made.json["proposer"]["name"] == "cyd"


def test_passphrases_are_asked_for_by_file_and_never_told(trio: Desk, db: Connection, server: Server) -> None:
    secret, wrong = trio.folder / "secret", trio.folder / "wrong"
    secret.write_text("correct horse\n")
    wrong.write_text("battery staple\n")
    file = trio.keygen("dan", "--passphrase-file", str(secret))
    trio.approve(trio.propose("ada", "agents", "enrol", str(file)), "ben", "cyd")
    limits = [POSITION, "0.1", DRAWDOWN, "0.1", LEVERAGE, "1"]
    options = ["risk", "update-param", *limits, "--reason", "x", *trio.sign("dan"), "--debug"]
    said = trio.run(*options, "--passphrase-file", str(secret))
    bare = trio.run(*options, expect=3)
    assert "passphrase" in bare.err
    refused = trio.run(*options, "--passphrase-file", str(wrong), expect=3)
    everything = said.out + said.err + bare.out + bare.err + refused.out + refused.err
    everything += server.log.read_text(errors="replace")
    secret_key = trio.key("dan").read_text().splitlines()[1]
    for word in ("correct horse", "battery staple", secret_key):
        assert word not in everything
    assert one(db, "select count(*) from proposals where kind = 'risk_config'") == 1


def test_key_that_others_can_read_is_refused(governed: Desk) -> None:
    governed.key("ada").chmod(0o644)
    found = governed.run(
        "risk", "update-param", POSITION, "0.01", "--reason", "x", *governed.sign("ada"), expect=3
    )
    assert "chmod 600" in found.err


# --------------------------------------------------------------------------------------------------
# Tampering


def test_changed_limits_are_found_everywhere(governed: Desk, db: Connection) -> None:
    pending = governed.propose("ada", "risk", "update-param", POSITION, "0.01")
    unguarded(db, "update risk_configurations set max_leverage_ratio = 99")
    found = governed.run("risk", "verify", expect=1)
    assert "RSK-007" in found.out
    assert found.out.count("not ok") == 4
    document = governed.run("risk", "verify", "--json", expect=1).json
    assert (document["is_valid"], document["error_code"]) == (False, "RSK-007")
    config = governed.run("risk", "get-config", "--json", expect=1).json
    assert config["verified"] is False
    assert "NO" in governed.run("risk", "get-config", expect=1).out
    refused = governed.run(
        "risk", "update-param", POSITION, "0.02", "--reason", "x", *governed.sign("ada"), expect=1
    )
    assert "[RSK-007]" in refused.err
    assert "[RSK-007]" in governed.run("risk", "approve", pending, *governed.sign("ben"), expect=1).err


def test_a_text_that_was_changed_is_not_signed(governed: Desk, db: Connection) -> None:
    proposal_id = governed.propose("ada", "risk", "update-param", POSITION, "0.01")
    db.execute("alter table proposals drop constraint proposals_signed_text_is_exact")
    unguarded(db, "update proposals set reason = 'harmless' where id = (select max(id) from proposals)")
    found = governed.run("risk", "approve", proposal_id, *governed.sign("ben"), expect=1)
    assert "[RSK-007]" in found.err
    assert one(db, "select count(*) from votes") == 2  # those of the first limits


def test_another_text_from_the_database_is_not_signed(governed: Desk, db: Connection) -> None:
    proposal_id = governed.propose("ada", "risk", "update-param", POSITION, "0.01")
    query(
        db,
        "create or replace function approval_message(proposal_id uuid, agent_id uuid, decision text,"
        " signed_at timestamptz) returns text language sql stable as $$ select 'alpha-db/approval/v1'::text $$",
    )
    found = governed.run("risk", "approve", proposal_id, *governed.sign("ben"), expect=1)
    assert "another text" in found.err


# --------------------------------------------------------------------------------------------------
# Watch


def test_watch_once(governed: Desk) -> None:
    found = governed.run("risk", "watch", "--once", "--json").json
    assert (found["mode"], found["version"]) == ("NORMAL", 1)
    assert found["limits"][LEVERAGE] == "2.00"
    assert "NORMAL" in governed.run("risk", "watch", "--once").out


@pytest.mark.parametrize(
    "options", [pytest.param([], marks=pytest.mark.long), ["--json"]], ids=["text", "json"]
)
def test_watch_into_a_pipe_tells_each_change_at_once(governed: Desk, options: list[str]) -> None:
    command = [sys.executable, "-m", "alpha_db", "--dsn", governed.dsn, "risk", "watch", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as watching:
        assert watching.stdout is not None
        late = threading.Timer(30, watching.kill)
        late.start()
        try:
            said = ""
            for line in watching.stdout:
                said += line
                # in JSON each change is an answer by itself, framed as all are
                if "NORMAL" in said and (not options or line == "}\n"):
                    break
            assert "NORMAL" in said, "it was killed before it said anything"
            if options:
                last = said[said.rindex('{\n  "ok"') :]
                assert result_of(last, 0)["mode"] == "NORMAL"
        finally:
            late.cancel()
            watching.kill()


def test_watch_once_in_safe_mode(trio: Desk) -> None:
    found = trio.run("risk", "watch", "--once", "--timeout", "0.5", "--json", expect=3).json
    assert found["mode"] == "SAFE_MODE"
    assert found["limits"][LEVERAGE] == "0"


# --------------------------------------------------------------------------------------------------
# Lockdown


def test_lockdown_release(governed: Desk, db: Connection, login_role: LoginRole) -> None:
    none = governed.run("lockdown", "release", "--reason", "x", *governed.sign("ada"), expect=1)
    assert "[RSK-005]" in none.err
    fill(db)
    tamper(db, "update signals set price = 1 where id = 2")
    tamper(db, "delete from ai_debates where id = 2")
    governed.run("verify-chain", expect=1)
    governed.run("lockdown", "status", expect=1)
    refused = governed.run(
        "risk", "update-param", POSITION, "0.2", "--reason", "x", *governed.sign("ada"), expect=1
    )
    assert "[AUD-009]" in refused.err
    made = governed.run(
        "lockdown", "release", "--reason", "disk, ticket 42", *governed.sign("ada"), "--json"
    ).json
    assert (made["direction"], made["approvals_needed"]) == ("loosen", 2)
    assert [(place["table"], place["id"]) for place in made["payload"]["damage"]] == [
        ("signals", 2),
        ("ai_debates", 2),
    ]
    # who may not verify acknowledges what engaged it: what the first of the ranges side by side found
    governed.dsn += f" user={login_role('app_risk')}"
    again = governed.run("lockdown", "release", "--reason", "disk", *governed.sign("ben"), "--json").json
    assert again["payload"]["damage"]
    assert all(place in made["payload"]["damage"] for place in again["payload"]["damage"])
    assert governed.approve(made["proposal_id"], "ben", "cyd") == ["PENDING", "APPLIED"]
    governed.run("lockdown", "status")
    assert "damage acknowledged: signals 2, ai_debates 2" in governed.run("risk", "history").out
    assert {v.verdict for v in verdicts(db).values()} == {"intact", "acknowledged"}
    tamper(db, "update signals set price = 1 where id = 3")
    verdicts(db)
    governed.run("lockdown", "status", expect=1)


# --------------------------------------------------------------------------------------------------
# From psql and openssl


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_the_same_approval_from_psql_and_openssl(
    governed: Desk, server: Server, database: str, db: Connection, login_role: LoginRole
) -> None:
    proposal_id = governed.propose("ada", "risk", "update-param", POSITION, "0.01")
    script = ROOT / "examples" / "approve_with_psql.sh"
    agent = one(db, "select agent_id from vw_agents where name = 'ben'")
    run = subprocess.run(
        [str(script), proposal_id, str(agent), str(governed.key("ben"))],
        env=client_environment(
            {
                "PGHOST": str(server.directory),
                "PGDATABASE": database,
                "PGUSER": login_role("app_risk"),
                "PATH": f"{server.bin}{os.pathsep}{os.environ['PATH']}",
            }
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    if "openssl 3" in run.stderr:
        pytest.skip("openssl before version 3")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "APPLIED"
    assert "alpha-db/approval/v1" in run.stdout
    assert in_force(governed)[POSITION] == "0.0100"
    governed.run("risk", "verify")


def test_every_command_has_help_with_an_example(desk: Desk) -> None:
    assert Path(desk.folder).exists()
    for group, names in {
        "risk": "get-config update-param set-kill-threshold quorum-policy proposals approve reject history verify"
        " watch",
        "agents": "keygen sign-bootstrap bootstrap list enrol rotate revoke",
        "lockdown": "status release",
    }.items():
        for name in names.split():
            shown = desk.run(group, name, "--help").out
            assert "Example" in shown
            assert f"alpha-db {group} {name}" in shown or f"{group} {name}" in shown
            assert "--json" in shown


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001, "be\u200bcause", "\udcff", "a\U000e0041"])
def test_a_reason_that_would_be_refused_is_refused_before_it_is_signed(governed: Desk, reason: str) -> None:
    made = governed.run(
        "risk", "update-param", LEVERAGE, "1", "--reason", reason, *governed.sign("ada"), expect=1
    )
    assert made.err.startswith("alpha-db: error [RSK-001]: the reason is missing")
    assert made.out == ""


def test_an_asset_that_is_no_text_is_refused(governed: Desk) -> None:
    threshold = ("risk", "set-kill-threshold", "B\udcff", "--loss-pct", "0.1", "--reason", "x")
    made = governed.run(*threshold, *governed.sign("ada"), expect=1)
    assert made.err.startswith("alpha-db: error [RSK-001]: asset is not a plain text")

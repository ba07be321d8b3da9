"""--json: one object on stdout, whatever happens: ok, exit_code, result, error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alpha_db.cli import boundary, output
from alpha_db.cli.main import main
from tests.cli.desk import Desk
from tests.cli.test_tree import COMMANDS, WITHOUT_JSON
from tests.support import Connection, fill, tamper

pytest_plugins = ["tests.cli.fix_desk"]


WITH_JSON = sorted(set(COMMANDS) - WITHOUT_JSON)
#: Commands that ask a database, and take nothing that must be given; watch needs --listen or --once.
NEEDING_NOTHING = [
    name
    for name in WITH_JSON
    if name != "alpha-db watch"
    and "dsn" in {param.name for param in COMMANDS[name].params}
    and not any(param.required for param in COMMANDS[name].params)
]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON object on stdout."""
    code = main(arguments)
    return code, json.loads(capsys.readouterr().out)


def test_a_result(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "--dsn", desk.dsn, "guards", "--json") == (
        0,
        {"ok": True, "exit_code": 0, "result": [], "error": None},
    )


@pytest.mark.any_server
def test_a_format_is_framed_as_the_option_is(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    for way in (["--json"], ["--format", "json"]):
        code, found = answer(capsys, "--dsn", desk.dsn, "verify-chain", *way)
        assert (code, found["ok"], found["result"]["lockdown"]["is_locked"]) == (0, True, False)
        assert answer(capsys, "verify-chain", *way, "--jobs", "many")[1]["exit_code"] == 2


def test_damage_is_a_result_and_no_error(desk: Desk, db: Connection) -> None:
    fill(db)
    tamper(db, "update signals set quantity = 7 where id = 2")
    found = json.loads(desk.run("verify-chain", "--json", expect=1).out)
    assert (found["ok"], found["exit_code"], found["error"]) == (False, 1, None)
    assert "content_mismatch" in {row["verdict"] for row in found["result"]["tables"]}


@pytest.mark.any_server
def test_an_error_has_code_detail_and_hint(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = answer(capsys, "--dsn", desk.dsn, "--schema", "nowhere", "status", "--json")
    assert (code, found["ok"], found["exit_code"], found["result"]) == (3, False, 3, None)
    assert set(found["error"]) == {"code", "message", "detail", "hint"}
    assert "nowhere" in found["error"]["message"]
    assert "--schema" in found["error"]["hint"]


@pytest.mark.any_server
@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--json", "--colour"],
        ["verify-chain", "--json", "--jobs", "many"],
        ["--json", "status"],
        ["verify-export", "--json"],
        ["agents", "keygen", "--json"],
        ["no-such-command", "--json"],
    ],
    ids=" ".join,
)
def test_usage_is_answered_in_json_too(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(arguments)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (code, found["exit_code"], found["ok"]) == (2, 2, False)
    assert found["error"]["message"] in err
    assert found["error"]["hint"].startswith("see alpha-db")
    assert err.count("\n") == 1


@pytest.mark.any_server
@pytest.mark.parametrize("name", WITH_JSON)
def test_every_command_answers_a_wrong_option_in_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = answer(capsys, *name.split()[1:], "--json", "--no-such-option")
    assert (code, found["exit_code"], found["result"]) == (2, 2, None)
    assert "--no-such-option" in found["error"]["message"]


@pytest.mark.any_server
@pytest.mark.parametrize("name", NEEDING_NOTHING)
def test_every_command_answers_in_json_that_there_is_no_server(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, found = answer(capsys, "--dsn", f"host={tmp_path}", *name.split()[1:], "--json")
    assert (code, found["exit_code"], found["ok"]) == (3, 3, False)
    assert "connection" in found["error"]["message"]


@pytest.mark.any_server
def test_json_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_DB_VERIFY_EXPORT_JSON", "1")
    for arguments in (["verify-export"], ["verify-export", "--nonsense"]):
        assert answer(capsys, *arguments)[1]["exit_code"] == 2


@pytest.mark.any_server
def test_help_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage:")


@pytest.mark.any_server
def test_json_of_the_child_is_not_ours(capfd: pytest.CaptureFixture[str]) -> None:
    main(["server", "run", "--pg", "/nowhere", "echo", "--json"])
    assert capfd.readouterr().out == ""


def test_a_stream_of_answers_is_framed_one_by_one(governed: Desk) -> None:
    found = governed.run("risk", "watch", "--once", "--json").json
    assert found["mode"] == "NORMAL"


@pytest.mark.any_server
@pytest.mark.parametrize("value", [object(), float, {1: {2}}])
def test_what_json_cannot_hold_is_an_error(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> int:
        output.emit_json(value)
        return 0

    assert boundary.run(program, debug=False, as_json=True) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["message"] in err

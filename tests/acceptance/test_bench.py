"""bin/bench runs and writes what it says. What it measures is no test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.cli import PARTS, main
from click.testing import CliRunner


def test_a_quick_run_writes_table_and_json(binaries: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--quick", "--pg", str(binaries), "--json", str(file), "ed25519"]
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": None})  # which parallel workers set
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["format"] == 1
    assert (found["parts"], found["quick"]) == (["ed25519"], True)
    assert found["settings"]["fsync"] == "on"
    assert found["machine"]["cores"] >= 1
    by_name = {figure["contestant"]: figure for figure in found["figures"]}
    assert list(by_name) == [
        "sha512 in SQL",
        "ed25519_verify, valid",
        "ed25519_verify, invalid",
        "Python, valid",
    ]
    valid = by_name["ed25519_verify, valid"]
    assert 0 < valid["p5"] <= valid["median"] <= valid["p95"]
    assert valid["samples"] == 50
    assert valid["ratio"] > 1
    assert valid["met"] == (valid["median"] <= valid["target"])
    assert by_name["sha512 in SQL"]["ratio"] is None
    for name in by_name:
        assert name in result.stdout


def test_list_names_every_part() -> None:
    listed = CliRunner().invoke(main, ["--list"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(PARTS)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["no-such-part"], 2), (["--json", "/nonexistent/f"], 2), (["--pg", "/nonexistent"], 3)],
)
def test_what_cannot_run_says_why(arguments: list[str], code: int) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr

"""What is printed for people: long lists are cut, long lines are folded on a terminal, and hashes never."""

from __future__ import annotations

import pytest

from alpha_db.shell import columns
from alpha_db.verify.cli.verify_report import shortened

HASH = "0a" * 32


def test_of_many_facts_the_first_are_printed() -> None:
    facts = [f"fact {number}" for number in range(150)]
    assert shortened("; ".join(facts)) == (
        "fact 0; fact 1; fact 2; and 147 more; alpha-db guards and --json list them"
    )
    assert shortened("; ".join(facts[:4])) == "fact 0; fact 1; fact 2; fact 3"


def test_on_a_terminal_the_last_column_is_folded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = [["expected", HASH], ["detail", "one two three four five six seven"]]
    columns.rows(lines, indent="  ")
    assert capsys.readouterr().out.count("\n") == 2, "a pipe is not a terminal"
    monkeypatch.setattr(columns, "is_terminal", lambda _: True)
    columns.rows(lines, indent="  ")
    assert capsys.readouterr().out == (
        f"  expected  {HASH}\n  detail    one two three four five six\n            seven\n"
    )

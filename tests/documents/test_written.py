"""Pages are written so that they can be run: each block is fenced, names its language, and says why it is not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.blocks import read_page
from tests.documents.desk import BEGINNINGS
from tests.documents.output import is_as_said
from tests.documents.pages import PAGES, name_of
from tests.documents.script import commands_of, printed_by
from tests.support import ROOT

pytestmark = pytest.mark.any_server


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_can_be_run(path: Path) -> None:
    page = read_page(path)
    assert page.problems == []
    assert page.comments.get("begins with", BEGINNINGS[0]) in BEGINNINGS
    test = page.comments.get("run by")
    assert test is None or (ROOT / test).exists()


def written(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Text:\n\n    alpha-db status\n", "line 3: an indented block: fence it, and name its language"),
        ("- item:\n\n      alpha-db status\n", "line 3: an indented block: fence it, and name its language"),
        ("```\nalpha-db status\n```\n", "line 1: the language '' is none of"),
        ("```sh\nalpha-db --dsn … status\n```\n", "line 1: a block with … in it cannot be run as printed"),
        ("<!-- not run: needs cron -->\n\nText.\n", "line 3: ['not run'] stands before no block"),
        ("<!-- runs as: ada -->\n```sh\ntrue\n```\n", "line 1: no comment is named 'runs as'"),
        (
            "<!-- not run: x -->\n<!-- types: y -->\n```sh\ntrue\n```\n",
            "line 3: ['not run', 'types'] of a block",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    problems = read_page(written(tmp_path, text)).problems
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_a_list_goes_on_without_being_a_block(tmp_path: Path) -> None:
    page = read_page(written(tmp_path, "- item,\n  its text\n\n  more of it\n  ```sh\n  true\n  ```\n"))
    assert page.problems == []
    assert [block.text for block in page.blocks] == ["true\n"]


def test_a_console_is_commands_and_what_they_print(tmp_path: Path) -> None:
    page = read_page(written(tmp_path, "```console\n$ echo one \\\n  two\none two\n$ echo 3\n3\n```\n"))
    assert commands_of(page.blocks[0]) == "echo one \\\n  two\necho 3\n"
    assert printed_by(page) == {1: "one two\n3\n"}


def test_output_is_compared() -> None:
    said = "id 6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f at 2026-01-25 12:00:00Z\n…\nend … of it\n"
    printed = (
        "id 0f5c3e1a-7d2b-4c68-9b1f-2e6d8a4c7b90 at 2027-02-03 04:05:06Z\nmore\nyet more\nend at last of it\n"
    )
    assert is_as_said(said, printed)
    assert not is_as_said(said, printed.replace("end at", "at"))
    assert not is_as_said("one\n", "one\ntwo\n")

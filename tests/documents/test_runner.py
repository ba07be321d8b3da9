"""What runs the pages finds what does not hold, and keeps its promises to a page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.cluster import client_environment
from tests.documents.blocks import read_page
from tests.documents.desk import run_blocks

pytestmark = pytest.mark.any_server


def run(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    given = client_environment({"PGUSER": "dba", "PYTHON": sys.executable})
    run_blocks(read_page(page), tmp_path, given, tmp_path / "steps")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```sh\necho one\nfalse\necho two\n```\n", "page.md, line 1: exit 1\none\n"),
        ("```sh\ntrue\n```\n\n```sh\nno-such-command\n```\n", "page.md, line 5: exit 127"),
        ("```sh\nfalse | true\n```\n", "page.md, line 1: exit 1"),
        ("```sh\necho one\n```\n\n```output\ntwo\n```\n", "page.md, line 1, prints\none"),
        ("```console\n$ echo one\ntwo\n```\n", "page.md, line 1, prints\none"),
        ("<!-- ends with: 3 -->\n```sh\nexit 4\n```\n", "page.md, line 2: exit 99"),
    ],
)
def test_what_does_not_hold_is_found(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(said)):
        run(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nname=one; cd /\n```\n\n```sh\necho $name; pwd\n```\n\n```output\none\n/\n```\n",
        "<!-- run as: ada -->\n```console\n$ echo $PGUSER\nada\n```\n\n```console\n$ echo $PGUSER\ndba\n```\n",
        "<!-- stands for: ID = echo 17 -->\n```console\n$ echo ID and ID\n17 and 17\n```\n",
        "<!-- types: y n -->\n```console\n$ read a; read b; test -t 0 && echo $a $b\ny n\n```\n",
        "<!-- ends with: 3 -->\n```sh\nexit 3\n```\n",
        "<!-- not run: it fails -->\n```sh\nfalse\n```\n",
        "```sh\necho 6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f\n```\n\n"
        "```output\n0f5c3e1a-7d2b-4c68-9b1f-2e6d8a4c7b90\n```\n",
    ],
)
def test_what_holds_passes(tmp_path: Path, text: str) -> None:
    run(tmp_path, text)

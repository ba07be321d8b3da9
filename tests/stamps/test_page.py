"""docs/time-stamps.md: what it prints works, with openssl alone; the command, with an authority of our own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from tests.documents.blocks import Block, read_page
from tests.documents.output import is_as_said
from tests.stamps.authority import Authority, answers, serve
from tests.support import ROOT

pytestmark = pytest.mark.any_server

NOTE = "alpha-db/6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f/checkpoint_runs\n1\nAAAA\n\n— desk AAAA\n"
PLACE = "/mnt/witness/trading"
URL = "https://tsa.example/tsr"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def run(tmp_path: Path, authority: Authority) -> Path:
    """The only run in a directory of checkpoints, and beside it the root's certificate."""
    run = tmp_path / "trading" / "000000001"
    run.mkdir(parents=True)
    (run / "checkpoint.note").write_text(NOTE, encoding="utf-8")
    for place in (tmp_path, run):
        (place / "tsa-ca.pem").write_bytes(authority.ca.read_bytes())
    return run


def blocks() -> list[Block]:
    return read_page(ROOT / "docs" / "time-stamps.md").blocks


def printed(block: Block, folder: Path, expect: int = 0) -> str:
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done
    return done.stdout


def test_the_page_runs_as_printed(
    run: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, by_hand, output, later = blocks()
    monkeypatch.chdir(run.parent.parent)
    with serve(lambda request, query: answers(authority.reply(query))(request, query)) as served:
        words = command.text.replace(URL, served.url).replace(PLACE, "trading").split()
        assert words[0] == "alpha-db"
        assert main(words[1:]) == 0
        assert "000000001 existed at " in capsys.readouterr().out
    assert is_as_said(output.text, printed(by_hand, run))
    assert "Verification: OK" in printed(later, run)
    (run / "checkpoint.note").write_text(NOTE.replace("\n1\n", "\n2\n"), encoding="utf-8")
    for block in (by_hand, later):
        assert printed(block, run, expect=1).endswith("Verification: FAILED\n")

"""docs/time-stamps.md: what it prints works, with openssl alone; the command, with an authority of our own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from tests.checkpoint.book import Book, public
from tests.documents.blocks import Block, read_page
from tests.documents.output import is_as_said
from tests.stamps.authority import Authority, answers, serve
from tests.support import ROOT

PLACE = "/mnt/checkpoints/trading"
URL = "https://tsa.example/tsr"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def run(signed_book: Book, tmp_path: Path, authority: Authority) -> Path:
    """The last of three runs in the directory `trading`; beside that, the root's certificate and the public key."""
    shutil.copytree(signed_book.checkpoints, tmp_path / "trading")
    run = tmp_path / "trading" / "000000003"
    shutil.copy(public(signed_book.key), tmp_path)
    for place in (tmp_path, run):
        shutil.copy(authority.ca, place / "tsa-ca.pem")
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
    command, again, by_hand, output, later = blocks()
    monkeypatch.chdir(run.parent.parent)
    with serve(lambda request, query: answers(authority.reply(query))(request, query)) as served:
        for block, said in (
            (command, "000000003 existed at "),
            (again, "000000003/stamp-1.tsr  existed at "),
        ):
            text = block.text.replace("\\\n", "")
            words = text.replace(URL, served.url).replace(PLACE, "trading").split()
            assert words[0] == "alpha-db"
            assert main(words[1:]) == 0
            assert said in capsys.readouterr().out
    assert is_as_said(output.text, printed(by_hand, run))
    assert "Verification: OK" in printed(later, run)
    shutil.copy(run.parent / "000000002" / "checkpoint.note", run)
    for block in (by_hand, later):
        assert printed(block, run, expect=1).endswith("Verification: FAILED\n")

"""The man page and the completion, which are made of the commands themselves."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from alpha_db.shell.completion import SHELLS
from tests.cli.test_tree import COMMANDS
from tests.support import ROOT

pytestmark = pytest.mark.any_server

PAGE = ROOT / "docs" / "man" / "alpha-db.1"


def made() -> str:
    spec = importlib.util.spec_from_file_location("man_page", ROOT / "bin" / "lib" / "man_page.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.page())


def test_the_page_is_what_the_help_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == made(), "python bin/lib/man_page.py > docs/man/alpha-db.1"


def test_the_page_has_every_command() -> None:
    text = PAGE.read_text(encoding="utf-8").replace("\\-", "-")
    assert [name for name in COMMANDS if f".SS {name}\n" not in text] == []


def test_the_page_is_good_roff() -> None:
    if not shutil.which("groff"):
        pytest.skip("there is no groff")
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", str(PAGE)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    assert said.stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_ALPHA_DB_COMPLETE" in script
    if shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(script)
        subprocess.run([shell, "-n", file], check=True)


def test_what_a_shell_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ALPHA_DB_COMPLETE", "bash_complete")
    for words, expected in (("alpha-db sta", "status"), ("alpha-db risk watch --o", "--once")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        assert main([]) == 0
        assert capsys.readouterr().out == f"plain,{expected}\n"

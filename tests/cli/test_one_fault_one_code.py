"""A file that is not there is exit code 5, one that cannot be read or holds something else 3, in every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence.checkpoint.guards import Since
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.cli.guards import _tell_since
from alpha_db.evidence.offline_check import Refused, open_note
from alpha_db.security.audit_signer import AuditSigner
from alpha_db.verify.cli.verify_report import since

pytestmark = pytest.mark.any_server

COMMANDS = {
    "checkpoint verify --trust": ("checkpoint", "verify", "here", "--trust"),
    "verify-export --trust": ("verify-export", "here", "--trust"),
    "risk verify --trust": ("risk", "verify", "--trust"),
    "checkpoint show": ("checkpoint", "show", "--key"),
    "agents show": ("agents", "show", "--key"),
    "agents bootstrap": ("agents", "bootstrap"),
    "agents enrol": ("agents", "enrol", "--reason", "x", "--key", "k"),
    "risk update-param": ("risk", "update-param", "--reason", "x", "--key", "k", "--from"),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("empty", b""), ("text", b"hello\n"), ("utf32", "{".encode("utf-32"))):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize("command", COMMANDS)
def test_one_fault_one_code(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, code in (("absent", 5), ("empty", 3), ("text", 3), ("utf32", 3), ("loop", 3), ("folder", 3)):
        assert main([*COMMANDS[command], name]) == code, (name, capsys.readouterr())
        assert name in capsys.readouterr().err


def test_the_public_key_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "k.vkey").write_text(f"{SigningKey.generate('desk').vkey}\n")
    (tmp_path / "k.json").write_text(f'{{"public_key": "{AuditSigner.generate().public_key_hex}"}}\n')
    assert main(["checkpoint", "show", "--key", "k.vkey"]) == 3
    assert "k.vkey is a public key, not the private one. HINT: Give the file" in capsys.readouterr().err
    assert main(["agents", "show", "--key", "k.vkey"]) == 3
    assert "k.vkey holds a public key for checkpoints" in capsys.readouterr().err
    assert main(["agents", "show", "--key", "k.json"]) == 3
    assert "k.json holds the public half of an agent" in capsys.readouterr().err


def test_a_private_key_that_others_can_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SigningKey.generate("desk").save(tmp_path / "k")
    (tmp_path / "k").chmod(0o644)
    assert main(["checkpoint", "show", "--key", "k"]) == 3
    assert "can be read by others (mode 0644). HINT: chmod 600" in capsys.readouterr().err


def test_since_when_nobody_recorded() -> None:
    assert since(None) == ", nobody recorded since when"
    assert since("noon") == " since noon"


def test_one_fact_and_two_facts(capsys: pytest.CaptureFixture[str]) -> None:
    for count, words in (
        (1, "1 fact about the guards is not as in R"),
        (2, "2 facts about the guards are not as in R"),
    ):
        fact = dict.fromkeys(("problem", "object_kind", "object_name", "fact", "expected", "found"), "x")
        _tell_since(Since("R", "desk", True, [fact] * count, [], [], None))
        assert words in capsys.readouterr().out


def test_the_keys_of_namesakes_are_told_apart() -> None:
    one, other = SigningKey.generate("desk"), SigningKey.generate("desk")
    with pytest.raises(Refused) as caught:
        open_note(f"x\n\n{one.sign('x' + chr(10))}", [other.trusted])
    assert f"desk (key {one.key_id.hex()}), which is none" in str(caught.value)
    assert str(caught.value).endswith(f"desk (key {other.key_id.hex()})")


def test_a_number_is_called_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify-chain", "--from-id", "x"]) == 2
    assert "'x' is not a valid integer" in capsys.readouterr().err
    assert main(["--lock-timeout", "x", "status"]) == 2
    assert "'x' is not a valid number" in capsys.readouterr().err

"""--key and --public of commands that need no database: what is printed, and what is wrong usage."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.cli.main import main
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.witness.keys import WitnessKey
from alpha_db.security.audit_signer import AuditSigner
from alpha_db.security.key_option import KEY
from alpha_db.security.signer import TRIAL
from tests.cli.desk import Result
from tests.keys.holders import needs_agent, python, ssh_agent
from tests.witness.by_hand import LOG
from tests.witness.running import in_process

pytestmark = pytest.mark.any_server
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
#: Prints the signature of TRIAL, whatever it is asked to sign.
COMMAND = f"exec:{python(f'print({PRIVATE.sign(TRIAL).hex()!r})')}"
NAME = "audit.example.org/trading"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run alpha-db in a directory with the public half of a key in `ada.pub`."""
    monkeypatch.chdir(tmp_path)
    Path("ada.pub").write_text(PUBLIC.hex(), encoding="utf-8")
    Path("ada.json").write_text("[]", encoding="utf-8")

    def run(*arguments: str, expect: int = 0) -> Result:
        capsys.readouterr()
        code = main([*arguments])
        out, err = capsys.readouterr()
        assert code == expect, (code, out, err)
        assert err.count("\n") == (expect != 0), "one line"
        return Result(code, out, err)

    return run


def test_show_says_whose_key_a_command_signs_with(run: Run) -> None:
    shown = run("agents", "show", "--key", COMMAND, "--public", "ada.pub", "--json").json
    assert (shown["name"], shown["public_key"]) == ("ada", PUBLIC.hex())


def test_show_finds_that_a_command_does_not_sign(run: Run) -> None:
    for command, expect in (("exec:true", 3), ("exec:no-such-program", 5), ("exec:false", 3)):
        run("agents", "show", "--key", command, "--public", "ada.pub", expect=expect)
        run("checkpoint", "show", "--key", command, "--public", "ada.pub", "--name", NAME, expect=expect)


@needs_agent
def test_show_has_the_name_from_the_comment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with ssh_agent() as agent:
        agent.add("ben@desk")
        monkeypatch.setenv("SSH_AUTH_SOCK", agent.environment["SSH_AUTH_SOCK"])
        assert run("agents", "show", "--key", "ssh-agent:ben@desk", "--json").json["name"] == "ben@desk"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["agents", "show", "--key", "exec:true"], "give its public half, --public FILE"),
        (["agents", "show", "--key", "exec:"], "there is no command after exec:"),
        (["agents", "show", "--key", "exec:'"], "a quote that is not closed"),
        (["agents", "show", "--key", "ssh-agent:"], "there is no comment after ssh-agent:"),
        (["checkpoint", "show", "--key", "ssh-agent:x"], "give it one, --name NAME"),
        (["checkpoint", "show", "--key", "exec:true", "--name", NAME], "give its public half"),
        (["checkpoint", "show", "--key", "a.key", "--name", NAME], "are for a key that is in no file"),
        (["checkpoint", "create", ".", "--key", "ssh-agent:x"], "--public FILE, which `show` prints"),
        (["witness", "show", "--key", "exec:true"], "give it one, --name NAME"),
        (
            ["agents", "bootstrap", "ada.json", "--key", "a.key", "--public", "ada.pub"],
            "there are more files than these",
        ),
    ],
)
def test_wrong_usage(run: Run, words: list[str], said: str) -> None:
    assert said in run(*words, expect=2).err


def test_a_public_half_of_another_key_is_refused_for_a_file_too(run: Run) -> None:
    AuditSigner.generate().save("ben.key")
    assert "is not the key of which" in run(
        "agents", "show", "--key", "ben.key", "--public", "ada.pub", expect=3
    ).err  # fmt: skip


@pytest.mark.parametrize(("group", "kind"), [("checkpoint", SigningKey), ("witness", WitnessKey)])
def test_show_prints_a_vkey_that_has_the_name(run: Run, group: str, kind: type[SigningKey]) -> None:
    shown = run(group, "show", "--key", COMMAND, "--public", "ada.pub", "--name", NAME).out
    Path("desk.vkey").write_text(shown, encoding="utf-8")
    assert shown == f"{kind(NAME, PRIVATE).vkey}\n"
    assert kind.read_vkey("desk.vkey") == (NAME, PUBLIC)


def test_a_vkey_of_the_other_kind_is_refused(run: Run) -> None:
    Path("w.vkey").write_text(WitnessKey(NAME, PRIVATE).vkey, encoding="utf-8")
    found = run("checkpoint", "create", ".", "--key", COMMAND, "--public", "w.vkey", expect=3)
    assert "is not a public key for checkpoints" in found.err
    Path("bad.vkey").write_text(SigningKey(NAME, PRIVATE).vkey.replace("trading", "other"), encoding="utf-8")
    found = run("checkpoint", "create", ".", "--key", COMMAND, "--public", "bad.vkey", expect=3)
    assert "the key's id is not that of its name and key" in found.err


def test_a_vkey_of_another_key_than_the_file_is_refused(run: Run) -> None:
    SigningKey.generate(NAME).save("desk.key")
    Path("other.vkey").write_text(SigningKey(NAME, PRIVATE).vkey, encoding="utf-8")
    found = run("checkpoint", "create", ".", "--key", "desk.key", "--public", "other.vkey", expect=3)
    assert "is not the public half of this key" in found.err


def test_a_witness_whose_key_does_not_sign_answers_so_and_remembers_nothing(tmp_path: Path) -> None:
    key = WitnessKey.open(COMMAND, "witness.example/w1", PUBLIC)  # signs TRIAL alone
    with in_process(tmp_path, key=key) as witness:
        answered = witness.post(LOG.request(0, 3))
        assert (answered.status, answered.body) == (500, "the key of the witness does not sign\n")
        assert witness.size() == 0
    assert "does not hold, so nothing was sent" in "".join(witness.told)


def test_a_key_in_no_file_signs_notes() -> None:
    text = f"{NAME}\n1\n{base64.b64encode(bytes(32)).decode()}\n"
    command = f"exec:{python(f'print({PRIVATE.sign(text.encode()).hex()!r})')}"
    assert SigningKey.open(command, NAME, PUBLIC).sign(text) == SigningKey(NAME, PRIVATE).sign(text)


def test_the_shell_completes_kinds_of_keys_and_files() -> None:
    def offered(incomplete: str) -> list[tuple[str, str]]:
        return [(item.type, item.value) for item in KEY.shell_complete(None, None, incomplete)]  # type: ignore[arg-type]

    assert offered("ssh") == [("plain", "ssh-agent:")]
    assert offered("exe") == [("plain", "exec:")]
    assert offered("e") == [("file", "e")]

"""Keys in a real ssh-agent: found by comment or fingerprint, refused in words, and never believed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from alpha_db.errors import NotThere, ValueRefused
from alpha_db.security.audit_signer import AuditSigner, KeyFileError, SignerError, verify_text
from alpha_db.security.public_file import read_public
from alpha_db.security.ssh_agent import SshAgentKey
from tests.keys.holders import Agent, needs_agent, ssh_agent

pytestmark = [pytest.mark.any_server, needs_agent]
TEXT = "alpha-db/approval/v1\n€ und ä\n" * 200


@pytest.fixture(scope="module")
def shared() -> Iterator[Agent]:
    with ssh_agent() as agent:
        yield agent


@pytest.fixture
def agent(shared: Agent, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setenv("SSH_AUTH_SOCK", shared.environment["SSH_AUTH_SOCK"])
    yield shared
    shared.run("ssh-add", "-q", "-D")


def refused(key: str) -> SignerError:
    with pytest.raises(SignerError) as caught:
        AuditSigner.open(key).sign(TEXT)
    assert caught.value.hint
    return caught.value


def test_a_key_signs_what_its_public_half_verifies(agent: Agent) -> None:
    public = read_public(agent.add("ada@desk"))
    signer = AuditSigner.open("ssh-agent:ada@desk", public_key=public)
    assert signer.public_key == public
    assert verify_text(public, TEXT, signer.sign(TEXT))


def test_a_key_that_keygen_made_is_taken_by_ssh_add(agent: Agent) -> None:
    made, file = AuditSigner.generate(), agent.folder / "ada.key"
    made.save(file, form="openssh")
    agent.run("ssh-add", "-q", "ada.key")
    assert AuditSigner.open("ssh-agent:ada.key").public_key == made.public_key


def test_a_key_is_found_by_its_fingerprint_where_comments_are_alike(agent: Agent) -> None:
    files = [agent.add("ada"), agent.add("ada")]
    prints = [agent.run("ssh-keygen", "-lf", str(file)).split()[1] for file in files]
    problem = refused("ssh-agent:ada")
    assert "2 Ed25519 keys with the comment ada" in problem.message
    assert all(f"ssh-agent:{one}" in str(problem.hint) for one in prints)
    found = [AuditSigner.open(f"ssh-agent:{one}").public_key for one in prints]
    assert found == [read_public(file) for file in files]


def test_the_key_of_another_kind_with_the_same_comment_does_not_matter(agent: Agent) -> None:
    agent.add("ada", kind="ecdsa")
    public = read_public(agent.add("ada"))
    assert AuditSigner.open("ssh-agent:ada").public_key == public


@pytest.mark.parametrize(("kind", "said"), [("rsa", "ssh-rsa"), ("ecdsa", "ecdsa-sha2-nistp256")])
def test_a_key_of_another_kind_is_refused(agent: Agent, kind: str, said: str) -> None:
    agent.add("old", kind=kind)
    assert refused("ssh-agent:old").message == f"the key old in the ssh-agent is {said}, not ssh-ed25519"


def test_a_comment_that_is_not_there_is_told_with_those_that_are(agent: Agent) -> None:
    agent.add("ada")
    agent.add("\x1b[31mben")
    problem = refused("ssh-agent:cyd")
    assert isinstance(problem, NotThere)
    assert problem.detail == r"It has: ada, \u001b[31mben."


def test_an_empty_agent_and_a_locked_one_show_no_keys(agent: Agent) -> None:
    assert "it is empty or locked" in refused("ssh-agent:ada").message
    agent.add("ada")
    agent.run("ssh-add", "-x")
    try:
        assert "ssh-add -X unlocks" in str(refused("ssh-agent:ada").hint)
    finally:
        agent.run("ssh-add", "-X")


def test_an_agent_that_is_locked_meanwhile_refuses(agent: Agent) -> None:
    agent.add("ada")
    signer = AuditSigner.open("ssh-agent:ada")
    agent.run("ssh-add", "-x")
    try:
        with pytest.raises(SignerError, match="the ssh-agent refuses to sign with ada"):
            signer.sign(TEXT)
    finally:
        agent.run("ssh-add", "-X")


def test_a_signature_that_a_person_did_not_confirm_is_refused(agent: Agent) -> None:
    agent.add("ada", "-c")
    problem = refused("ssh-agent:ada")
    assert "refuses to sign" in problem.message
    assert "Confirm" in str(problem.hint)


def test_a_key_that_is_not_that_of_the_public_half_is_refused(agent: Agent) -> None:
    agent.add("ada")
    with pytest.raises(SignerError, match="is not the key of which the public half was given"):
        AuditSigner.open("ssh-agent:ada", public_key=AuditSigner.generate().public_key)


def test_there_is_no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert "SSH_AUTH_SOCK is not set" in refused("ssh-agent:ada").message
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert "No such file or directory" in refused("ssh-agent:ada").message


def test_a_key_of_an_agent_is_never_written_into_a_file(agent: Agent, tmp_path: Path) -> None:
    agent.add("ada")
    with pytest.raises(KeyFileError, match="cannot be written into a file"):
        AuditSigner.open("ssh-agent:ada").save(tmp_path / "ada.key")


def test_no_comment_is_no_key() -> None:
    with pytest.raises(ValueRefused):
        AuditSigner.open("ssh-agent:")


def string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


KEY = AuditSigner.generate()
LISTED = (
    b"\x0c"
    + (1).to_bytes(4, "big")
    + string(string(b"ssh-ed25519") + string(KEY.public_key))
    + string(b"ada")
)


def signed(signature: bytes, kind: bytes = b"ssh-ed25519") -> bytes:
    return string(b"\x0e" + string(string(kind) + string(signature)))


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([b""], "does not answer as an ssh-agent"),
        ([b"\xff\xff\xff\xff"], "does not answer as an ssh-agent"),
        ([string(b"")], "does not answer as an ssh-agent"),
        ([string(LISTED[:-2])], "does not answer as an ssh-agent"),
        ([string(b"\x0c\xff\xff\xff\xff")], "does not answer as an ssh-agent"),
        ([string(b"\x05")], "does not list its keys"),
        ([b"HTTP/1.1 400 Bad Request\r\n"], "does not answer as an ssh-agent"),
        ([string(LISTED), signed(bytes(64))], "does not hold, so nothing was sent"),
        ([string(LISTED), signed(KEY.sign("another text"))], "does not hold, so nothing was sent"),
        ([string(LISTED), signed(KEY.sign(TEXT)[:63])], "does not hold, so nothing was sent"),
        ([string(LISTED), signed(KEY.sign(TEXT), b"ssh-rsa")], "does not answer as an ssh-agent"),
        ([string(LISTED), string(b"\x0e")], "does not answer as an ssh-agent"),
    ],
)
def test_an_agent_that_lies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: list[bytes], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSH_AUTH_SOCK", "liar")
    with socket.socket(socket.AF_UNIX) as liar:
        liar.bind("liar")
        liar.listen()

        def serve() -> None:
            for answer in answers:
                asking = liar.accept()[0]
                with asking:
                    asking.recv(65536)
                    asking.sendall(answer)

        served = Thread(target=serve)
        served.start()
        with pytest.raises(SignerError, match=said):
            AuditSigner.open("ssh-agent:ada").sign(TEXT)
        served.join()


def test_an_agent_that_answers_a_byte_at_a_time_has_no_more_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSH_AUTH_SOCK", "slow")
    gone = Event()
    with socket.socket(socket.AF_UNIX) as slow:
        slow.bind("slow")
        slow.listen()

        def serve() -> None:
            with slow.accept()[0] as asking, suppress(OSError):
                asking.recv(65536)
                for byte in string(LISTED):
                    if gone.wait(0.05):
                        return
                    asking.sendall(bytes([byte]))

        served = Thread(target=serve)
        served.start()
        with pytest.raises(SignerError, match=r"did not answer within 0\.2 s"):
            SshAgentKey("ada", seconds=0.2)
        gone.set()
        served.join()

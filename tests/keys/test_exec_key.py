"""Keys behind a command: what it may print, and everything that it may do instead of signing."""

from __future__ import annotations

import base64
import os
import shlex
from pathlib import Path

import pytest

from alpha_db.errors import NotThere, ValueRefused
from alpha_db.security.audit_signer import AuditSigner, SignerError, verify_text
from alpha_db.security.exec_key import ExecKey
from alpha_db.security.public_file import read_public
from tests.keys.holders import make_token, needs_openssl, needs_token, python
from tests.support import ROOT

pytestmark = pytest.mark.any_server
TEXT = "alpha-db/approval/v1\n€ und ä\n"
KEY = AuditSigner.generate()
SIGNATURE = KEY.sign(TEXT)


def opened(command: str, public_key: bytes = KEY.public_key) -> AuditSigner:
    return AuditSigner.open(f"exec:{command}", public_key=public_key)


def prints(content: bytes) -> str:
    return python(f"import sys; sys.stdout.buffer.write({content!r})")


@needs_openssl
def test_openssl_signs_as_a_command_of_one_line(tmp_path: Path) -> None:
    KEY.save(tmp_path / "ada key.pem")
    command = f"openssl pkeyutl -sign -rawin -in /dev/stdin -inkey '{tmp_path}/ada key.pem'"
    assert verify_text(KEY.public_key, TEXT * 1000, opened(command).sign(TEXT * 1000))


@needs_token
@pytest.mark.parametrize("characters", [1, 1024])
def test_the_script_signs_with_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    token = make_token(tmp_path)
    public = read_public(token.add("ada"))
    for name, value in token.environment.items():
        monkeypatch.setenv(name, value)
    script = shlex.join(
        [f"{ROOT}/examples/keys/pkcs11-sign.sh", "/usr/lib/softhsm/libsofthsm2.so", "desk", "ada"]
    )
    assert verify_text(public, "x" * characters, opened(script, public).sign("x" * characters))
    with pytest.raises(SignerError) as caught:
        opened(script, public).sign("x" * 1025)
    assert "no text of more than 1,024 bytes" in str(caught.value.detail)


def test_the_script_asks_kms_to_sign_the_text_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KEY.save(tmp_path / "ada.key")
    wanted = ("kms sign --key-id alias/desk --message fileb:///dev/stdin --message-type RAW"
              " --signing-algorithm ED25519_SHA_512 --query Signature --output text")  # fmt: skip
    (tmp_path / "aws").write_text(
        f'#!/bin/sh\n[ "$*" = "{wanted}" ] || exit 252\n'
        f"openssl pkeyutl -sign -rawin -in /dev/stdin -inkey {tmp_path}/ada.key | base64 -w 0; echo\n"
    )
    (tmp_path / "aws").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    script = f"{ROOT}/examples/keys/aws-kms-sign.sh alias/desk"
    assert opened(script).sign(TEXT) == SIGNATURE


@pytest.mark.parametrize(
    "printed",
    [
        SIGNATURE,
        SIGNATURE.hex().encode() + b"\n",
        SIGNATURE.hex().upper().encode(),
        SIGNATURE.hex(":", 32).replace(":", "\r\n").encode(),
        base64.b64encode(SIGNATURE) + b"\r\n",
        base64.b64encode(SIGNATURE).rstrip(b"="),
    ],
    ids=["raw", "hex", "HEX", "hex in lines", "base64", "base64 without its end"],
)
def test_a_signature_is_taken_as(printed: bytes) -> None:
    assert opened(prints(printed)).sign(TEXT) == SIGNATURE


BAD = {
    "another text's": (KEY.sign("x"), "does not hold, so nothing was sent"),
    "another key's": (AuditSigner.generate().sign(TEXT), "does not hold, so nothing was sent"),
    "one bit": (bytes([SIGNATURE[0] ^ 1]) + SIGNATURE[1:], "does not hold, so nothing was sent"),
    "64 zeros": (bytes(64), "does not hold, so nothing was sent"),
    "nothing": (b"", "printed nothing"),
    "words": (b"Signature: ok\n", "printed 14 bytes that are no signature"),
    "a line feed after it": (SIGNATURE + b"\n", "printed 65 bytes that are no signature"),
    "half of it": (SIGNATURE.hex()[:64].encode(), "does not hold, so nothing was sent"),
    "more than it": (SIGNATURE.hex().encode() + b"00", "printed 130 bytes that are no signature"),
    "too much": (b"x" * 1025, "prints too much to be a signature"),
}


@pytest.mark.parametrize(("printed", "said"), BAD.values(), ids=BAD)
def test_what_is_no_signature_of_the_text_is_refused(printed: bytes, said: str) -> None:
    with pytest.raises(SignerError, match=said):
        opened(prints(printed)).sign(TEXT)


def test_a_command_that_never_ends_its_output_is_ended() -> None:
    with pytest.raises(SignerError, match="yes prints too much"):
        opened("yes").sign(TEXT)


def test_a_command_that_complains_for_ever_is_ended() -> None:
    complains = python("import sys\nwhile True: sys.stderr.write('no ' * 1000)")
    with pytest.raises(SignerError, match="did not sign within") as caught:
        ExecKey(complains, KEY.public_key, seconds=0.5).sign(b"x")
    assert len(str(caught.value.detail)) < 600


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    hang = python(
        f"import os, signal; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()));"
        " os.write(2, b'Touch it.'); signal.pause()"
    )
    with pytest.raises(SignerError, match=r"did not sign within 0\.5 s, and was ended") as caught:
        ExecKey(hang, KEY.public_key, seconds=0.5).sign(b"x")
    assert caught.value.detail == "It says: Touch it."
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_command_that_does_not_want_to_end_is_killed() -> None:
    hang = python(
        "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(1, b'x' * 2000); signal.pause()"
    )
    with pytest.raises(SignerError, match="prints too much"):
        opened(hang).sign(TEXT)


def test_a_command_that_closes_its_output_and_stays_is_ended() -> None:
    hang = python("import os, signal; os.close(1); os.close(2); signal.pause()")
    with pytest.raises(SignerError, match="did not sign within"):
        ExecKey(hang, KEY.public_key, seconds=0.5).sign(b"x")


def test_a_command_that_fails_says_why_and_not_with_what() -> None:
    fails = python("import sys; sys.stderr.write('\\x1b[31mPIN\\nwrong ' + 'x' * 100_000); sys.exit(7)")
    with pytest.raises(SignerError, match="failed with exit code 7, so nothing was sent") as caught:
        opened(f"{fails} --pin 4321").sign(TEXT)
    assert "4321" not in str(caught.value) + str(caught.value.hint) + str(caught.value.detail)
    assert len(str(caught.value.detail)) < 600
    assert str(caught.value.detail).isprintable()


def test_a_signature_before_a_failure_does_not_count() -> None:
    with pytest.raises(SignerError, match="exit code 1"):
        opened(python(f"import sys; sys.stdout.buffer.write({SIGNATURE!r}); sys.exit(1)")).sign(TEXT)


def test_a_command_that_is_killed_says_so() -> None:
    with pytest.raises(SignerError, match="was ended by SIGKILL"):
        opened(python("import os; os.kill(os.getpid(), 9)")).sign(TEXT)


def test_a_program_that_is_not_there_or_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="there is no program no-such-program"):
        opened("no-such-program --pin 4321").sign(TEXT)
    (tmp_path / "plain").write_text("x")
    (tmp_path / "script").write_text("#!/no/such/shell\n")
    (tmp_path / "script").chmod(0o700)
    for command, said in (
        ("plain", "Permission denied"),
        ("a\\\0b", "NUL"),
        ("script", "its first line names"),
    ):
        with pytest.raises(SignerError, match=said):
            opened(f"{tmp_path}/{command}").sign(TEXT)


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    with pytest.raises(SignerError):
        opened(f"true; touch {tmp_path}/made").sign(TEXT)
    with pytest.raises(SignerError):
        opened(f"echo $(touch {tmp_path}/made) > {tmp_path}/made").sign(TEXT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["", " ", "'", "''"])
def test_what_is_no_command(command: str) -> None:
    with pytest.raises(ValueRefused):
        opened(command)


def test_a_command_alone_does_not_say_whose_key_it_is() -> None:
    with pytest.raises(ValueRefused, match="needs its public half"):
        AuditSigner.open("exec:true")

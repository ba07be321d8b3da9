"""What holds keys that are in no file: a real ssh-agent, a token of SoftHSM2, and commands."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
needs_agent = pytest.mark.skipif(
    not shutil.which("ssh-agent"), reason="no ssh-agent here (Debian: apt-get install openssh-client)"
)
needs_token = pytest.mark.skipif(
    not (MODULE.exists() and shutil.which("pkcs11-tool") and shutil.which("softhsm2-util")),
    reason="no SoftHSM2 or pkcs11-tool here (Debian: apt-get install softhsm2 opensc)",
)
needs_openssl = pytest.mark.skipif(
    not shutil.which("openssl"), reason="no openssl here (Debian: apt-get install openssl)"
)


@dataclass
class Agent:
    """An ssh-agent, and a folder for keys; what asks for a passphrase is told `answer`."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done)
        return done.stdout

    def add(self, comment: str, *options: str, kind: str = "ed25519") -> Path:
        """Make a key and hand it to the agent; gives the file of its public half."""
        file = self.folder / f"{len(list(self.folder.iterdir()))}-{kind}"
        bits = ["-b", "1024"] if kind == "rsa" else []
        self.run("ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", comment, "-f", str(file))
        self.run("ssh-add", "-q", *options, str(file))
        return file.with_name(f"{file.name}.pub")


@contextmanager
def ssh_agent() -> Iterator[Agent]:
    """An ssh-agent that confirms nothing, in a folder whose name is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="agent-"))
    answer = folder / "answer"
    answer.write_text("#!/bin/sh\necho secret\n")
    answer.chmod(0o700)
    given = {**os.environ, "SSH_AUTH_SOCK": str(folder / "socket")}
    command = ["ssh-agent", "-D", "-a", given["SSH_AUTH_SOCK"]]
    process = subprocess.Popen(command, env=given | {"SSH_ASKPASS": "/bin/false"}, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline().startswith(b"SSH_AUTH_SOCK=")  # it listens
        yield Agent(folder, given | {"SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"})
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Token:
    """A token of SoftHSM2, and what the script of examples/ needs to sign with a key in it."""

    folder: Path
    environment: dict[str, str]

    def tool(self, *options: str) -> bytes:
        command = ["pkcs11-tool", "--module", str(MODULE), "--token-label", "desk", *options]
        given = os.environ | self.environment
        return subprocess.run(command, env=given, capture_output=True, check=True).stdout

    def add(self, label: str) -> Path:
        """Make an Ed25519 key in the token; gives a file of its public half."""
        made = ("--keypairgen", "--key-type", "EC:edwards25519", "--label", label)
        self.tool("--login", "--pin", "env:PKCS11_PIN", *made)
        file = self.folder / f"{label}.pem"
        file.write_bytes(self.tool("--read-object", "--type", "pubkey", "--label", label))
        return file


def make_token(folder: Path) -> Token:
    """A new token, called desk."""
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    given = {"SOFTHSM2_CONF": str(config), "PKCS11_PIN": "4321"}
    command = ["softhsm2-util", "--init-token", "--free", "--label", "desk", "--so-pin", "87654321"]
    subprocess.run([*command, "--pin", "4321"], env=os.environ | given, stdout=subprocess.DEVNULL, check=True)
    return Token(folder, given)


def python(program: str) -> str:
    """The command that runs a program of Python."""
    return shlex.join([sys.executable, "-I", "-c", program])

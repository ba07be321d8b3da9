"""A key behind a command, as in an HSM or a cloud's key service: the text goes to its stdin, it prints the signature.

The command is no shell line: it is split into words as a shell does, and run. Its stdin is a file, because openssl
takes no pipe. What it prints is taken only if it is a signature of that very text by the public key that was named.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from shutil import which

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from alpha_db.cli.output import clean
from alpha_db.errors import ValueRefused, shorten
from alpha_db.security.reading import reason_of
from alpha_db.security.signer import PATIENCE, SignerError, SignerNotThere, checked

#: The most that a command prints: 128 hex digits, and room for line ends.
_MOST = 1024
#: How many seconds a command has to end itself when it is told to.
_GRACE = 1.0
#: How much of the end of its stderr is kept.
_LAST = 2000
_FORMS = "It prints 64 bytes, their base64, or 128 hex digits, and nothing else."


def words_of(command: str) -> list[str]:
    """Return a command's words, as a shell splits them. Raises ValueRefused if there are none, or a quote is open."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise ValueRefused("the command after exec: has a quote that is not closed") from None
    if not words or not words[0]:
        raise ValueRefused("there is no command after exec:")
    return words


class ExecKey:
    """The key that a command signs with, and its public half."""

    def __init__(self, command: str, public_key: bytes, *, seconds: float = PATIENCE) -> None:
        """Take a command, the public key (32 bytes), and how long to wait. Raises ValueRefused."""
        self._words, self._seconds = words_of(command), seconds
        self._public_key = Ed25519PublicKey.from_public_bytes(public_key)
        #: the program alone: what follows it may be a secret
        self._name = clean(Path(self._words[0]).name or self._words[0])

    def public_key(self) -> Ed25519PublicKey:
        """Return the public half."""
        return self._public_key

    def sign(self, data: bytes, /) -> bytes:
        """Run the command; return its signature, 64 bytes, which the public key was seen to verify.

        Raises SignerError; SignerNotThere if there is no such program.
        """
        printed = self._run(data)
        signature = _signature_in(printed)
        if signature is None:
            count = f"{len(printed)} bytes that are no signature" if printed else "nothing"
            raise SignerError(f"{self._name} printed {count}", hint=_FORMS)
        return checked(
            self._public_key.public_bytes_raw(),
            data,
            signature,
            said=f"the signature by {self._name} does not hold, so nothing was sent",
            hint="Name the public half of the same key. The command must sign the bytes themselves, not their hash.",
        )

    def _run(self, data: bytes) -> bytes:
        with self._begun(data) as process:
            try:
                out, err = self._printed(process)
            except BaseException:
                _end(process)
                raise
        if process.returncode:
            raise SignerError(f"{self._name} {_ended(process.returncode)}, so nothing was sent", detail=err)
        return out

    def _begun(self, data: bytes) -> subprocess.Popen[bytes]:
        try:
            given = tempfile.TemporaryFile()  # noqa: SIM115
        except OSError as problem:
            raise SignerError(f"there is no place for a temporary file: {reason_of(problem)}") from None
        with given:
            try:
                given.write(data)
                given.seek(0)
                return subprocess.Popen(
                    self._words, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            except FileNotFoundError:
                if which(self._words[0]):
                    raise SignerError(
                        f"cannot run {self._name}: its first line names a program that is not there"
                    ) from None
                raise SignerNotThere(f"there is no program {self._name}") from None
            except (OSError, ValueError) as problem:
                raise SignerError(f"cannot run {self._name}: {reason_of(problem)}") from None

    def _printed(self, process: subprocess.Popen[bytes]) -> tuple[bytes, str | None]:
        """Return what a command printed until it ended, and the end of what it said on stderr, for people."""
        printed = {process.stdout: b"", process.stderr: b""}
        end = time.monotonic() + self._seconds
        with selectors.DefaultSelector() as waiting:
            for stream in printed:
                assert stream is not None
                waiting.register(stream, selectors.EVENT_READ, stream)
            while waiting.get_map():
                ready = waiting.select(max(end - time.monotonic(), 0))
                if not ready or time.monotonic() > end:  # some always have something to say
                    raise self._late(printed[process.stderr])
                for key, _ in ready:
                    piece = os.read(key.fd, 65536)
                    if not piece:
                        waiting.unregister(key.fileobj)
                    printed[key.data] += piece
                printed[process.stderr] = printed[process.stderr][-_LAST:]
                if len(printed[process.stdout]) > _MOST:
                    raise SignerError(f"{self._name} prints too much to be a signature", hint=_FORMS)
        try:
            process.wait(max(end - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            raise self._late(printed[process.stderr]) from None
        return printed[process.stdout], _said(printed[process.stderr])

    def _late(self, err: bytes) -> SignerError:
        return SignerError(
            f"{self._name} did not sign within {self._seconds:g} s, and was ended", detail=_said(err)
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command, which first has a moment to put the terminal back in order."""
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _signature_in(printed: bytes) -> bytes | None:
    """The 64 bytes that were printed as they are, in hex or in base64; the length says which."""
    if len(printed) == 64:
        return printed
    text = b"".join(printed.split())
    if re.fullmatch(rb"[0-9A-Fa-f]{128}", text):
        return bytes.fromhex(text.decode())
    if re.fullmatch(rb"[A-Za-z0-9+/]{86}(==)?", text):
        try:
            return base64.b64decode(text[:86] + b"==", validate=True)
        except binascii.Error:
            return None
    return None


def _said(err: bytes) -> str | None:
    text = " ".join(clean(" ".join(err.decode("utf-8", "replace").split())).split())
    return f"It says: {shorten(text, 500)}" if text else None


def _ended(code: int) -> str:
    if code > 0:
        return f"failed with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"

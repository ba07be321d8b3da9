"""An Ed25519 key that an ssh-agent holds, or a program that speaks as one does (gpg-agent, a password manager).

Source: draft-ietf-sshm-ssh-agent, requests 11 (list) and 13 (sign), over the socket in SSH_AUTH_SOCK. The blob of a key
and a signature are those of RFC 8709.
"""

from __future__ import annotations

import base64
import os
import socket
import time
from hashlib import sha256
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from alpha_db.cli.output import clean
from alpha_db.errors import shorten
from alpha_db.security.reading import reason_of
from alpha_db.security.signer import PATIENCE, SignerError, SignerNotThere, checked

_FAILURE, _LIST, _LISTED, _SIGN, _SIGNED = 5, 11, 12, 13, 14
#: The longest answer, as in OpenSSH.
_MOST = 256 * 1024
_ED25519 = b"ssh-ed25519"
_LIST_HINT = "ssh-add -l lists the agent's keys, ssh-add FILE adds one, ssh-add -X unlocks a locked agent"


class _Held(NamedTuple):
    blob: bytes
    comment: str

    @property
    def kind(self) -> str:
        return _Reader(self.blob).string().decode("utf-8", "replace")

    @property
    def fingerprint(self) -> str:
        return f"SHA256:{base64.b64encode(sha256(self.blob).digest()).decode().rstrip('=')}"


class SshAgentKey:
    """A key in the ssh-agent, found by its comment or by its fingerprint as `ssh-add -l` prints them."""

    def __init__(self, wanted: str, *, seconds: float = PATIENCE) -> None:
        """Ask the agent for the key. Raises SignerError; SignerNotThere if the agent has no such key."""
        self._wanted, self._seconds = wanted, seconds
        self._blob = _chosen(wanted, _listed(seconds)).blob
        kind = _Reader(self._blob)
        kind.string()
        try:
            self._public_key = Ed25519PublicKey.from_public_bytes(kind.string())
        except ValueError:
            raise _malformed() from None

    def public_key(self) -> Ed25519PublicKey:
        """Return the public half."""
        return self._public_key

    def sign(self, data: bytes, /) -> bytes:
        """Return the signature, 64 bytes, which the public key was seen to verify. Raises SignerError."""
        kind, body = _ask(bytes([_SIGN]) + _string(self._blob) + _string(data) + bytes(4), self._seconds)
        if kind == _FAILURE:
            raise SignerError(
                f"the ssh-agent refuses to sign with {self._wanted}",
                hint="Confirm when it asks. If it is locked, or the key is gone: " + _LIST_HINT,
            )
        signed = _Reader(_Reader(body).string())
        algorithm, signature = signed.string(), signed.string()
        if kind != _SIGNED or algorithm != _ED25519:
            raise _malformed()
        said = f"the signature by {self._wanted} in the ssh-agent does not hold, so nothing was sent"
        return checked(
            self._public_key.public_bytes_raw(), data, signature, said=said, hint="Look at the agent."
        )


def _listed(seconds: float) -> list[_Held]:
    kind, body = _ask(bytes([_LIST]), seconds)
    if kind != _LISTED:
        raise SignerError("the ssh-agent does not list its keys", hint=_LIST_HINT)
    reader = _Reader(body)
    return [
        _Held(reader.string(), reader.string().decode("utf-8", "replace")) for _ in range(reader.number())
    ]


def _chosen(wanted: str, held: list[_Held]) -> _Held:
    named = [one for one in held if wanted in (one.comment, one.fingerprint)]
    fit = [one for one in named if one.kind == _ED25519.decode()]
    if len(fit) == 1:
        return fit[0]
    if fit:
        hint = " or ".join(f"ssh-agent:{one.fingerprint}" for one in fit[:4])
        raise SignerError(f"the ssh-agent has {len(fit)} Ed25519 keys with the comment {wanted}", hint=hint)
    if named:
        raise SignerError(
            f"the key {wanted} in the ssh-agent is {clean(named[0].kind)}, not ssh-ed25519",
            hint="ssh-keygen -t ed25519 makes a key that signs here; keys of FIDO tokens (sk-) do not",
        )
    if not held:
        raise SignerNotThere("the ssh-agent shows no keys: it is empty or locked", hint=_LIST_HINT)
    names = ", ".join(shorten(clean(one.comment), 40) or "one without a comment" for one in held[:8])
    raise SignerNotThere(
        f"the ssh-agent has no key {wanted}", detail=f"It has: {names}.", hint="ssh-add -l lists its keys"
    )


def _ask(message: bytes, seconds: float) -> tuple[int, bytes]:
    """Send a request; return the kind of the answer and what follows. Raises SignerError."""
    place = os.environ.get("SSH_AUTH_SOCK")
    if not place:
        raise SignerError(
            "no ssh-agent runs here: SSH_AUTH_SOCK is not set", hint='eval "$(ssh-agent -s)"; ssh-add FILE'
        )
    end = time.monotonic() + seconds
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(seconds)
            agent.connect(place)
            agent.sendall(_string(message))
            size = int.from_bytes(_received(agent, 4, end), "big")
            if not 0 < size <= _MOST:
                raise _malformed()
            answer = _received(agent, size, end)
    except TimeoutError:
        raise SignerError(f"the ssh-agent did not answer within {seconds:g} s") from None
    except (OSError, ValueError) as problem:
        raise SignerError(
            f"cannot ask the ssh-agent at {place}: {reason_of(problem)}",
            hint="SSH_AUTH_SOCK names the socket of an agent that runs",
        ) from None
    return answer[0], answer[1:]


def _received(agent: socket.socket, size: int, end: float) -> bytes:
    content = b""
    while len(content) < size:
        agent.settimeout(max(end - time.monotonic(), 0.001))  # of all pieces together
        piece = agent.recv(size - len(content))
        if not piece:
            raise _malformed()
        content += piece
    return content


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _malformed() -> SignerError:
    return SignerError("what listens at SSH_AUTH_SOCK does not answer as an ssh-agent")


class _Reader:
    """Reads the numbers and strings of SSH. Raises SignerError where bytes are missing."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def number(self) -> int:
        return int.from_bytes(self._taken(4), "big")

    def string(self) -> bytes:
        return self._taken(self.number())

    def _taken(self, size: int) -> bytes:
        taken = self._content[self._at : self._at + size]
        if len(taken) < size:
            raise _malformed()
        self._at += size
        return taken

"""What signs: a private key that was read from a file, a key in an ssh-agent, or a command.

All of them have the two methods of cryptography's Ed25519PrivateKey that signing needs, so a key from a file is a
signer as it is. What a signer outside of this process gives is verified before anybody else sees it.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.security.ed25519 import verify

#: How many seconds to wait for a signature: a person may have to touch a token, or to answer a question.
PATIENCE = 60.0
#: What a key outside is given to sign, to see that it signs. It is no proposal, no vote and no checkpoint.
TRIAL = b"alpha-db/trial/v1\nThis is to see that the key signs. It approves nothing.\n"


class SignerError(AlphaDbError):
    """A key that is in no file does not sign, or signs what does not hold."""


class SignerNotThere(SignerError, NotThere):  # noqa: N818
    """There is no such key in the ssh-agent, or no such program."""


class Signer(Protocol):
    """An Ed25519 key that signs."""

    def public_key(self) -> Ed25519PublicKey:
        """Return its public half."""

    def sign(self, data: bytes, /) -> bytes:
        """Return the signature of these bytes, 64 bytes. Raises SignerError."""


def public_bytes(signer: Signer) -> bytes:
    """Return the public key of a signer, 32 bytes."""
    return signer.public_key().public_bytes_raw()


def try_to_sign(signer: Signer) -> None:
    """Have a key that is in no file sign TRIAL, which shows that it is there and works. Raises SignerError."""
    if not isinstance(signer, Ed25519PrivateKey):
        signer.sign(TRIAL)


def checked(public_key: bytes, data: bytes, signature: bytes, *, said: str, hint: str) -> bytes:
    """Return a signature that came from outside. Raises SignerError, with `said` and `hint`, if it does not hold."""
    if not verify(public_key, data, signature):
        raise SignerError(said, detail=f"The public key is {public_key.hex()}.", hint=hint)
    return signature

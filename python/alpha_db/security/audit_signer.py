"""An agent's key: made, kept in a file of its own, and used to sign proposals and votes.

A private key never leaves its file but into memory: not into the database, a log, a repr or an error.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.security.ed25519 import is_weak_key, verify
from alpha_db.security.key_formats import private_key_of
from alpha_db.security.private_file import KeyFileError, read_private, write_private
from alpha_db.security.signed_text import (
    approval_text,
    bootstrap_text,
    digest_of,
    json_string,
    proposal_text,
    signed_time,
)

__all__ = [
    "AuditSigner",
    "KeyFileError",
    "approval_text",
    "bootstrap_text",
    "digest_of",
    "is_weak_key",
    "json_string",
    "proposal_text",
    "signed_time",
    "verify",
    "verify_text",
]


class AuditSigner:
    """A private key that signs texts."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key

    def __repr__(self) -> str:
        return f"AuditSigner(public_key={self.public_key_hex})"

    @classmethod
    def generate(cls) -> AuditSigner:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str], passphrase: str | None = None) -> AuditSigner:
        """Read a private key: PEM or DER of PKCS#8, or OpenSSH's own form, however its lines end.

        Raises KeyFileError if the file is missing, may be read by others than its owner, is no Ed25519 key,
        or the passphrase is missing or wrong; it says what the file holds instead, and what converts it.
        """
        file = Path(path)
        return cls(private_key_of(read_private(file), str(file), passphrase))

    def save(self, path: str | os.PathLike[str], passphrase: str | None = None) -> None:
        """Write the private key into a new file of mode 0600 (PEM, PKCS8), encrypted if there is a passphrase.

        Never overwrites. Raises KeyFileError.
        """
        if passphrase == "":
            raise KeyFileError("the passphrase is empty")
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            encryption = serialization.BestAvailableEncryption(passphrase.encode())
        content = self._private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        write_private(path, content)

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes."""
        return self._private_key.public_key().public_bytes_raw()

    @property
    def public_key_hex(self) -> str:
        """The public key as 64 hex digits, as bootstrap_agents and agent_enrol take it."""
        return self.public_key.hex()

    @property
    def agent_id(self) -> UUID:
        """The id of an agent with this key: it follows from the key, so that it can be told again."""
        digest = bytearray(hashlib.sha256(b"alpha-db/agent/v1" + self.public_key).digest()[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80  # a UUID of version 8
        return UUID(bytes=bytes(digest))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key, short enough to be read out over the telephone, as OpenSSH prints it."""
        digest = hashlib.sha256(self.public_key).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"

    def sign(self, text: str) -> bytes:
        """Return the signature, 64 bytes, of the text's UTF-8 bytes."""
        return self._private_key.sign(text.encode())


def verify_text(public_key: bytes, text: str, signature: bytes) -> bool:
    """Return whether the signature is the key's for the text's UTF-8 bytes, as strictly as the database."""
    return verify(public_key, text.encode(), signature)

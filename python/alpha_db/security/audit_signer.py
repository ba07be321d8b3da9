"""An agent's key: made, kept in a file of its own or elsewhere, and used to sign proposals and votes.

A private key never leaves its file but into memory: not into the database, a log, a repr or an error.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Literal
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.security.ed25519 import is_weak_key, verify
from alpha_db.security.key_formats import private_key_of
from alpha_db.security.key_spec import is_file, open_outside, require_public
from alpha_db.security.private_file import KeyFileError, read_private, write_private
from alpha_db.security.signed_text import (
    approval_text,
    bootstrap_text,
    digest_of,
    json_string,
    proposal_text,
    signed_time,
)
from alpha_db.security.signer import Signer, SignerError, public_bytes, try_to_sign

__all__ = [
    "AuditSigner",
    "KeyFileError",
    "Signer",
    "SignerError",
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

    def __init__(self, private_key: Signer) -> None:
        """Take what signs: a private key of the library cryptography, or a key that is in no file."""
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

    @classmethod
    def open(
        cls, key: str | os.PathLike[str], passphrase: str | None = None, public_key: bytes | None = None
    ) -> AuditSigner:
        """Find a private key: FILE, or the text ssh-agent:COMMENT or exec:COMMAND.

        The passphrase is for a file. The public key, 32 bytes, is needed for a command; any other key must be its
        private half if it is given. Raises KeyFileError, SignerError, and ValueRefused for a text that is no key.
        """
        if not isinstance(key, str) or is_file(key):
            signer = cls.load(key, passphrase)
            require_public(signer._private_key, public_key, os.fsdecode(key))
            return signer
        return cls(open_outside(key, public_key))

    def try_to_sign(self) -> None:
        """Have a key that is in no file sign a text that approves nothing, to see that it works. Raises SignerError."""
        try_to_sign(self._private_key)

    def save(
        self,
        path: str | os.PathLike[str],
        passphrase: str | None = None,
        form: Literal["pkcs8", "openssh"] = "pkcs8",
    ) -> None:
        """Write the private key into a new file of mode 0600, as PEM, encrypted if there is a passphrase.

        The form is PKCS#8, which openssl reads, or OpenSSH's, which ssh-add reads. Never overwrites. Raises
        KeyFileError, also for a key that is in no file.
        """
        if passphrase == "":
            raise KeyFileError("the passphrase is empty")
        if not isinstance(self._private_key, Ed25519PrivateKey):
            raise KeyFileError("this key cannot be written into a file: what holds it does not give it away")
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            encryption = serialization.BestAvailableEncryption(passphrase.encode())
        kind = {"pkcs8": serialization.PrivateFormat.PKCS8, "openssh": serialization.PrivateFormat.OpenSSH}[
            form
        ]
        try:
            content = self._private_key.private_bytes(serialization.Encoding.PEM, kind, encryption)
        except UnsupportedAlgorithm:
            raise KeyFileError(
                "OpenSSH's form cannot be encrypted here, because the library bcrypt is not installed",
                hint="pip install bcrypt, or leave the passphrase out, and let ssh-keygen -p set it",
            ) from None
        write_private(path, content)

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes."""
        return public_bytes(self._private_key)

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
        """Return the signature, 64 bytes, of the text's UTF-8 bytes. Raises SignerError if the key is in no file."""
        return self._private_key.sign(text.encode())


def verify_text(public_key: bytes, text: str, signature: bytes) -> bool:
    """Return whether the signature is the key's for the text's UTF-8 bytes, as strictly as the database."""
    return verify(public_key, text.encode(), signature)

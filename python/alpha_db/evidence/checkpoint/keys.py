"""The key that signs checkpoints, and the public keys that are trusted, both in C2SP's note encoding.

    public   <name>+<key id, 8 hex>+<base64 of 0x01 and the 32 bytes of the public key>
    private  PRIVATE+KEY+<name>+<key id, 8 hex>+<base64 of 0x01 and the 32 bytes of the seed>

The key id is the first four bytes of SHA-256(name || 0x0A || 0x01 || public key). Source: c2sp.org/signed-note,
and Go's golang.org/x/mod/sumdb/note, which reads and writes the same. A witness's key has 0x04 in place of 0x01:
see alpha_db.evidence.witness.keys.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db import errors
from alpha_db.errors import EXIT_DAMAGE, AlphaDbError
from alpha_db.evidence.offline_check import (
    KEY_OF_LOG,
    MAX_NOTE,
    Key,
    NotThere,
    Refused,
    Unreadable,
    load_keys,
    read_text,
)
from alpha_db.security.ed25519 import is_weak_key
from alpha_db.security.key_spec import open_outside
from alpha_db.security.private_file import KeyFileError, read_private, write_private
from alpha_db.security.signer import Signer, public_bytes, try_to_sign

_PRIVATE = re.compile(r"PRIVATE\+KEY\+([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})\n?")
_PUBLIC = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")


class BadKey(AlphaDbError):  # noqa: N818
    """What was given as a key is none, or cannot be read."""


class WeakKey(BadKey):
    """The key is a weak one: anyone could sign for it."""

    exit_code = EXIT_DAMAGE


class KeyNotThere(BadKey, errors.NotThere):
    """There is no file of the name that was given as a key."""


class SigningKey:
    """A private key and its name, which stands in every signature."""

    #: the byte before a key that says what it signs
    kind: ClassVar[bytes] = bytes([KEY_OF_LOG])
    #: what the key is for, and the command that makes one
    use: ClassVar[tuple[str, str]] = "checkpoints", "alpha-db checkpoint keygen"

    def __init__(self, name: str, private_key: Signer) -> None:
        if not is_key_name(name):
            raise BadKey(
                f'"{name}" cannot be a key\'s name',
                hint="letters, digits and the like, no blank and no '+': audit.example.org/trading",
            )
        if is_weak_key(public_bytes(private_key)):
            raise BadKey(f"the key {name} is a weak one")
        self.name = name
        self._private_key = private_key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vkey})"

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a new key from the operating system's randomness. Raises BadKey for a name that cannot be one."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a private key. Raises KeyFileError if it is missing, none, or may be read by others."""
        content = read_private(path).decode("utf-8", "replace")
        found = _PRIVATE.fullmatch(content)
        if not found and re.fullmatch(r"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}", content.strip()):
            raise KeyFileError(
                f"{os.fspath(path)} is a public key, not the private one",
                hint=f"Give the file that {cls.use[1]} made beside it, without .vkey.",
            )
        if not found and content[:1] == "\ufeff":
            raise KeyFileError(
                f"the private key {os.fspath(path)} begins with a byte order mark",
                hint=f"remove it with: sed -i '1s/^\\xEF\\xBB\\xBF//' {os.fspath(path)}",
            )
        if not found and "\r" in content:
            raise KeyFileError(
                f"the private key {os.fspath(path)} has CRLF line ends",
                hint=f"remove them with: sed -i 's/\\r$//' {os.fspath(path)}",
            )
        seed = _bytes_of(found[3]) if found else b""
        if not found or len(seed) != 33 or seed[:1] != cls.kind:
            raise KeyFileError(
                f"{os.fspath(path)} is not a private key for {cls.use[0]}", hint=f"{cls.use[1]} makes one"
            )
        key = cls(found[1], Ed25519PrivateKey.from_private_bytes(seed[1:]))
        if key.key_id.hex() != found[2]:
            raise KeyFileError(f"{os.fspath(path)}: the key's id is not that of its name and key")
        return key

    @classmethod
    def open(cls, key: str, name: str, public_key: bytes | None) -> Self:
        """Find a key that is in no file, by the text ssh-agent:COMMENT or exec:COMMAND.

        Takes its name, and its public half, which a command needs. Raises SignerError, BadKey, ValueRefused.
        """
        return cls(name, open_outside(key, public_key))

    @classmethod
    def read_vkey(cls, path: str | os.PathLike[str]) -> tuple[str, bytes]:
        """Return the name and the public key, 32 bytes, in a .vkey file. Raises BadKey, KeyNotThere."""
        shown = os.fsdecode(path)
        try:
            found = _PUBLIC.fullmatch(read_text(shown, MAX_NOTE).strip())
        except NotThere as problem:
            raise KeyNotThere(f"there is no public key {shown}: {problem}") from None
        except ValueError as problem:
            raise BadKey(f"cannot read the public key {shown}: {problem}") from None
        blob = _bytes_of(found[3]) if found else b""
        if not found or len(blob) != 33 or blob[:1] != cls.kind:
            hint = f"{cls.use[1].replace('keygen', 'show')} prints one"
            raise BadKey(f"{shown} is not a public key for {cls.use[0]}", hint=hint)
        if _key_id(found[1], blob).hex() != found[2]:
            raise BadKey(f"{shown}: the key's id is not that of its name and key")
        return found[1], blob[1:]

    def try_to_sign(self) -> None:
        """Have a key that is in no file sign a text that is no checkpoint, to see that it works. Raises SignerError."""
        try_to_sign(self._private_key)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the private key into a new file of mode 0600. Never overwrites. Raises KeyFileError."""
        if not isinstance(self._private_key, Ed25519PrivateKey):
            raise KeyFileError("this key cannot be written into a file: what holds it does not give it away")
        seed = base64.b64encode(self.kind + self._private_key.private_bytes_raw()).decode()
        write_private(path, f"PRIVATE+KEY+{self.name}+{self.key_id.hex()}+{seed}\n".encode())

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes."""
        return public_bytes(self._private_key)

    @property
    def key_id(self) -> bytes:
        """The key id, four bytes."""
        return _key_id(self.name, self.kind + self.public_key)

    @property
    def vkey(self) -> str:
        """The public key as text, to be given to whoever checks."""
        encoded = base64.b64encode(self.kind + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @property
    def trusted(self) -> Key:
        """The public key as a reader of notes takes it."""
        return Key(self.name, self.key_id, self.public_key)

    def sign(self, text: str) -> str:
        """Return the note's signature line (with its LF) for a text that ends with LF."""
        signature = self._private_key.sign(text.encode())
        return f"— {self.name} {base64.b64encode(self.key_id + signature).decode()}\n"


def is_key_name(name: str) -> bool:
    """Return whether a note's signature line can carry the name: not empty, printable, no blank, no plus."""
    return bool(name) and name.isprintable() and " " not in name and "+" not in name


def trusted_keys(given: Sequence[str]) -> list[Key]:
    """Return the public keys that were given, each as a vkey or as a file with one on each line.

    Raises BadKey for what is no public key, a weak key, or a file that cannot be read or has no key in it.
    """
    keys: list[Key] = []
    for text in given:
        shown = text if "+" not in text else text.partition("+")[0]
        try:
            keys += load_keys([text])
        except NotThere as problem:
            raise KeyNotThere(f"{shown} is neither a public key nor a file of them: {problem}") from None
        except Refused as problem:
            raise WeakKey(f"{shown}: {problem}") from None
        except Unreadable as problem:
            hint = (
                "the private key is for checkpoint create; what verifies is the public one beside it, .vkey"
            )
            raise BadKey(f"{shown}: {problem}", hint=hint if _is_private(text) else None) from None
        except ValueError:
            raise BadKey("a public key, or a file of them, has no NUL character in its name") from None
    return list(dict.fromkeys(keys))


def _key_id(name: str, blob: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + blob).digest()[:4]


def _is_private(text: str) -> bool:
    try:
        return text.startswith("PRIVATE+") or read_text(text, MAX_NOTE).startswith("PRIVATE+")
    except ValueError:
        return False


def _bytes_of(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return b""

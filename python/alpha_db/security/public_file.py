"""The public half of a key that is in no file, as the tools print it that hold such keys.

Taken: PEM and DER (openssl, pkcs11-tool), base64 of DER (aws kms get-public-key), OpenSSH's line (ssh-add -L), an agent
as alpha-db agents show --json prints it, and 64 hex digits.
"""

from __future__ import annotations

import base64
import os
import re
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from alpha_db.errors import FileUnreadable
from alpha_db.security.ed25519 import is_weak_key
from alpha_db.security.reading import read_answer, read_bytes, text_of

_MOST = 64 * 1024
_HINT = (
    "Taken: PEM, DER or its base64, an OpenSSH .pub line, 64 hex digits, or what agents show --json prints."
)


def read_public(path: str | os.PathLike[str]) -> bytes:
    """Return the Ed25519 public key in a file, 32 bytes.

    Raises NotThere, and FileUnreadable if the file holds anything else, or a weak key.
    """
    shown = os.fsdecode(path)
    content = read_bytes(path, _MOST)
    if content[:1] == b"0" and not content.isascii():
        return _strong(_loaded(serialization.load_der_public_key, content, shown), shown)
    text = text_of(content, shown).strip()
    return _strong(_of_text(path, text, shown), shown)


def _of_text(path: str | os.PathLike[str], text: str, shown: str) -> bytes:
    if "PRIVATE KEY-----" in text or text.startswith("PRIVATE+KEY+"):
        raise FileUnreadable(f"{shown} holds a private key, not the public half of one")
    if text.startswith("{"):
        said = read_answer(path)
        text = str(said.get("public_key")) if isinstance(said, dict) else ""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    if "-----BEGIN" in text:
        return _loaded(serialization.load_pem_public_key, text.encode(), shown)
    if re.match(r"(ssh|ecdsa|sk)-", text):
        return _loaded(serialization.load_ssh_public_key, text.encode(), shown)
    try:
        return _loaded(
            serialization.load_der_public_key, base64.b64decode("".join(text.split()), validate=True), shown
        )
    except ValueError:
        raise _none(shown) from None


def _loaded(load: Any, content: bytes, shown: str) -> bytes:
    try:
        key = load(content)
    except (ValueError, UnsupportedAlgorithm):
        raise _none(shown) from None
    if not isinstance(key, Ed25519PublicKey):
        kind = type(key).__name__.lstrip("_").removesuffix("PublicKey").replace("EllipticCurve", "EC")
        raise FileUnreadable(f"{shown} holds a public key of {kind}, not of Ed25519")
    return key.public_bytes_raw()


def _strong(key: bytes, shown: str) -> bytes:
    if is_weak_key(key):
        raise FileUnreadable(f"the public key in {shown} is a weak one")
    return key


def _none(shown: str) -> FileUnreadable:
    return FileUnreadable(f"{shown} holds no Ed25519 public key", hint=_HINT)

"""The forms in which an agent's private key arrives, and words for what is none.

Taken: PKCS#8, version 1 or 2 (RFC 5958), as PEM or DER, and OpenSSH's own form; with a byte order mark, in UTF-16,
with any line ends. Whatever could be two things (64 hex digits are a seed or a public key) is not guessed: the message
says what was given, the HINT what converts it.
"""

from __future__ import annotations

import base64
import binascii
import re
from shlex import quote
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.errors import AlphaDbError, FileUnreadable, NotThere
from alpha_db.security.reading import text_of


class KeyFileError(AlphaDbError):
    """A private key file is missing, unreadable, readable by others, or needs another passphrase."""


class KeyFileNotThere(KeyFileError, NotThere):  # noqa: N818
    """There is no such key file."""


_MAKE = "alpha-db agents keygen makes one"
_OURS = "The private key is the other file that alpha-db agents keygen made: give that one."
_LABEL = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_PEM = re.compile(r"-----BEGIN PRIVATE KEY-----(.*?)-----END PRIVATE KEY-----", re.DOTALL)
# RFC 5958: SEQUENCE { INTEGER 0 or 1, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING of 32 bytes }, … }
_ALGORITHM = bytes.fromhex("300506032b6570")
_SEED = bytes.fromhex("04220420")
_PUBLIC = bytes.fromhex("812100")
# what a public key of Ed25519 begins with in DER (RFC 8410)
_PUBLIC_DER = bytes.fromhex("302a300506032b6570032100")
# how openssl reads 32 bytes as a key: the 16 bytes that stand before them in PKCS#8
_PREFIX = r"printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040'"


def private_key_of(content: bytes, shown: str, passphrase: str | None) -> Ed25519PrivateKey:
    """Return the Ed25519 private key in a file's content. Raises KeyFileError, which says what it is instead."""
    if not content.strip():
        raise KeyFileError(f"{shown} is not a private key: it is empty", hint=_MAKE)
    password = passphrase.encode() if passphrase is not None else None
    if content.startswith(_PUBLIC_DER):
        raise KeyFileError(f"{shown} holds a public key, not the private one", hint=_OURS)
    if _is_der(content):
        key = _loaded(serialization.load_der_private_key, content, shown, password)
    elif len(content) == 32:
        raise KeyFileError(f"{shown} holds 32 bytes: a seed or a public key", hint=_convert(shown, "cat"))
    else:
        key = _of_text(_plain(content, shown), shown, password)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{shown} holds {_algorithm(key)}, not an Ed25519 key", hint=_MAKE)
    return key


def _is_der(content: bytes) -> bool:
    """Whether the content is one SEQUENCE in DER, and nothing after it."""
    if content[0] != 0x30 or len(content) < 2:
        return False
    digits = content[1] & 0x7F if content[1] & 0x80 else 0
    size = int.from_bytes(content[2 : 2 + digits], "big") if digits else content[1]
    return size == len(content) - 2 - digits


def _plain(content: bytes, shown: str) -> str:
    try:
        text = text_of(content, shown)
    except FileUnreadable:
        raise KeyFileError(f"{shown} is not a private key: it is not text", hint=_MAKE) from None
    return "\n".join(line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()) + "\n"


def _of_text(text: str, shown: str, password: bytes | None) -> Any:
    found = _LABEL.search(text)
    label = found[1] if found else None
    if label == "OPENSSH PRIVATE KEY":
        return _loaded(serialization.load_ssh_private_key, text.encode(), shown, password)
    if label in ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"):
        return _loaded(serialization.load_pem_private_key, text.encode(), shown, password)
    if label is None:
        problem, hint = _without_label(text.strip(), shown)
        raise KeyFileError(f"{shown} {problem}", hint=hint)
    if "PUBLIC KEY" in label or label == "CERTIFICATE":
        kind = "a certificate" if label == "CERTIFICATE" else "a public key"
        raise KeyFileError(f"{shown} holds {kind}, not the private one", hint=_OURS)
    if label.endswith(" PRIVATE KEY"):
        algorithm = label.removesuffix(" PRIVATE KEY")
        raise KeyFileError(
            f"{shown} holds {_article(algorithm)} {algorithm} key, not an Ed25519 key", hint=_MAKE
        )
    raise KeyFileError(f"{shown} holds {_article(label)} {label}, not a private key in PEM form", hint=_MAKE)


def _loaded(load: Any, content: bytes, shown: str, password: bytes | None) -> Any:
    try:
        return load(content, password)
    except TypeError:
        wanted = "needs a passphrase" if password is None else "has no passphrase"
        raise KeyFileError(f"the private key {shown} {wanted}") from None
    except UnsupportedAlgorithm:
        hint = "pip install bcrypt" if b"OPENSSH" in content else _MAKE
        raise KeyFileError(f"{shown} is encrypted in a way that is not supported here", hint=hint) from None
    except ValueError:
        if (seed := _version_2(content)) is not None:
            return _checked(*seed, shown)
        if password is None and b"OPENSSH" in content and b"ENCRYPTED" not in content:
            problem = f"{shown} is not a whole OpenSSH private key"
        else:
            problem = f"{shown} is not a private key in PEM form, or the passphrase is wrong"
        raise KeyFileError(problem, hint=_MAKE) from None


def _version_2(content: bytes) -> tuple[bytes, bytes | None] | None:
    """The seed, and the public key if it is there, of PKCS#8 that the library does not read."""
    found = _PEM.search(content.decode("ascii", "replace"))
    if found:
        try:
            content = base64.b64decode("".join(found[1].split()), validate=True)
        except binascii.Error:
            return None
    at = content.find(_ALGORITHM + _SEED)
    if at not in (5, 6) or content[:1] != b"\x30":
        return None
    begin = at + len(_ALGORITHM + _SEED)
    seed, rest = content[begin : begin + 32], content[begin + 32 :]
    public = rest.find(_PUBLIC)
    return (seed, rest[public + 3 : public + 35] if public >= 0 else None) if len(seed) == 32 else None


def _checked(seed: bytes, public: bytes | None, shown: str) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if public is not None and public != key.public_key().public_bytes_raw():
        raise KeyFileError(f"the public key in {shown} is not that of its private key", hint=_MAKE)
    return key


def _without_label(text: str, shown: str) -> tuple[str, str]:
    """What a text without a PEM label is, and what to do."""
    digits = re.sub(r"^0[xX]|[\s:]", "", text)
    if re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        hint = _convert(shown, "sed 's/^0[xX]//'", " | tr -cd 0-9a-fA-F | xxd -r -p")
        return "holds 64 hex digits: a seed or a public key", hint
    if text.startswith(("ssh-", "ecdsa-", "sk-")):
        return "holds an OpenSSH public key, not the private one", "The private key is the file without .pub."
    if text.startswith("PuTTY-User-Key-File"):
        return (
            "holds a key in PuTTY's form",
            f"puttygen {quote(shown)} -O private-openssh -o {quote(shown + '.new')}",
        )
    if text.startswith("PRIVATE+KEY+"):
        return "holds a key for checkpoints, not an agent's", _MAKE
    if re.fullmatch(r"\S+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*", text):
        return "holds a public key for checkpoints, not an agent's private key", _OURS
    if text.startswith("{") and '"kty"' in text:
        return "holds a JSON Web Key", _MAKE
    if text.startswith(("{", "[")):
        return "holds the public half of an agent, not its private key", _OURS
    return "is not a private key in PEM form", _MAKE


def _convert(shown: str, reader: str, rest: str = "") -> str:
    """The command that makes a PEM file of a seed."""
    new = quote(f"{shown}.pem")
    made = f"({_PREFIX}; {reader} {quote(shown)}{rest}) | openssl pkey -inform DER -out {new}"
    return f"If it is the seed: umask 077; {made}"


def _algorithm(key: Any) -> str:
    name = type(key).__name__.lstrip("_").removesuffix("PrivateKey")
    name = {"EllipticCurve": "EC"}.get(name, name)
    return f"{_article(name)} {name} key"


def _article(name: str) -> str:
    return "an" if name[:1] in "AEIO" or name[:3] in ("RSA", "X25", "X44") else "a"

"""The public half of a key in every form in which tools print it; what is none says so."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.errors import FileUnreadable
from alpha_db.security.public_file import read_public

pytestmark = pytest.mark.any_server
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
RAW = PUBLIC.public_bytes_raw()
PEM, DER = (
    PUBLIC.public_bytes(encoding, form.PublicFormat.SubjectPublicKeyInfo)
    for encoding in (form.Encoding.PEM, form.Encoding.DER)
)
LINE = PUBLIC.public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
AGENT = {"agent_id": "x", "name": "ada", "role": "risk", "public_key": RAW.hex()}
FRAME = {"ok": True, "exit_code": 0, "result": AGENT, "error": None}
EC = ec.generate_private_key(ec.SECP256R1())

TAKEN = {
    "PEM": PEM,
    "PEM, CRLF and byte order mark": b"\xef\xbb\xbf" + PEM.replace(b"\n", b"\r\n"),
    "DER": DER,
    "base64 of DER": base64.b64encode(DER) + b"\n",
    "OpenSSH": LINE + b" ada@desk\n",
    "hex": RAW.hex().upper().encode() + b"\n",
    "agent": json.dumps(AGENT).encode(),
    "answer of a command": json.dumps(FRAME).encode(),
}
NOT_TAKEN = {
    "nothing": (b"", "holds no Ed25519 public key"),
    "private": (KEY.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()),
                "holds a private key"),
    "a log's private key": (b"PRIVATE+KEY+a.example+01234567+AAAA\n", "holds a private key"),
    "EC": (EC.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo), "of EC, not of"),
    "EC, OpenSSH": (EC.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH), "of EC, not of"),
    "weak": (b"01" + b"00" * 31, "is a weak one"),
    "raw": (RAW, "is not UTF-8"),
    "cut": (PEM[:50], "holds no Ed25519 public key"),
    "cut DER": (DER[:-1], "holds no Ed25519 public key"),
    "base64 of nothing": (base64.b64encode(b"hello"), "holds no Ed25519 public key"),
    "JSON": (b'{"name": "ada"}', "holds no Ed25519 public key"),
    "answer of a failure": (json.dumps(FRAME | {"ok": False}).encode(), "the answer of a command that failed"),
    "text": ("grün".encode(), "holds no Ed25519 public key"),
    "a vkey": (b"a.example/x+01234567+AAAA\n", "holds no Ed25519 public key"),
}  # fmt: skip


@pytest.mark.parametrize("content", TAKEN.values(), ids=TAKEN)
def test_a_public_key_is_taken_as(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_public(tmp_path / "file") == RAW


@pytest.mark.parametrize(("content", "said"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_what_is_no_public_key_says_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileUnreadable, match=said):
        read_public(tmp_path / "file")

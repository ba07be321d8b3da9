"""An agent's private key in every form that others write; what is none says what it is. No server is needed."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.security.audit_signer import AuditSigner, KeyFileError

SEED = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
PUBLIC = KEY.public_key().public_bytes_raw()
PLAIN = form.NoEncryption()


def pem(key: object, kind: form.PrivateFormat = form.PrivateFormat.PKCS8, encoding: str = "PEM") -> bytes:
    return key.private_bytes(getattr(form.Encoding, encoding), kind, PLAIN)  # type: ignore[attr-defined, no-any-return]


def version_2(public: bytes = PUBLIC) -> bytes:
    """RFC 8410's second example: PKCS#8 with the public key."""
    inner = bytes.fromhex("020101300506032b657004220420") + SEED + bytes.fromhex("812100") + public
    return bytes([0x30, len(inner)]) + inner


def armoured(der: bytes) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n".encode()


#: RFC 8410, section 10.3: PKCS#8 version 2 with an attribute and the public key
OF_THE_RFC = base64.b64decode(
    "MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhCoB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUg"
    "Q2hhaXJzgSEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ada's key"


def keep(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    file.chmod(0o600)
    return file


PEM = pem(KEY)
TAKEN = {
    "PKCS#8": PEM,
    "CRLF": PEM.replace(b"\n", b"\r\n"),
    "CR": PEM.replace(b"\n", b"\r"),
    "byte order mark": b"\xef\xbb\xbf" + PEM,
    "byte order mark and CRLF": b"\xef\xbb\xbf" + PEM.replace(b"\n", b"\r\n"),
    "UTF-16": PEM.decode().encode("utf-16"),
    "blank lines and blanks": b"\n\n" + PEM.replace(b"\n", b"  \n\n"),
    "a line before it": b"# ada\n" + PEM,
    "no last line feed": PEM.rstrip(),
    "DER": pem(KEY, encoding="DER"),
    "PKCS#8 version 2": armoured(version_2()),
    "PKCS#8 version 2, CRLF": armoured(version_2()).replace(b"\n", b"\r\n"),
    "PKCS#8 version 2, DER": version_2(),
    "OpenSSH": pem(KEY, form.PrivateFormat.OpenSSH),
    "OpenSSH, CRLF and byte order mark": b"\xef\xbb\xbf"
    + pem(KEY, form.PrivateFormat.OpenSSH).replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("content", TAKEN.values(), ids=TAKEN)
def test_a_key_is_taken_as(file: Path, content: bytes) -> None:
    assert AuditSigner.load(keep(file, content)).public_key == PUBLIC


@pytest.mark.parametrize("content", [OF_THE_RFC, armoured(OF_THE_RFC)], ids=["DER", "PEM"])
def test_a_key_with_attributes_is_taken(file: Path, content: bytes) -> None:
    public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
    assert AuditSigner.load(keep(file, content)).public_key_hex == public


RSA = rsa.generate_private_key(65537, 2048)
NOT_TAKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is empty"),
    "blanks": (b" \r\n", "it is empty"),
    "public key": (
        KEY.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo),
        "holds a public key, not the private one",
    ),
    "public key, DER": (
        KEY.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo),
        "holds a public key, not the private one",
    ),
    "RSA, DER": (pem(RSA, encoding="DER"), "holds an RSA key, not an Ed25519 key"),
    "OpenSSH public key": (
        KEY.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH) + b" ada@desk\n",
        "holds an OpenSSH public key",
    ),
    "RSA": (pem(RSA), "holds an RSA key, not an Ed25519 key"),
    "RSA, PKCS#1": (pem(RSA, form.PrivateFormat.TraditionalOpenSSL), "holds an RSA key"),
    "RSA, OpenSSH": (pem(RSA, form.PrivateFormat.OpenSSH), "holds an RSA key"),
    "EC": (pem(ec.generate_private_key(ec.SECP256R1())), "holds an EC key"),
    "EC, SEC1": (
        pem(ec.generate_private_key(ec.SECP256R1()), form.PrivateFormat.TraditionalOpenSSL), "holds an EC key",
    ),
    "DSA": (pem(dsa.generate_private_key(1024)), "holds a DSA key"),
    "Ed448": (pem(ed448.Ed448PrivateKey.generate()), "holds an Ed448 key"),
    "X25519": (pem(x25519.X25519PrivateKey.generate()), "holds an X25519 key"),
    "another public key beside it": (armoured(version_2(bytes(32))), "is not that of its private key"),
    "hex": (SEED.hex().encode() + b"\n", "holds 64 hex digits: a seed or a public key"),
    "hex with 0x": (b"0x" + SEED.hex().upper().encode(), "holds 64 hex digits"),
    "hex with blanks": (SEED.hex(" ").encode(), "holds 64 hex digits"),
    "hex with colons and a byte order mark": (b"\xef\xbb\xbf" + SEED.hex(":").encode(), "holds 64 hex digits"),
    "raw": (SEED, "holds 32 bytes: a seed or a public key"),
    "PuTTY": (b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n", "PuTTY's form"),
    "JSON": (b'{"agent_id": "x", "public_key": "y"}', "holds the public half of an agent"),
    "JSON Web Key": (b'{"kty":"OKP","crv":"Ed25519","d":"x","x":"y"}', "holds a JSON Web Key"),
    "checkpoint's key": (b"PRIVATE+KEY+a+01234567+AAAA\n", "holds a key for checkpoints"),
    "checkpoint's public key": (b"a.example/x+01234567+AAAA\n", "holds a public key for checkpoints"),
    "certificate": (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a certificate"),
    "PGP": (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n", "holds a PGP PRIVATE KEY BLOCK"),
    "cut": (PEM[:60], "is not a private key in PEM form"),
    "cut OpenSSH": (pem(KEY, form.PrivateFormat.OpenSSH)[:90], "is not a whole OpenSSH private key"),
    "text": (b"hello", "is not a private key in PEM form"),
    "binary": (bytes(range(255, 155, -1)), "it is not text"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_what_is_no_key_says_what_it_is(file: Path, content: bytes, said: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        AuditSigner.load(keep(file, content))
    assert said in caught.value.message
    assert caught.value.hint
    assert "b'" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["hex", "hex with 0x", "hex with blanks", "hex with colons and a byte order mark", "raw"]
)
def test_the_hint_converts_a_seed(file: Path, name: str) -> None:
    if not (shutil.which("openssl") and shutil.which("xxd")):
        pytest.skip("openssl or xxd is not installed")
    with pytest.raises(KeyFileError) as caught:
        AuditSigner.load(keep(file, NOT_TAKEN[name][0]))
    _, _, command = str(caught.value.hint).partition(": ")
    subprocess.run(["sh", "-c", command], check=True)
    assert AuditSigner.load(f"{file}.pem").public_key == PUBLIC


def test_what_openssh_itself_writes_is_taken(file: Path) -> None:
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-f", str(file), "-N"]
    subprocess.run([*make, ""], check=True)
    public = AuditSigner.load(file).public_key
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(file)], check=True)
    assert AuditSigner.load(file, "secret").public_key == public
    with pytest.raises(KeyFileError, match="needs a passphrase"):
        AuditSigner.load(file)
    with pytest.raises(KeyFileError, match="the passphrase is wrong"):
        AuditSigner.load(file, "wrong")


@pytest.mark.parametrize("way", ["PEM", "DER"])
def test_what_openssl_encrypts_is_taken(file: Path, way: str) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    plain = keep(file.with_name("plain"), PEM)
    encrypt = ["openssl", "pkcs8", "-topk8", "-in", str(plain), "-passout", "pass:secret", "-outform", way]
    subprocess.run([*encrypt, "-out", str(file)], check=True)
    file.chmod(0o600)
    assert AuditSigner.load(file, "secret").public_key == PUBLIC
    with pytest.raises(KeyFileError, match="needs a passphrase"):
        AuditSigner.load(file)


@pytest.mark.parametrize("passphrase", [None, "secret"])
@pytest.mark.parametrize("kind", ["pkcs8", "openssh"])
def test_what_keygen_writes_is_read_again(
    file: Path, kind: Literal["pkcs8", "openssh"], passphrase: str | None
) -> None:
    AuditSigner(KEY).save(file, passphrase, kind)
    label = {"pkcs8": "PRIVATE KEY", "openssh": "OPENSSH PRIVATE KEY"}[kind]
    assert f"{label}-----" in file.read_text(encoding="utf-8").splitlines()[0]
    assert AuditSigner.load(file, passphrase).public_key == PUBLIC


def test_a_passphrase_that_is_wrong_missing_or_too_much(file: Path) -> None:
    AuditSigner(KEY).save(file, "right")
    assert AuditSigner.load(file, "right").public_key == PUBLIC
    for passphrase, said in ((None, "needs a passphrase"), ("wrong", "or the passphrase is wrong")):
        with pytest.raises(KeyFileError, match=said):
            AuditSigner.load(file, passphrase)
    with pytest.raises(KeyFileError, match="has no passphrase"):
        AuditSigner.load(keep(file, PEM), "secret")


def test_places_that_hold_no_key(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "open").write_bytes(PEM)
    (tmp_path / "open").chmod(0o644)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    cases = {
        tmp_path / "none": "cannot read the private key",
        tmp_path: "it is a directory",
        tmp_path / "pipe": "it is a pipe or a device",
        Path(os.devnull): "it is a pipe or a device",
        tmp_path / "open": "can be read by others",
        loop: "cannot read the private key",
        tmp_path / "a\0b": "its name holds a NUL character",
        tmp_path / ("x" * 300): "cannot read the private key",
    }
    for path, said in cases.items():
        for load in (AuditSigner.load, SigningKey.load):
            with pytest.raises(KeyFileError) as caught:
                load(path)
            assert said in str(caught.value)
            assert not re.search(r"\[Errno|\bb'", str(caught.value))

"""Ed25519 and signed notes in offline_check: the public vectors, and everything near them refused."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest

from alpha_db.evidence.offline_check import (
    Refused,
    Unreadable,
    key_id_of,
    open_checkpoint,
    open_note,
    parse_vkey,
    verify_signature,
)
from alpha_db.security.ed25519 import verify
from tests.evidence.made_by_hand import INSTALLATION, OTHER, SIGNER, Book, Signer, bit_flips, root_of
from tests.risk.test_ed25519 import NOT_CANONICAL, SMALL_ORDER, VECTORS, L, expand

# golang.org/x/mod/sumdb/note: the example of its documentation and tests.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)
KEYS = [parse_vkey(SIGNER.vkey)]
IDENTITY = b"\1" + bytes(31)


def test_rfc_8032() -> None:
    for _, key, message, signature in (map(bytes.fromhex, vector) for vector in VECTORS.values()):
        assert verify_signature(key, message, signature)
        assert not verify_signature(key, message + b"x", signature)
        assert not verify_signature(key, message, signature[:-1])
        assert not verify_signature(key, message, signature + b"\0")


def test_the_checker_is_as_strict_as_the_rest_of_alpha_db() -> None:
    message, public, signature = b"a message", SIGNER.public, SIGNER.private.sign(b"a message")
    s = int.from_bytes(signature[32:], "little")
    for wrong in (s + L, 2**256 - 1, 0):
        assert not verify_signature(public, message, signature[:32] + wrong.to_bytes(32, "little"))
    for point in map(bytes.fromhex, SMALL_ORDER + NOT_CANONICAL):
        for s_bytes in (bytes(32), signature[32:]):
            assert not verify_signature(public, message, point + s_bytes)
            assert not verify_signature(point, message, IDENTITY + s_bytes)
    # an R of small order, though the equation holds
    a, _ = expand(SIGNER.seed)
    h = int.from_bytes(hashlib.sha512(IDENTITY + public + message).digest(), "little")
    assert not verify_signature(public, message, IDENTITY + (h * a % L).to_bytes(32, "little"))


def test_the_checker_says_the_same_as_openssl_of_turned_bits() -> None:
    chance = random.Random(6)
    said = set()
    for _ in range(60):
        message = chance.randbytes(40)
        parts = [SIGNER.public, message, SIGNER.private.sign(message)]
        if chance.random() < 0.8:
            n = chance.randrange(3)
            parts[n] = chance.choice(bit_flips(parts[n], [chance.randrange(len(parts[n]))]))
        assert verify_signature(*parts) == verify(*parts)
        said.add(verify_signature(*parts))
    assert said == {True, False}


def test_the_note_of_go() -> None:
    key = parse_vkey(GO_KEY)
    assert (key.name, key.key_id.hex()) == ("PeterNeumann", "c74f20a3")
    assert key_id_of(key.name, key.public_key) == key.key_id
    note = f"{GO_TEXT}\n{GO_SIGNATURE}"
    assert open_note(note, [key]) == (GO_TEXT, key)
    # signatures of others do not matter, wherever they stand
    other = OTHER.signature_line(GO_TEXT)
    assert open_note(f"{GO_TEXT}\n{other}{GO_SIGNATURE}{other}", [key])[1] == key
    with pytest.raises(Refused, match=r"PeterNeumann \(key c74f20a3\), which is none of the trusted keys: "):
        open_note(note, [])
    with pytest.raises(Unreadable, match="not a checkpoint"):
        open_checkpoint(note, [key])


def test_the_manglings_of_a_key() -> None:
    assert parse_vkey(SIGNER.vkey).public_key == SIGNER.public
    wrong = [GO_KEY[i:j] for i in range(len(GO_KEY)) for j in range(i, len(GO_KEY) + 1)]
    wrong.remove(GO_KEY)
    wrong += [GO_KEY[:i] + chr(ord(GO_KEY[i]) + 1) + GO_KEY[i + 1 :] for i in range(len(GO_KEY))]
    wrong += [f"{GO_KEY}\n", f" {GO_KEY}", GO_KEY.replace("Peter", "Peter ")]
    # another length and another algorithm, each with the id that belongs to it
    wrong.append("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")
    wrong.append("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    for text in wrong:
        with pytest.raises(Unreadable):
            parse_vkey(text)


def test_a_weak_key_is_no_key() -> None:
    for point in map(bytes.fromhex, SMALL_ORDER + NOT_CANONICAL):
        blob = base64.b64encode(b"\1" + point).decode()
        with pytest.raises(Refused, match="weak"):
            parse_vkey(f"x+{key_id_of('x', point).hex()}+{blob}")


def test_a_checkpoint() -> None:
    book = Book.of(5)
    assert open_checkpoint(book.note(), KEYS) == (SIGNER.name, 3, root_of(book.runs().leaves))
    assert book.note().count("\n") == 5
    # of no runs, and of as many as can be
    for size in (0, 10**18 - 1):
        text = f"{SIGNER.name}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n"
        assert open_checkpoint(SIGNER.sign(text), KEYS).size == size


def test_every_bit_of_a_checkpoint_counts() -> None:
    note = Book.of(5).note().encode()
    for changed in bit_flips(note):
        try:
            text = changed.decode()
        except UnicodeDecodeError:
            continue  # it does not even get that far
        with pytest.raises((Refused, Unreadable)):
            open_checkpoint(text, KEYS, verify)
    for place in range(len(note)):
        for shorter in (note[:place], note[place + 1 :]):
            with pytest.raises((Refused, Unreadable)):
                open_checkpoint(shorter.decode(errors="replace"), KEYS, verify)


def test_a_signature_by_a_trusted_name_must_be_the_key_s_even_beside_a_good_one() -> None:
    text = Book.of(3).text()
    forged = SIGNER.signature_line(text + "x\n")
    second = Signer("second", b"2" * 32)
    both = [*KEYS, parse_vkey(second.vkey)]
    for lines in (forged + second.signature_line(text), second.signature_line(text) + forged):
        with pytest.raises(Refused, match="was changed"):
            open_checkpoint(f"{text}\n{lines}", both)
    assert open_checkpoint(f"{text}\n{SIGNER.signature_line(text)}{second.signature_line(text)}", both)
    # the same name with another id, or the same id under another name, is another key
    namesake = Signer(SIGNER.name, b"9" * 32)
    with pytest.raises(Refused, match="none of the trusted keys"):
        open_checkpoint(namesake.sign(text), KEYS)
    assert open_checkpoint(namesake.sign(text) + SIGNER.signature_line(text), KEYS)
    alias = SIGNER.sign(text).replace(f"— {SIGNER.name} ", "— alias ")
    with pytest.raises(Refused, match="none of the trusted keys"):
        open_checkpoint(alias, KEYS)


def test_malformed_notes() -> None:
    text, good = Book.of(3).text(), SIGNER.signature_line(Book.of(3).text())
    root = text.split("\n")[2]
    notes = {
        "empty": "",
        "no signature": f"{text}\n",
        "no blank line": f"{text}{good}",
        "no last line feed": f"{text}\n{good}".removesuffix("\n"),
        "CRLF": f"{text}\n{good}".replace("\n", "\r\n"),
        "tab": f"{text}\n{good}".replace("\n3\n", "\n3\t\n"),
        "NUL": f"{text}\n{good}".replace("\n3\n", "\n3\0\n"),
        "a blank line at the end": f"{text}\n{good}\n",
        "a line between": f"{text}\n{good}hello\n",
        "a hyphen": f"{text}\n{good}".replace("— ", "- "),
        "two blanks": f"{text}\n{good}".replace("— ", "—  "),
        "bad base64": f"{text}\n{good}".replace("=\n", "\n"),
        "a short signature": f"{text}\n— {SIGNER.name} AAAA\n",
        "too many signatures": f"{text}\n{good * 101}",
        "too long": SIGNER.sign(text + "x" * (1 << 20) + "\n"),
        "a long line": f"{text}\n{good}— {'x' * (1 << 20)} AAAAAAAA\n",
        "half a character": f"{text}\n{good}".replace("\n3\n", "\n3\ud800\n"),
    }
    for what, note in notes.items():
        with pytest.raises(Unreadable):
            pytest.fail(f"{what}: {open_checkpoint(note, KEYS)}")
    # these are signed, so it is the signer who would be wrong
    bodies = {
        "two lines": "\n".join(text.split("\n")[:2]) + "\n",
        "an empty line": text.replace("\n3\n", "\n\n3\n"),
        "an empty line at the end": f"{text}\n",
        "leading zero": text.replace("\n3\n", "\n03\n"),
        "negative": text.replace("\n3\n", "\n-3\n"),
        "a sign": text.replace("\n3\n", "\n+3\n"),
        "a blank": text.replace("\n3\n", "\n3 \n"),
        "a fraction": text.replace("\n3\n", "\n3.0\n"),
        "other digits": text.replace("\n3\n", "\n३\n"),
        "2^64": text.replace("\n3\n", f"\n{1 << 64}\n"),
        "5,000 digits": text.replace("\n3\n", f"\n{'9' * 5000}\n"),
        "root of 31 bytes": text.replace(root, base64.b64encode(bytes(31)).decode()),
        "root in hex": text.replace(root, "ab" * 32),
        "root without its end": text.replace(root, root.rstrip("=")),
        "root of other letters": text.replace(root, base64.urlsafe_b64encode(b"\xff" * 32).decode()),
        "no root": text.replace(root, ""),
        "an extension line": f"{text}more\n",
        "lines of an older alpha-db": f"{text}installation {INSTALLATION}\nguards {'ab' * 32}\n",
    }
    for what, body in bodies.items():
        assert body != text, what
        with pytest.raises(Unreadable):
            pytest.fail(f"{what}: {open_checkpoint(SIGNER.sign(body), KEYS)}")
    for origin in ("alpha-db/other", SIGNER.name.upper(), f"{SIGNER.name} ", f"{SIGNER.name}/x", OTHER.name):
        with pytest.raises(Refused, match=f"and {SIGNER.name} signed it"):
            open_checkpoint(SIGNER.sign(text.replace(SIGNER.name, origin)), KEYS)
    with pytest.raises(Unreadable, match="byte order mark"):
        open_checkpoint("\ufeff" + SIGNER.sign(text), KEYS)
    with pytest.raises(Unreadable, match="CRLF"):
        open_checkpoint(SIGNER.sign(text).replace("\n", "\r\n"), KEYS)

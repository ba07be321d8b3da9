"""alpha_db's own verification is as strict as the database's: what OpenSSL lets pass is refused by both."""

from __future__ import annotations

import hashlib
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from alpha_db.security.ed25519 import is_weak_key, verify
from tests.risk.test_ed25519 import NOT_CANONICAL, SMALL_ORDER, VECTORS, L, expand
from tests.support import Connection, one

SECRET = hashlib.sha256(b"strict").digest()
PRIVATE = Ed25519PrivateKey.from_private_bytes(SECRET)
PUBLIC = PRIVATE.public_key().public_bytes_raw()
MESSAGE = b"a message"
SIGNATURE = PRIVATE.sign(MESSAGE)
IDENTITY = b"\1" + bytes(31)


def openssl(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("vector", VECTORS.values(), ids=list(VECTORS))
def test_rfc_8032(vector: tuple[str, str, str, str]) -> None:
    _, key, message, signature = map(bytes.fromhex, vector)
    assert verify(key, message, signature)
    assert not verify(key, message + b"x", signature)


def test_a_key_of_small_order_signs_every_message_for_openssl_and_none_for_us() -> None:
    # R = S B with S = 1: under the identity as key it verifies whatever the message is
    forged = bytes.fromhex("58" + "66" * 31) + (1).to_bytes(32, "little")
    assert openssl(IDENTITY, b"anything", forged)
    assert not verify(IDENTITY, b"anything", forged)


def test_an_r_of_small_order_is_refused_though_the_equation_holds() -> None:
    # with r = 0, S = h a: only who has the key can make it, and strictness refuses it nevertheless
    a, _ = expand(SECRET)
    h = int.from_bytes(hashlib.sha512(IDENTITY + PUBLIC + MESSAGE).digest(), "little")
    signature = IDENTITY + (h * a % L).to_bytes(32, "little")
    assert openssl(PUBLIC, MESSAGE, signature)
    assert not verify(PUBLIC, MESSAGE, signature)


@pytest.mark.parametrize("point", SMALL_ORDER + NOT_CANONICAL)
def test_weak_points_are_neither_keys_nor_r(point: str) -> None:
    encoded = bytes.fromhex(point)
    assert is_weak_key(encoded)
    for s in (bytes(32), SIGNATURE[32:]):
        assert not verify(PUBLIC, MESSAGE, encoded + s)
        assert not verify(encoded, MESSAGE, IDENTITY + s)


def test_s_beyond_the_order_and_other_lengths_are_refused() -> None:
    s = int.from_bytes(SIGNATURE[32:], "little")
    assert verify(PUBLIC, MESSAGE, SIGNATURE)
    for s_wrong in (s + L, s + 2 * L, 2**256 - 1, 0):
        assert not verify(PUBLIC, MESSAGE, SIGNATURE[:32] + s_wrong.to_bytes(32, "little"))
    for n in (0, 31, 63, 65, 128):
        assert not verify(PUBLIC, MESSAGE, (SIGNATURE * 2)[:n])
        assert not verify((PUBLIC * 4)[:n], MESSAGE, SIGNATURE)


def compare(connection: Connection, rounds: int, seed: int) -> None:
    """Random keys and messages, as they are and with a bit turned: SQL and Python say the same."""
    chance = random.Random(seed)
    triples: list[tuple[bytes, bytes, bytes]] = []
    for _ in range(rounds):
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        message = chance.randbytes(chance.randrange(1, 300))
        parts = [bytearray(private.public_key().public_bytes_raw()), bytearray(message)]
        parts.append(bytearray(private.sign(message)))
        if chance.random() < 0.75:
            part = chance.choice(parts)
            bit = chance.randrange(8 * len(part))
            part[bit // 8] ^= 1 << (bit % 8)
        triples.append((bytes(parts[0]), bytes(parts[1]), bytes(parts[2])))
    theirs = one(
        connection,
        "select array_agg(ed25519_verify(k, m, s) order by n)"
        " from unnest(%s::bytea[], %s::bytea[], %s::bytea[]) with ordinality as u(k, m, s, n)",
        [list(column) for column in zip(*triples, strict=True)],
    )
    assert theirs == [verify(*triple) for triple in triples], seed
    assert set(theirs) == {True, False}


def test_sql_and_python_agree(db: Connection) -> None:
    compare(db, 150, seed=25519)


@pytest.mark.long
def test_sql_and_python_agree_for_long(db: Connection) -> None:
    compare(db, 5000, seed=random.SystemRandom().randrange(2**32))

"""ed25519_verify against RFC 8032, against `cryptography`, and against what strictness refuses."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.support import Connection, one, query

pytestmark = pytest.mark.reads_only

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, section 7.1: secret key, public key, message, signature.
VECTORS = {
    "1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    "2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
    "SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
        "454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
        "3dca179c138ac17ad9bef1177331a704",
    ),
}
# "TEST 1024", whose message has 1023 bytes.
LONG_MESSAGE = (
    "08b8b2b733424243760fe426a4b54908632110a66c2f6591eabd3345e3e4eb98fa6e264bf09efe12ee50f8f54e9f77b1e355"
    "f6c50544e23fb1433ddf73be84d879de7c0046dc4996d9e773f4bc9efe5738829adb26c81b37c93a1b270b20329d658675fc"
    "6ea534e0810a4432826bf58c941efb65d57a338bbd2e26640f89ffbc1a858efcb8550ee3a5e1998bd177e93a7363c344fe6b"
    "199ee5d02e82d522c4feba15452f80288a821a579116ec6dad2b3b310da903401aa62100ab5d1a36553e06203b33890cc9b8"
    "32f79ef80560ccb9a39ce767967ed628c6ad573cb116dbefefd75499da96bd68a8a97b928a8bbc103b6621fcde2beca1231d"
    "206be6cd9ec7aff6f6c94fcd7204ed3455c68c83f4a41da4af2b74ef5c53f1d8ac70bdcb7ed185ce81bd84359d44254d9562"
    "9e9855a94a7c1958d1f8ada5d0532ed8a5aa3fb2d17ba70eb6248e594e1a2297acbbb39d502f1a8c6eb6f1ce22b3de1a1f40"
    "cc24554119a831a9aad6079cad88425de6bde1a9187ebb6092cf67bf2b13fd65f27088d78b7e883c8759d2c4f5c65adb7553"
    "878ad575f9fad878e80a0c9ba63bcbcc2732e69485bbc9c90bfbd62481d9089beccf80cfe2df16a2cf65bd92dd597b0707e0"
    "917af48bbb75fed413d238f5555a7a569d80c3414a8d0859dc65a46128bab27af87a71314f318c782b23ebfe808b82b0ce26"
    "401d2e22f04d83d1255dc51addd3b75a2b1ae0784504df543af8969be3ea7082ff7fc9888c144da2af58429ec96031dbcad3"
    "dad9af0dcbaaaf268cb8fcffead94f3c7ca495e056a9b47acdb751fb73e666c6c655ade8297297d07ad1ba5e43f1bca32301"
    "651339e22904cc8c42f58c30c04aafdb038dda0847dd988dcda6f3bfd15c4b4c4525004aa06eeff8ca61783aacec57fb3d1f"
    "92b0fe2fd1a85f6724517b65e614ad6808d6f6ee34dff7310fdc82aebfd904b01e1dc54b2927094b2db68d6f903b68401ade"
    "bf5a7e08d78ff4ef5d63653a65040cf9bfd4aca7984a74d37145986780fc0b16ac451649de6188a7dbdf191f64b5fc5e2ab4"
    "7b57f7f7276cd419c17a3ca8e1b939ae49e488acba6b965610b5480109c8b17b80e1b7b750dfc7598d5d5011fd2dcc5600a3"
    "2ef5b52a1ecc820e308aa342721aac0943bf6686b64b2579376504ccc493d97e6aed3fb0f9cd71a43dd497f01f17c0e2cb37"
    "97aa2a2f256656168e6c496afc5fb93246f6b1116398a346f1a641f3b041e989f7914f90cc2c7fff357876e506b50d334ba7"
    "7c225bc307ba537152f3f1610e4eafe595f6d9d90d11faa933a15ef1369546868a7f3a45a96768d40fd9d03412c091c6315c"
    "f4fde7cb68606937380db2eaaa707b4c4185c32eddcdd306705e4dc1ffc872eeee475a64dfac86aba41c0618983f8741c5ef"
    "68d3a101e8a3b8cac60c905c15fc910840b94c00a0b9d0"
)
VECTORS["1024"] = (
    "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
    "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
    LONG_MESSAGE,
    "0aab4c900501b3e24d7cdf4663326a3a87df5e4843b2cbdb67cbf6e460fec350aa5371b1508f9f4528ecea23c436d94b"
    "5e8fcd4f681e30a6ac00a9704a188a03",
)

SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
# The same points and others, encoded with y >= p or with the sign of x = 0.
NOT_CANONICAL = [
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]

KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["3"][0]))
PUBLIC = KEY.public_key().public_bytes_raw()
MESSAGE = b"risk"
SIGNATURE = KEY.sign(MESSAGE)


def in_sql(connection: Connection, key: Any, message: Any, signature: Any) -> Any:
    return one(connection, "select ed25519_verify(%b, %b, %b)", [key, message, signature])


def in_python(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_rfc_8032(db: Connection, vector: tuple[str, str, str, str]) -> None:
    secret, public, message, signature = map(bytes.fromhex, vector)
    private = Ed25519PrivateKey.from_private_bytes(secret)
    assert private.public_key().public_bytes_raw() == public
    assert private.sign(message) == signature
    assert in_sql(db, public, message, signature) is True
    assert in_sql(db, public, message + b"\0", signature) is False


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128, 100_000])
def test_length_of_message(db: Connection, length: int) -> None:
    message = random.Random(length).randbytes(length)
    signature = KEY.sign(message)
    assert in_sql(db, PUBLIC, message, signature) is True
    assert in_sql(db, PUBLIC, message[:-1], signature) is False


def test_null_is_false(db: Connection) -> None:
    for given in (
        (None, MESSAGE, SIGNATURE),
        (PUBLIC, None, SIGNATURE),
        (PUBLIC, MESSAGE, None),
        (None,) * 3,
    ):
        assert in_sql(db, *given) is False


def test_every_other_length_is_false(db: Connection) -> None:
    found = query(
        db,
        "select n from generate_series(0, 130) as n where n <> 64"
        " and ed25519_verify(%(key)s, %(message)s, substr(%(long)s, 1, n)) is distinct from false",
        {"key": PUBLIC, "message": MESSAGE, "long": SIGNATURE * 3},
    )
    assert found == []
    found = query(
        db,
        "select n from generate_series(0, 70) as n where n <> 32"
        " and (ed25519_verify(substr(%(long)s, 1, n), %(message)s, %(signature)s) is distinct from false"
        "      or not _ed25519_key_is_weak(substr(%(long)s, 1, n)))",
        {"long": PUBLIC * 3, "message": MESSAGE, "signature": SIGNATURE},
    )
    assert found == []
    assert one(db, "select _ed25519_key_is_weak(null)") is True


@pytest.mark.parametrize("times", [1, 2, 14])
def test_s_beyond_the_order_is_refused(db: Connection, times: int) -> None:
    s = int.from_bytes(SIGNATURE[32:], "little") + times * L
    if s >= 2**256:
        pytest.skip("does not fit 32 bytes")
    assert in_sql(db, PUBLIC, MESSAGE, SIGNATURE[:32] + s.to_bytes(32, "little")) is False


@pytest.mark.parametrize("s", [0, 1, L - 1, L, 2**255 - 1, 2**256 - 1])
def test_extreme_s_is_false(db: Connection, s: int) -> None:
    assert in_sql(db, PUBLIC, MESSAGE, SIGNATURE[:32] + s.to_bytes(32, "little")) is False


@pytest.mark.parametrize("point", SMALL_ORDER + NOT_CANONICAL)
def test_keys_that_are_weak_or_not_canonical(db: Connection, point: str) -> None:
    key = bytes.fromhex(point)
    assert one(db, "select _ed25519_key_is_weak(%s)", [key]) is True
    # S = 0 and R = the identity verify under such keys where nobody looks
    for r in ("01" + "00" * 31, point):
        for message in (b"", b"a", b"b", b"c"):
            assert in_sql(db, key, message, bytes.fromhex(r) + bytes(32)) is False


@pytest.mark.parametrize("point", SMALL_ORDER + NOT_CANONICAL)
def test_r_that_is_small_or_not_canonical(db: Connection, point: str) -> None:
    for s in (bytes(32), SIGNATURE[32:]):
        assert in_sql(db, PUBLIC, MESSAGE, bytes.fromhex(point) + s) is False


def test_a_mixed_order_key_is_judged_without_cofactor(db: Connection) -> None:
    """A signature that only the cofactored equation accepts: its R has a part of small order."""
    torsion = decode(bytes.fromhex(SMALL_ORDER[3]))
    assert torsion
    # R' = R + T for the true r: pick the nonce, so that S = r + h a is right for h of R'
    a, prefix = expand(bytes.fromhex(VECTORS["3"][0]))
    assert prefix
    r = 123456789
    shifted = encode(add(multiply(r, BASE), torsion))
    h = int.from_bytes(hashlib.sha512(shifted + PUBLIC + MESSAGE).digest(), "little") % L
    signature = shifted + ((r + h * a) % L).to_bytes(32, "little")
    assert in_python(PUBLIC, MESSAGE, signature) is False
    assert in_sql(db, PUBLIC, MESSAGE, signature) is False
    plain = encode(multiply(r, BASE))
    h = int.from_bytes(hashlib.sha512(plain + PUBLIC + MESSAGE).digest(), "little") % L
    assert in_sql(db, PUBLIC, MESSAGE, plain + ((r + h * a) % L).to_bytes(32, "little")) is True


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
def test_every_flipped_bit_of_a_signature_and_key(db: Connection, step: int) -> None:
    """One statement, with one bit of signature or key turned in each call; every seventh, or all 768."""
    flipped = query(
        db,
        "select 'signature' as what, n from generate_series(0, 511, %(step)s) as n"
        " where ed25519_verify(%(key)s, %(message)s, set_bit(%(signature)s, n, 1 - get_bit(%(signature)s, n)))"
        "   is distinct from false"
        " union all select 'key', n from generate_series(0, 255, %(step)s) as n"
        " where ed25519_verify(set_bit(%(key)s, n, 1 - get_bit(%(key)s, n)), %(message)s, %(signature)s)"
        "   is distinct from false",
        {"key": PUBLIC, "message": MESSAGE, "signature": SIGNATURE, "step": step},
    )
    assert flipped == []


@pytest.mark.parametrize("role", ["app_risk", "app_auditor"])
def test_agents_and_auditors_may_verify(db: Connection, role: str) -> None:
    """With the rights of the role alone; what the function calls is not granted to it."""
    with db.transaction():
        db.execute(f"set local role {role}")
        assert in_sql(db, PUBLIC, MESSAGE, SIGNATURE) is True


def agree(connection: Connection, rounds: int, seed: int) -> None:
    """Random keys and messages, as they are and with a bit turned: SQL says what `cryptography` says."""
    chance = random.Random(seed)
    for number in range(rounds):
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        message = chance.randbytes(chance.choice((0, 1, 31, 32, 111, 112, 127, 128, 300)))
        parts = [bytearray(private.public_key().public_bytes_raw()), bytearray(message)]
        parts.append(bytearray(private.sign(message)))
        turned = chance.choice((None, 0, 1, 2)) if message else chance.choice((None, 0, 2))
        if turned is not None:
            bit = chance.randrange(8 * len(parts[turned]))
            parts[turned][bit // 8] ^= 1 << (bit % 8)
        given = [bytes(part) for part in parts]
        expected = in_python(given[0], given[1], given[2])
        assert expected is (turned is None), (seed, number)
        assert in_sql(connection, *given) is expected, (seed, number, [part.hex() for part in given])
        weak = one(connection, "select _ed25519_key_is_weak(%s)", [given[0]])
        assert weak is (decode(given[0]) is None), (seed, number, given[0].hex())


def test_agrees_with_cryptography(db: Connection) -> None:
    agree(db, 200, seed=8032)


@pytest.mark.long
def test_agrees_with_cryptography_for_long(db: Connection) -> None:
    agree(db, 5000, seed=random.SystemRandom().randrange(2**32))


# --------------------------------------------------------------------------------------------------
# The curve, in the plain words of RFC 8032, to make what no honest signer makes


D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def decode(encoded: bytes) -> Point | None:
    value = int.from_bytes(encoded, "little")
    sign, y = value >> 255, value % 2**255
    if y >= P:
        return None
    xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if x * x % P != xx:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != xx or (x == 0 and sign):
        return None
    return (P - x if x % 2 != sign else x), y


def add(one_point: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one_point, other
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def multiply(n: int, point: Point) -> Point:
    result: Point = (0, 1)
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def expand(secret: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(secret).digest()
    a = int.from_bytes(digest[:32], "little")
    return a & ((1 << 254) - 8) | (1 << 254), digest[32:]


_BASE = decode(bytes.fromhex("58" + "66" * 31))
assert _BASE is not None
BASE: Point = _BASE

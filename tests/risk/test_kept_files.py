"""What stands on disk: private keys, pinned keys, the highest version."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from alpha_db.errors import RiskTampered
from alpha_db.risk.high_water import HighWater, HighWaterError
from alpha_db.risk.pins import PinsError, load_pins
from alpha_db.security.audit_signer import AuditSigner, KeyFileError, is_weak_key, verify_text
from alpha_db.security.config_integrity import IntegrityChecker, Verified
from tests.risk.council import PLACE, agent_id, limits, private_key, public_hex
from tests.risk.signed_history import Book, governed_book, state_text
from tests.support import Connection, one

# --------------------------------------------------------------------------------------------------
# Private keys


@pytest.mark.parametrize("passphrase", [None, "correct horse", "é 😀"])
def test_a_key_is_kept_in_a_file_that_only_its_owner_reads(tmp_path: Path, passphrase: str | None) -> None:
    file = tmp_path / "ada.pem"
    signer = AuditSigner.generate()
    before = os.umask(0)
    try:
        signer.save(file, passphrase)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ("ENCRYPTED" in file.read_text()) is (passphrase is not None)
    again = AuditSigner.load(file, passphrase)
    assert again.public_key_hex == signer.public_key_hex
    assert verify_text(signer.public_key, "text", again.sign("text"))
    assert not verify_text(signer.public_key, "texT", again.sign("text"))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "ada.pem"
    AuditSigner.generate().save(file)
    content = file.read_bytes()
    with pytest.raises(KeyFileError, match="cannot write"):
        AuditSigner.generate().save(file)
    assert file.read_bytes() == content


def test_a_key_is_not_shown() -> None:
    signer = AuditSigner.generate()
    assert repr(signer) == f"AuditSigner(public_key={signer.public_key_hex})"


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ada.pem"
    AuditSigner.generate().save(file)
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match="0640"):
        AuditSigner.load(file)


def test_other_files_are_refused_in_one_line_each(tmp_path: Path) -> None:
    def kept(content: bytes) -> Path:
        file = tmp_path / f"key-{len(content)}"
        file.touch(0o600)
        file.write_bytes(content)
        return file

    plain, secret, wrong = tmp_path / "plain", tmp_path / "secret", tmp_path / "none"
    AuditSigner.generate().save(plain)
    AuditSigner.generate().save(secret, "horse")
    x = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, passphrase, said in (
        (wrong, None, "No such file"),
        (tmp_path, None, "is not a file|Is a directory"),
        (secret, None, "needs a passphrase"),
        (secret, "donkey", "passphrase is wrong"),
        (plain, "horse", "has no passphrase"),
        (kept(b""), None, "not a private key"),
        (kept(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), None, "not a private key"),
        (kept(x), None, "not an Ed25519 key"),
    ):
        with pytest.raises(KeyFileError, match=said) as caught:
            AuditSigner.load(file, passphrase)
        assert "\n" not in str(caught.value)
    with pytest.raises(KeyFileError, match="empty"):
        AuditSigner.generate().save(wrong, "")


def test_weak_keys_are_those_of_the_database(db: Connection) -> None:
    p = 2**255 - 19
    keys = [bytes.fromhex(public_hex(private_key(n))) for n in ("ada", "ben")]
    keys += [n.to_bytes(32, "little") for n in (*range(20), p - 1, p, p + 1, 2**255 - 1, 2**255, 2**255 + 1)]
    keys += [(1 << 255 | n).to_bytes(32, "little") for n in (*range(6), p - 1, p, p + 1)]
    keys += [b"", b"\0" * 31, b"\0" * 33, keys[0] + b"\0"]
    keys += [ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(5)]
    theirs = one(
        db,
        "select array_agg(_ed25519_key_is_weak(k) order by n) from unnest(%s::bytea[]) with ordinality as u(k, n)",
        [keys],
    )
    assert [is_weak_key(key) for key in keys] == theirs
    assert {True, False} == set(theirs)


# --------------------------------------------------------------------------------------------------
# Pinned keys


def test_pins_are_read(tmp_path: Path) -> None:
    book, file = governed_book(), tmp_path / "pins.json"
    file.write_text(
        json.dumps({agent: key.hex() for agent, key in book.pins.items()} | {"origin": book.origin})
    )
    pins = load_pins(file)
    assert pins.keys == book.pins
    assert pins.origin == book.origin


ADA, KEY = str(agent_id("ada")), public_hex(private_key("ada"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"origin": "x"}',
        f'{{"ada": "{KEY}"}}',
        f'{{"{ADA}": "{KEY[:-2]}"}}',
        f'{{"{ADA}": "01{"00" * 31}"}}',
        f'{{"{ADA}": "{KEY}", "{agent_id("ben")}": "{KEY}"}}',
        f'{{"{ADA}": 1}}',
        "\ufffe",
    ],
)
def test_what_is_no_pin_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "pins.json"
    file.write_text(content)
    with pytest.raises(PinsError, match="does not pin keys"):
        load_pins(file)
    with pytest.raises(PinsError, match="No such file"):
        load_pins(tmp_path / "none")


# --------------------------------------------------------------------------------------------------
# The highest version


def verified(book: Book) -> Verified:
    return IntegrityChecker().check(book.reading())


def tightened(book: Book) -> Book:
    book.apply("risk_config", limits("0.01"), "ada", "ben", to=state_text(2, "0.0100 0.0300 2.00"))
    return book


def test_a_restored_older_state_is_found_also_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    HighWater(file).accept(verified(tightened(governed_book())))
    with pytest.raises(RiskTampered, match="version is 1, and 2 was seen before"):
        HighWater(file).accept(verified(governed_book()))
    HighWater(file).accept(verified(tightened(governed_book())))


def test_another_history_under_the_same_version_is_found(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    HighWater(file).accept(verified(tightened(governed_book())))
    other = governed_book()
    other.apply("risk_config", limits("0.04"), "ada", "ben", to=state_text(2, "0.0400 0.0300 2.00"))
    with pytest.raises(RiskTampered, match="version 2 is not the one"):
        HighWater(file).accept(verified(other))
    other.apply("risk_config", limits("0.02"), "ada", "ben", to=state_text(3, "0.0200 0.0300 2.00"))
    with pytest.raises(RiskTampered, match="version 2 is not the one"):
        HighWater(file).accept(verified(other))


def test_another_installation_and_other_agents_are_found(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    HighWater(file).accept(verified(governed_book()))
    good = verified(governed_book())
    with pytest.raises(RiskTampered, match="installation"):
        HighWater(file).accept(replace(good, origin="another"))
    first = dict(good.replay.first) | {ADA: bytes.fromhex(public_hex(private_key("mallory")))}
    with pytest.raises(RiskTampered, match="bootstrap"):
        HighWater(file).accept(replace(good, replay=replace(good.replay, first=first)))


def test_a_lockdown_ends_by_a_release_only_also_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    book = governed_book()
    HighWater(file).accept(replace(verified(book), is_locked=True))
    with pytest.raises(RiskTampered, match="without an approved release"):
        HighWater(file).accept(verified(book))
    release = {"damage": [PLACE]}
    book.apply("lockdown_release", release, "ada", "ben", "cyd", to=book.text.replace(":1,", ":2,"))
    HighWater(file).accept(verified(book))
    assert json.loads(file.read_text())["locked_at"] is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"origin": 1, "agents": "", "version": 1, "state_hash": ""}',
        '{"origin": "", "agents": "", "version": "1", "state_hash": ""}',
    ],
)
def test_a_broken_mark_is_not_taken_for_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mark"
    file.write_text(content)
    with pytest.raises(HighWaterError, match="does not hold"):
        HighWater(file).accept(verified(governed_book()))
    assert file.read_text() == content


def test_a_mark_that_cannot_be_kept_counts_as_a_failure(tmp_path: Path) -> None:
    with pytest.raises(HighWaterError, match="cannot write"):
        HighWater(tmp_path / "none" / "mark").accept(verified(governed_book()))
    water = HighWater(tmp_path / "mark")
    water.accept(verified(governed_book()))
    (tmp_path / "mark").unlink()
    water.accept(verified(governed_book()))
    assert not (tmp_path / "mark").exists(), "only changes are written"
    assert [p.name for p in tmp_path.iterdir()] == []


def test_without_a_file_the_mark_lasts_as_long_as_the_process() -> None:
    water = HighWater()
    water.accept(verified(tightened(governed_book())))
    with pytest.raises(RiskTampered):
        water.accept(verified(governed_book()))

"""Keys and notes are those of the C2SP specifications: a parser of their own, written here, reads them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from alpha_db.evidence.checkpoint.keys import BadKey, SigningKey, trusted_keys
from alpha_db.security.private_file import KeyFileError
from tests.checkpoint.book import NAME, Book, make_key, public, run
from tests.support import ROOT, one, query


class Opened(NamedTuple):
    """A note's text and the names of those whose signature holds."""

    text: bytes
    signers: list[str]


def open_note(note: bytes, vkey: str) -> Opened:
    """c2sp.org/signed-note, as it reads, with nothing of ours."""
    name, key_id, encoded = vkey.split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    assert key[0] == 1, "Ed25519"
    assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_id
    text, signatures = note[: note.rindex(b"\n\n") + 1], note[note.rindex(b"\n\n") + 2 :]
    assert signatures.endswith(b"\n")
    signers = []
    for line in signatures.decode().splitlines():
        found = re.fullmatch("\N{EM DASH} (\\S+) (\\S+)", line)
        assert found
        blob = base64.b64decode(found[2], validate=True)
        if found[1] == name and blob[:4].hex() == key_id:
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(blob[4:], text)
            except InvalidSignature:
                continue
            signers.append(name)
    return Opened(text, signers)


def merkle(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, as it reads."""
    if len(leaves) <= 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest() if leaves else hashlib.sha256(b"").digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + merkle(leaves[:split]) + merkle(leaves[split:])).digest()


def seed_of(key: Path) -> str:
    """The secret part of a private key's file."""
    return key.read_text(encoding="utf-8").strip().split("+", 4)[4]


class Proof(NamedTuple):
    """c2sp.org/tlog-proof, read as it reads."""

    extra: dict[str, Any]
    place: int
    path: list[bytes]
    note: bytes


def open_proof(proof: bytes) -> Proof:
    head, note = proof.split(b"\n\n", 1)
    first, extra, index, *path = head.decode().split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    assert extra.startswith("extra ")
    assert re.fullmatch(r"index (0|[1-9]\d*)", index)
    decoded = [base64.b64decode(node, validate=True) for node in path]
    return Proof(json.loads(base64.b64decode(extra[6:], validate=True)), int(index[6:]), decoded, note)


def test_a_stranger_reads_every_run(signed_book: Book) -> None:
    book = signed_book
    latest = book.runs[-1]
    assert sorted(path.name for path in latest.iterdir()) == ["checkpoint.note", "run.tlog-proof"]
    note = (latest / "checkpoint.note").read_bytes()
    opened = open_note(note, book.vkey)
    proof = open_proof((latest / "run.tlog-proof").read_bytes())
    with book.connect() as conn:
        runs = query(conn, "select * from checkpoint_runs order by id")
        hashes = [bytes.fromhex(row["row_hash"]) for row in runs]
        assert opened == (f"{NAME}\n3\n{base64.b64encode(merkle(hashes)).decode()}\n".encode(), [NAME])
        assert (proof.place, proof.note) == (2, note)
        # the row of the run, by its text: it gives its hash, which stands where the proof says
        text = one(conn, "select row_data from chain_rows('checkpoint_runs', 3, 3)")
        assert proof.extra == {
            "format": "alpha-db/run/v1",
            "previous_hash": runs[1]["row_hash"],
            "row_data": text,
        }
        row_hash = hashlib.sha256(bytes.fromhex(runs[1]["row_hash"]) + text.encode()).digest()
        assert row_hash == hashes[2]
        assert proof.path == [merkle(hashes[:2])]
        # and what it says is what stands in the tables
        heads = json.loads(text)["heads"]
        tables = {row["table_name"] for row in query(conn, "select table_name from chain_status()")}
        assert heads.keys() == tables - {"checkpoint_runs"}
        for table, head in heads.items():
            leaves = [
                row["row_hash"] for row in query(conn, f"select row_hash::text from {table} order by id")
            ]
            root = merkle([bytes.fromhex(leaf) for leaf in leaves]).hex()
            assert head == {"size": len(leaves), "root": root, "row_hash": leaves[-1] if leaves else None}
        [guards] = query(conn, "select state_hash from guard_states order by id desc limit 1")
        assert runs[2]["guards_hash"] == guards["state_hash"]
        assert one(conn, "select %s::pg_lsn < pg_current_wal_insert_lsn()", [runs[2]["wal_lsn"]])


def test_every_changed_byte_shows(signed_book: Book) -> None:
    note = (signed_book.runs[0] / "checkpoint.note").read_bytes()
    end = note.rindex(b"\n\n")
    for place in range(end):
        changed = note[:place] + bytes([note[place] ^ 1]) + note[place + 1 :]
        assert open_note(changed, signed_book.vkey).signers == []


def test_keys_have_gos_encoding(tmp_path: Path) -> None:
    """The key that golang.org/x/mod/sumdb/note has in its documentation."""
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
    file = tmp_path / "peter.key"
    file.write_text(skey + "\n")
    file.chmod(0o600)
    key = SigningKey.load(file)
    assert key.vkey == vkey
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    assert key.sign(text) == (
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    again = tmp_path / "again.key"
    key.save(again)
    assert again.read_text() == skey + "\n"
    assert [known.name for known in trusted_keys([vkey])] == ["PeterNeumann"]


def test_keygen(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        key = make_key(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    made = SigningKey.load(key)
    assert public(key).read_text() == f"{made.vkey}\n"
    assert seed_of(key) not in repr(made)
    kept = key.read_bytes()
    shown = run("checkpoint", "show", "--key", key)
    assert shown.out == public(key).read_text(encoding="utf-8")
    again = run("checkpoint", "keygen", "--name", NAME, "-o", key, expect=3)
    assert "File exists" in again.err
    public(key).unlink()
    run("checkpoint", "keygen", "--name", NAME, "-o", key, expect=3)
    assert key.read_bytes() == kept, "nothing is overwritten"
    other = run("checkpoint", "keygen", "--name", "b", "-o", tmp_path / "b", "--json").json
    assert other["vkey"] == public(tmp_path / "b").read_text().strip()
    for name in ("", "a b", "a+b", "a\nb", "a\N{NO-BREAK SPACE}b", "a\N{ZERO WIDTH SPACE}"):
        assert run("checkpoint", "keygen", "--name", name, "-o", tmp_path / "c", expect=2).err
    assert not (tmp_path / "c").exists()


def test_private_keys_that_are_refused(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    content = key.read_text()
    key.chmod(0o640)
    with pytest.raises(KeyFileError, match="can be read by others"):
        SigningKey.load(key)
    key.chmod(0o600)
    seed = seed_of(key)
    prefix = content.strip().removesuffix(f"+{seed}")
    for text in (
        "",
        "x",
        public(key).read_text(),
        f"{prefix}+AAAA\n",
        content.replace(NAME, "other"),
        content + "x",
    ):
        key.write_text(text)
        with pytest.raises(KeyFileError) as caught:
            SigningKey.load(key)
        assert seed not in str(caught.value)


def test_public_keys_that_are_refused(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    weak = b"\1" + bytes(31) + b"\x80"
    key_id = hashlib.sha256(b"weak\n" + weak).digest()[:4].hex()
    file = tmp_path / "empty"
    file.write_text("# none yet\n\n")
    for given in (
        f"weak+{key_id}+{base64.b64encode(weak).decode()}",
        SigningKey.load(key).vkey.replace(NAME, "other"),
        key.read_text().strip(),
        str(key),
        str(file),
        str(tmp_path / "missing"),
    ):
        with pytest.raises(BadKey) as caught:
            trusted_keys([given])
        assert seed_of(key) not in str(caught.value)
    both = tmp_path / "both"
    both.write_text(f"# the desk's\n{SigningKey.load(key).vkey}\n{SigningKey.generate('x').vkey}\n")
    assert len(trusted_keys([str(both), str(public(key))])) == 2


PAGE = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")


def test_the_note_on_the_page_is_a_real_one() -> None:
    vkey = re.search(r"^(audit\S+) +public", PAGE, re.M)
    assert vkey
    found = re.search(r"^```text\n(audit.*?\n\n— .*?\n)```$", PAGE, re.DOTALL | re.M)
    assert found
    assert open_note(found[1].encode(), vkey[1]).signers == [NAME]


def test_keys_that_an_editor_or_a_mail_changed(tmp_path: Path) -> None:
    """The public key is read with CRLF; whatever else is not read says why."""
    key = make_key(tmp_path)
    private, vkey = key.read_bytes(), public(key).read_bytes()
    public(key).write_bytes(vkey.replace(b"\n", b"\r\n"))
    assert len(trusted_keys([str(public(key))])) == 1
    public(key).write_bytes(b"\xef\xbb\xbf" + vkey)
    with pytest.raises(BadKey, match="it begins with a byte order mark"):
        trusted_keys([str(public(key))])
    for content, words in (
        (private.replace(b"\n", b"\r\n"), "has CRLF line ends"),
        (b"\xef\xbb\xbf" + private, "begins with a byte order mark"),
    ):
        key.write_bytes(content)
        with pytest.raises(KeyFileError, match=words) as caught:
            SigningKey.load(key)
        assert "remove" in str(caught.value.hint)
        assert seed_of(key) not in str(caught.value)

"""Checks alpha-db's evidence with no database, no network, and nothing but Python's standard library.

    python3 offline_check.py checkpoint FILE... --trust KEY                  what was signed, and by whom
    python3 offline_check.py export FILE... [--checkpoint RUN --trust KEY]   every row, and whether it was signed
    python3 offline_check.py export SEGMENT... --trust KEY                   the same: a segment has its run in it
    python3 offline_check.py proof FILE... --trust KEY                       one row, without the others

A checkpoint is a run (run.tlog-proof, which names every log) or its note alone (checkpoint.note). --policy FILE instead
of --trust KEY names the keys, and the witnesses that must have cosigned.

This file imports nothing of alpha-db and can be copied anywhere. In the order of an audit: Ed25519 (RFC 8032), Merkle
trees (RFC 6962), signed notes and checkpoints (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), runs and rows
(c2sp.org/tlog-proof), witnesses (c2sp.org/tlog-cosignature, c2sp.org/tlog-policy), exports, strict reading, the command
line. docs/chain-format.md and docs/auditor-guide.md describe the formats. Exit codes: 0 all holds, 1 evidence that does
not hold, 2 usage, 3 could not be checked, 5 not there.

It has 1351 lines, so that anyone who relies on it can read it. A seventh is what Python's library lacks (Ed25519,
Merkle trees), and a half are the formats. The rest tells evidence that does not hold from a file that cannot be read,
and prints what is in it without harm: fewer lines would call damage a fraud, or the other way round.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import io
import json
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256, sha512
from itertools import chain
from json.decoder import scanstring  # type: ignore[attr-defined]  # what reads a string in json.loads
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

MAX_LINE = 1 << 30  #: of an export, in bytes. PostgreSQL makes no value that is longer, so no line either.
MAX_PROOF = 1 << 32  #: of a proof, in bytes: a row, in which each character may need an escape
MAX_NOTE = 1 << 20  #: of a signed note, in bytes
MAX_SIGNATURES = 100  #: of a signed note
MAX_SHOWN = 4_000  #: characters of a row that are printed on a terminal

_HASH = re.compile(r"[0-9a-f]{64}")
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ORIGIN = re.compile(rf"alpha-db/({_UUID})/([^/\x00-\x1f]+)")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class Refused(ValueError):  # noqa: N818
    """The evidence can be read, and it does not hold."""


class Unreadable(ValueError):  # noqa: N818
    """What was given is not complete, well-formed evidence, so nothing was concluded from it."""


class NotThere(ValueError):  # noqa: N818
    """There is no file of the name that was given, or a run does not name the table."""


# ---------------------------------------------------------------------------------------------------------------------
# Ed25519: RFC 8032, section 5.1. Cofactorless and strict, as the database's ed25519_verify.

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_1 = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]  # X, Y, Z, T with x = X/Z, y = Y/Z, x * y = T/Z


def _add(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * _D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(n: int, p: _Point) -> _Point:
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = _add(result, p)
        p, n = _add(p, p), n >> 1
    return result


def _same(p: _Point, q: _Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % _P == 0 and (p[1] * q[2] - q[1] * p[2]) % _P == 0


def _point(encoded: bytes) -> _Point | None:
    """Decode a point; None for what is not canonical, not on the curve, or of small order (RFC 8032, 5.1.3)."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if len(encoded) != 32 or y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT_OF_MINUS_1 % _P
    if x * x % _P != square or (x == 0 and sign):
        return None
    x = _P - x if x & 1 != sign else x
    point = (x, y, 1, x * y % _P)
    return None if _same(_times(8, point), (0, 1, 1, 0)) else point


_BASE = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether an Ed25519 signature is the key's for the message; False for anything malformed or weak."""
    a, r, s = _point(public_key), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or _BASE is None or len(signature) != 64 or s >= _L:
        return False
    h = int.from_bytes(sha512(signature[:32] + public_key + message).digest(), "little") % _L
    return _same(_times(s, _BASE), _add(r, _times(h, a)))


Verify = Callable[[bytes, bytes, bytes], bool]  # of a public key, a message and a signature

# ---------------------------------------------------------------------------------------------------------------------
# Merkle trees: RFC 6962, section 2.1. A leaf is the 32 bytes of a row_hash; the index of row N is N - 1.


def leaf_hash(row_hash: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\0" + row_hash).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


class MerkleTree:
    """A tree that grows at its end and keeps nothing but the roots of its complete subtrees.

    To go on with a tree whose leaves are not at hand, it takes the size and those roots, the smallest first. (They
    are the inclusion proof of the next leaf.)
    """

    def __init__(self, size: int = 0, subtrees: Sequence[bytes] = ()) -> None:
        if len(subtrees) != bin(size).count("1"):
            raise Unreadable(f"a tree of {size} leaves does not have {len(subtrees)} complete subtrees")
        self.size = size
        self._subtrees = list(reversed(subtrees))

    def add(self, *leaves: bytes) -> None:
        """Add leaves, given as their leaf_hash; many at a time is faster."""
        bit, nodes, complete = 1, list(leaves), []
        while nodes:
            if self.size & bit:
                nodes.insert(0, self._subtrees.pop())
            if len(nodes) & 1:
                complete.append(nodes.pop())
            pairs = zip(nodes[::2], nodes[1::2], strict=True)
            nodes = [sha256(b"\1" + left + right).digest() for left, right in pairs]
            bit <<= 1
        self._subtrees += reversed(complete)
        self.size += len(leaves)

    def root(self) -> bytes:
        """Return the root of the leaves so far."""
        if not self._subtrees:
            return sha256(b"").digest()
        root, *larger = reversed(self._subtrees)
        for subtree in larger:
            root = node_hash(subtree, root)
        return root

    @property
    def subtrees(self) -> list[bytes]:
        """The roots of the complete subtrees, the smallest first."""
        return self._subtrees[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Return whether the leaf (its leaf_hash) stands at the index in the tree of that size (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or any(len(node) != 32 for node in (leaf, root, *proof)):
        return False
    here, last, found = index, size - 1, leaf
    for node in proof:
        if last == 0:
            return False
        if here & 1 or here == last:
            found = node_hash(node, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, node)
        here, last = here >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether the tree of size1 is the beginning of the tree of size2 (RFC 9162, 2.1.4.2)."""
    if not 0 <= size1 <= size2 or any(len(node) != 32 for node in (root1, root2, *proof)):
        return False
    if size1 == size2 or size1 == 0:
        return not proof and (root1 == root2 if size1 == size2 else root1 == sha256(b"").digest())
    nodes = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not nodes:
        return False
    here, last = size1 - 1, size2 - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            new = node_hash(new, node)
        here, last = here >> 1, last >> 1
    return last == 0 and old == root1 and new == root2


# ---------------------------------------------------------------------------------------------------------------------
# Keys, signed notes, checkpoints: c2sp.org/signed-note, c2sp.org/tlog-checkpoint


class Key(NamedTuple):
    """A public key that somebody trusts."""

    name: str
    key_id: bytes
    public_key: bytes


class Checkpoint(NamedTuple):
    """What a note says that a trusted key signed: the log of runs had this size and this root."""

    origin: str  #: name of the log, and of the key
    size: int
    root: bytes


class Signed(NamedTuple):
    """The head of one log, as a signed run names it: the rows 1 to size of the table have this root."""

    origin: str
    table: str
    size: int
    root: bytes
    signer: str  #: name of the key


class Run(NamedTuple):
    """A row of checkpoint_runs that a checkpoint covers: where every log stood at that time."""

    id: int
    time: datetime  #: the clock of the database server
    installation: str
    guards: str  #: SHA-256 of the state of all triggers, functions and rights
    system: str  #: the PostgreSQL cluster
    timeline: int
    lsn: str  #: how far its write-ahead log was
    version: str  #: of PostgreSQL
    heads: dict[str, Signed]  #: by table; without the log of runs itself
    broken: list[str]  #: tables in which a row was missing, so that their log had no root
    checkpoint: Checkpoint

    def head(self, table: str) -> Signed:
        """Return the head of a table's log. Raises NotThere for a table it does not name, Unreadable without a root."""
        if table == LOG_OF_RUNS:
            signed = self.checkpoint
            origin = f"alpha-db/{self.installation}/{LOG_OF_RUNS}"
            return Signed(origin, table, signed.size, signed.root, signed.origin)
        if table in self.broken:
            raise Unreadable(f"run {self.id} has no root of {shown(table)}, because a row was missing")
        if table not in self.heads:
            raise NotThere(f"run {self.id} does not name the table {shown(table)}")
        return self.heads[table]


def key_id_of(name: str, public_key: bytes) -> bytes:
    """Return the four bytes that stand before a signature and tell whose it is."""
    return sha256(name.encode() + b"\n\1" + public_key).digest()[:4]


def parse_vkey(text: str) -> Key:
    """Read a public key, NAME+ID+KEY. Raises Unreadable for another text, Refused for a key that is weak."""
    found = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})", text)
    if not found:
        raise Unreadable("not a public key such as NAME+0a1b2c3d+BASE64")
    name, key_id, data = found[1], bytes.fromhex(found[2]), _base64(found[3], 33)
    if data[0] == KEY_OF_WITNESS:
        raise Unreadable(
            "it is the key of a witness, which cosigns: --policy takes it, --trust that of a log"
        )
    if data[0] != 1 or key_id_of(name, data[1:]) != key_id:
        raise Unreadable("the public key is not of Ed25519, or its id is not that of the name and the key")
    if _point(data[1:]) is None:
        raise Refused("the public key is weak: anyone could sign for it")
    return Key(name, key_id, data[1:])


def load_keys(given: Iterable[str]) -> list[Key]:
    """Read public keys; each is the text of one, or a file with one on each line (# begins a comment)."""
    keys: list[Key] = []
    for text in given:
        if re.fullmatch(r"[^\s+]+\+[0-9a-f]{8}\+\S+", text):
            keys.append(parse_vkey(text))
            continue
        lines = [line.strip() for line in read_text(text, MAX_NOTE).splitlines()]
        found = [parse_vkey(line) for line in lines if line and not line.startswith("#")]
        if not found:
            raise Unreadable("there is no public key in it")
        keys.extend(found)
    return keys


def open_note(note: str, keys: Sequence[Key], verify: Verify = verify_signature) -> tuple[str, Key]:
    """Return the text of a signed note and the trusted key that signed it: of several, the one that line 1 names.

    Raises Unreadable for what is no signed note, Refused if no trusted key signed it, or if a signature under a
    trusted key's name and id is not the key's. Signatures of other keys are ignored.
    """
    _check_line_ends(note)
    text, separator, signatures = note.removesuffix("\n").rpartition("\n\n")
    text, lines = text + "\n", signatures.split("\n")
    if len(note) > MAX_NOTE or len(lines) > MAX_SIGNATURES:
        raise Unreadable(f"a signed note has no more than {MAX_NOTE:,} bytes and {MAX_SIGNATURES} signatures")
    if not separator or not note.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f]", note):
        raise Unreadable("it is not a signed note, or not the whole of it" if note else "it is empty")
    signers: list[Key] = []
    others: list[str] = []
    for line in lines:
        found = _SIGNATURE.fullmatch(line)
        if not found:
            raise Unreadable("a signature line of the note is malformed")
        blob = _base64(found[2], None)
        if len(blob) < 5:
            raise Unreadable("a signature of the note is too short")
        others.append(f"{shown(found[1])} (key {blob[:4].hex()})")
        for key in keys:
            if (key.name, key.key_id) == (found[1], blob[:4]):
                if not verify(key.public_key, _utf8(text), blob[4:]):
                    raise Refused(f"the note was changed: it does not have the signature of {key.name}")
                signers.append(key)
    if not signers:
        trusted = ", ".join(f"{shown(key.name)} (key {key.key_id.hex()})" for key in keys[:3])
        raise Refused(
            f"the note is signed by {', '.join(others[:3])}, which is none of the trusted keys: {trusted}"
        )
    return text, next((key for key in signers if text.startswith(f"{key.name}\n")), signers[0])


def open_checkpoint(note: str, keys: Sequence[Key], verify: Verify = verify_signature) -> Checkpoint:
    """Return what a checkpoint says, after its signature was verified (by another implementation, if one is given).

    Raises Unreadable for what is no checkpoint of three lines, Refused for one that no trusted key signed, or the key
    of another log.
    """
    text, key = open_note(note, keys, verify)
    lines = text.split("\n")[:-1]
    if len(lines) != 3 or not all(lines) or not _SIZE.fullmatch(lines[1]):
        raise Unreadable("the note is signed, but is not a checkpoint of three lines")
    if lines[0] != key.name:
        raise Refused(f"it is of the log {shown(lines[0])}, and {shown(key.name)} signed it")
    return Checkpoint(lines[0], int(lines[1]), _base64(lines[2], 32))


# ---------------------------------------------------------------------------------------------------------------------
# Runs and rows: c2sp.org/tlog-proof. One signed root covers checkpoint_runs; each of its rows covers every other log.

LOG_OF_RUNS = "checkpoint_runs"
_PROOF = re.compile(
    r"c2sp\.org/tlog-proof@v1\n(?:extra ([A-Za-z0-9+/=]+)\n)?index (0|[1-9][0-9]{0,17})\n"
    r"((?:[A-Za-z0-9+/]{43}=\n){0,63})\n"
)
_RUN = {"format": str, "previous_hash": str, "row_data": str}
_ROW_PROOF = {**_RUN, "table": str, "id": int, "proof": list, "run": dict}
_RUN_ROW = {"id": int, "recorded_by": str, "installation_id": str, "server_version": str, "system_identifier": str,
            "timeline": int, "wal_lsn": str, "guards_hash": str, "heads": dict, "created_at": str}  # fmt: skip
_HEAD: dict[str, type | tuple[type, ...]] = {
    "size": int,
    "root": (str, type(None)),
    "row_hash": (str, type(None)),
}
_FORMS = {
    "installation_id": _UUID,
    "system_identifier": r"\d{1,20}",
    "wal_lsn": r"[0-9A-F]{1,8}/[0-9A-F]{1,8}",
    "guards_hash": r"[0-9a-f]{64}",
    "created_at": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?\+00:00",
}


class RunRow(NamedTuple):
    """A row of checkpoint_runs as it was hashed, and its inclusion proof in the log of runs."""

    id: int
    previous_hash: str
    row_data: str
    proof: Sequence[bytes]


class Proof(NamedTuple):
    """A row that was in a log when a checkpoint was signed, and the run that says so."""

    table: str
    id: int
    row_data: str
    row_hash: str
    head: Signed  #: of the row's log
    run: Run
    run_row: RunRow
    note: str  #: the checkpoint, with all its signatures


def verify_proof(text: str, keys: Sequence[Key], verify: Verify = verify_signature) -> Proof:
    """Check a proof: the run's row stands in the log that was signed, and the row in the log that the run names.

    Raises Unreadable for what is no proof, Refused for one that does not hold.
    """
    found = _PROOF.match(text)
    if not found:
        _check_line_ends(text[: 1 << 20])
        raise Unreadable("it is not a proof (c2sp.org/tlog-proof@v1), or not the whole of it")
    note = text[found.end() :]
    checkpoint = open_checkpoint(note, keys, verify)
    extra, index = _base64(found[1] or "", None), int(found[2])
    is_run = extra.startswith(b'{"format":"alpha-db/run/v1"')
    row = _object(extra, *(("alpha-db/run/v1", _RUN) if is_run else ("alpha-db/row/v1", _ROW_PROOF)))
    run_row = row if is_run else row["run"]
    if not is_run:
        _require_members(run_row, {"previous_hash": str, "row_data": str}, "the run")
    run_hash = _row_hash(LOG_OF_RUNS, index + 1, run_row["previous_hash"], run_row["row_data"])
    path = [_base64(line, 32) for line in found[3].split()]
    signed_row = RunRow(index + 1, run_row["previous_hash"], run_row["row_data"], path)
    if index + 1 != checkpoint.size:
        # Nobody compared an older run with the logs when this was signed: its own checkpoint says what holds.
        raise Refused(f"run {index + 1} is not the last run that was signed, which is run {checkpoint.size}")
    if not verify_inclusion(leaf_hash(run_hash), index, checkpoint.size, path, checkpoint.root):
        raise Refused(
            f"run {index + 1} is not the run {index + 1} of the log that {checkpoint.origin} signed"
        )
    run = _read_run(run_row["row_data"], index + 1, checkpoint)
    if is_run:
        head = run.head(LOG_OF_RUNS)
        return Proof(LOG_OF_RUNS, run.id, row["row_data"], run_hash.hex(), head, run, signed_row, note)
    table, row_id = row["table"], row["id"]
    if table not in (LOG_OF_RUNS, *run.heads):
        raise Refused(f"run {run.id} has no root of the log {shown(table)}")
    head = run.head(table)
    row_hash = _row_hash(table, row_id, row["previous_hash"], row["row_data"])
    path = [_base64(node, 32) for node in row["proof"]]
    if not verify_inclusion(leaf_hash(row_hash), row_id - 1, head.size, path, head.root):
        raise Refused(f"row {row_id} is not the row {row_id} of the log that {head.signer} signed")
    return Proof(table, row_id, row["row_data"], row_hash.hex(), head, run, signed_row, note)


def _row_hash(table: str, row_id: int, previous_hash: str, row_data: str) -> bytes:
    """The hash of a row, which follows the one before it and says its own id."""
    if row_id < 1 or not _HASH.fullmatch(previous_hash):
        raise Unreadable("the proof is malformed")
    if row_id == 1 and previous_hash != genesis(table).hex():
        raise Refused(f"row 1 does not follow the genesis of {shown(table)}")
    _check_id(row_data, row_id)
    return sha256(bytes.fromhex(previous_hash) + _utf8(row_data)).digest()


def _read_run(row_data: str, run_id: int, checkpoint: Checkpoint) -> Run:
    row = _json(_utf8(row_data))
    # later versions may have more members
    _require_members({name: row.get(name) for name in _RUN_ROW}, _RUN_ROW, f"run {run_id}")
    for name, form in _FORMS.items():
        if not re.fullmatch(form, row[name], re.ASCII):
            raise Unreadable(f"{name} of run {run_id} is malformed")
    try:
        time = datetime.fromisoformat(row["created_at"])
    except ValueError:
        raise Unreadable(f"created_at of run {run_id} is no time") from None
    heads, broken = {}, []
    for table, head in row["heads"].items():
        _require_members(head, _HEAD, f"run {run_id}")
        hashes = [told for told in (head["root"], head["row_hash"]) if told is not None]
        if table == LOG_OF_RUNS or not all(map(_HASH.fullmatch, hashes)):
            raise Unreadable(f"the head of {shown(table)} in run {run_id} is malformed")
        if head["root"] is None:
            broken.append(table)
            continue
        origin = f"alpha-db/{row['installation_id']}/{table}"
        heads[table] = Signed(origin, table, head["size"], bytes.fromhex(head["root"]), checkpoint.origin)
    return Run(run_id, time, row["installation_id"], row["guards_hash"], row["system_identifier"], row["timeline"],
               row["wal_lsn"], row["server_version"], heads, broken, checkpoint)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Witnesses: c2sp.org/tlog-cosignature, c2sp.org/tlog-policy. A witness is somebody outside who has seen that the log
# only grew, and signs so with the time. A policy says how many of which witnesses are enough.

#: The first byte of a public key: Ed25519, and Ed25519 with the time. Others, such as ML-DSA, are passed over.
KEY_OF_LOG, KEY_OF_WITNESS = 0x01, 0x04


class Witness(NamedTuple):
    """A witness, as a policy names it."""

    name: str  #: in the policy, nowhere else
    key: Key | None  #: None: of a kind that is passed over, so it never counts as one that signed
    url: str | None


class Group(NamedTuple):
    """Witnesses and groups, of which so many must have signed."""

    name: str
    threshold: int
    members: tuple[str, ...]


class Policy(NamedTuple):
    """Who must have signed a checkpoint: one of the logs, and a quorum of the witnesses."""

    logs: tuple[Key, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]  #: each behind its members
    quorum: str  #: the name of a witness or a group, or "none"

    def is_met(self, signed: Iterable[str]) -> bool:
        """Return whether the witnesses of these names are a quorum."""
        met = {"none", *signed}
        for group in self.groups:
            if sum(member in met for member in group.members) >= group.threshold:
                met.add(group.name)
        return self.quorum in met


class Witnessed(NamedTuple):
    """Which witnesses signed a checkpoint, and when."""

    times: dict[str, int]  #: the first time of each, in seconds since 1970, by its name in the policy
    is_met: bool  #: whether they are a quorum


def witnessed(
    text: str, signatures: Iterable[str], policy: Policy, verify: Verify = verify_signature
) -> Witnessed:
    """Return which witnesses of a policy signed a note; takes its text and its signature lines.

    Raises Unreadable for a malformed line, Refused if a signature under the name and id of a witness is not the
    witness's for this text. Signatures of others are ignored. Whether a log signed is not looked at: see open_note.
    """
    times: dict[str, int] = {}
    for line in signatures:
        found = _SIGNATURE.fullmatch(line)
        if not found:
            raise Unreadable("a signature line of the note is malformed")
        blob = _base64(found[2], None)
        for name, key, _ in policy.witnesses:
            if key and (key.name, key.key_id) == (found[1], blob[:4]):
                time = int.from_bytes(blob[4:12], "big")
                message = _utf8(f"cosignature/v1\ntime {time}\n{text}")
                if time >> 63 or not verify(key.public_key, message, blob[12:]):
                    raise Refused(f"the signature of the witness {shown(key.name)} is not of this checkpoint")
                times[name] = min(time, times.get(name, time))
    return Witnessed(times, policy.is_met(times))


def require_quorum(note: str, policy: Policy, verify: Verify = verify_signature) -> dict[str, int]:
    """Return who cosigned a note, and when. Raises Refused if that is no quorum, and as witnessed does."""
    text, _, lines = note.removesuffix("\n").rpartition("\n\n")
    times, is_met = witnessed(f"{text}\n", lines.split("\n"), policy, verify)
    if not is_met:
        who = shown(", ".join(times)) or "none of the policy's witnesses"
        raise Refused(f"it is not cosigned by the quorum {shown(policy.quorum)}: cosigned by {who}")
    return times


def parse_policy(text: str) -> Policy:
    """Read a policy. Raises Unreadable for what is none, Refused for a weak key in it."""
    _check_line_ends(text)
    if len(text) > MAX_NOTE or re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
        raise Unreadable(f"a policy has no control characters, and at most {MAX_NOTE:,} of others")
    if not text.endswith("\n"):
        raise Unreadable("the policy is empty, or cut short: its last line has no line end")
    policy = _PolicyLines()
    for number, line in enumerate(text.split("\n"), 1):
        words = re.findall(r"[^ \t]+", line)
        if words and not words[0].startswith("#"):
            try:
                policy.add(words)
            except (Unreadable, Refused) as problem:
                raise type(problem)(f"line {number} of the policy: {problem}") from None
    if policy.quorum is None:
        raise Unreadable("the policy has no line 'quorum'")
    return Policy(tuple(policy.logs), tuple(policy.witnesses), tuple(policy.groups), policy.quorum)


class _PolicyLines:
    """What the lines of a policy said so far. A line can only name what stands above, so no group is in itself."""

    def __init__(self) -> None:
        self.logs: list[Key] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorum: str | None = None
        self._names = {"none"}
        self._free: set[str] = set()  # names that are no member of a group yet: each may be one once
        self._keys: set[tuple[int, bytes]] = set()

    def add(self, words: Sequence[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) < 2:
                key = self._key(vkey, KEY_OF_LOG)
                self.logs += [key] if key else []
            case ["witness", name, vkey, *url] if len(url) < 2:
                self._define(name)
                self.witnesses.append(Witness(name, self._key(vkey, KEY_OF_WITNESS), url[0] if url else None))
            case ["group", name, count, *members] if members:
                for member in members:
                    if member not in self._free:
                        raise Unreadable(f"{shown(member)} is not above, or is a member of a group already")
                    self._free.remove(member)
                self._define(name)
                number = {"any": "1", "all": f"{len(members)}"}.get(count, count)
                if not re.fullmatch(r"[1-9][0-9]{0,8}", number) or int(number) > len(members):
                    raise Unreadable(f"how many: any, all, or 1 to {len(members)}, and not {shown(count)}")
                self.groups.append(Group(name, int(number), tuple(members)))
            case ["quorum", name] if self.quorum is None:
                if name not in self._names:
                    raise Unreadable(f"{shown(name)} is not above")
                self.quorum = name
            case _:
                raise Unreadable(f"not a line of a policy, or a second quorum: {shown(' '.join(words)[:80])}")

    def _define(self, name: str) -> None:
        if name in self._names:
            raise Unreadable(f"there is another {shown(name)}")
        self._names.add(name)
        self._free.add(name)

    def _key(self, vkey: str, kind: int) -> Key | None:
        found = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})", vkey)
        data = _base64(found[3], None) if found else b""
        if not found or (data[0] in (KEY_OF_LOG, KEY_OF_WITNESS) and len(data) != 33):
            raise Unreadable("not a public key such as NAME+0a1b2c3d+BASE64")
        if (kind, data[1:]) in self._keys:
            raise Unreadable(f"the key of {shown(found[1])} is there twice")
        self._keys.add((kind, data[1:]))
        if data[0] not in (KEY_OF_LOG, KEY_OF_WITNESS):
            return None
        if data[0] != kind:
            owner = "a log" if kind == KEY_OF_WITNESS else "a witness"
            raise Unreadable(f"the key of {shown(found[1])} is that of {owner}")
        if sha256(_utf8(found[1]) + b"\n" + data).hexdigest()[:8] != found[2]:
            raise Unreadable(f"the id of the public key of {shown(found[1])} is not that of its name and key")
        if _point(data[1:]) is None:
            raise Refused("the public key is weak: anyone could sign for it")
        return Key(found[1], bytes.fromhex(found[2]), data[1:])


def shown_seconds(time: int) -> str:
    """Return the time of a cosignature so that people can read it."""
    if time >= 253_402_300_800:  # the year 10000
        return f"{time} seconds after 1970"
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---------------------------------------------------------------------------------------------------------------------
# Exports: a header, the rows, an end line, each a JSON object on a line of its own. A segment is an export behind one
# more line, which has the run that signed the rows: it needs no other file, however long ago they left the database.

# A row is written in one way only, so that every reader reads the same: no blanks, no other order, no second "id".
_ROW = re.compile(r'\{"id":([1-9][0-9]{0,17}),"row_hash":"(.{64})","row_data":"')
_HEADER = {
    "format": str,
    "origin": str,
    "table": str,
    "first_id": int,
    "previous_hash": str,
    "subtrees": list,
}
_END = {"format": str, "rows": int, "last_id": int, "last_hash": str}
_SEGMENT = {"format": str, "consistency": list, "run": str}


class ExportResult(NamedTuple):
    """An export that holds."""

    origin: str
    table: str
    first_id: int
    last_id: int
    rows: int
    previous_hash: str  #: of the row before the first, in hex
    last_hash: str
    signed_to: int | None  #: the rows up to this one are those that were signed; None without a checkpoint
    proof: Proof | None = None  #: of a segment, if keys are trusted: of the run that signed all its rows


class EndMissing(Refused):
    """An export ends before what was signed. By itself it holds, so another file may have the rows behind it."""

    def __init__(self, message: str, found: ExportResult) -> None:
        super().__init__(message)
        self.found = found


def genesis(table: str) -> bytes:
    """Return the previous hash of a table's row 1."""
    return sha256(b"alpha-db/chain/v1/" + _utf8(table)).digest()


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Give the lines of a file, unpacking gzip. Raises Unreadable for damaged gzip or a line above MAX_LINE."""
    raw: Any = stream
    packed = io.BufferedReader(raw, 1 << 16)
    try:
        unpacked: Any = gzip.GzipFile(fileobj=packed) if packed.peek(2)[:2] == b"\x1f\x8b" else None
        reader = packed if unpacked is None else io.BufferedReader(unpacked, 1 << 16)
        while line := reader.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise Unreadable(f"a line is longer than {MAX_LINE:,} bytes")
            yield line
    except EOFError:
        raise Unreadable("the gzip file is cut short") from None
    except (gzip.BadGzipFile, zlib.error):
        raise Unreadable("the gzip file is damaged, or something else stands behind it") from None
    except OSError as problem:
        raise Unreadable(f"it cannot be read: {problem.strerror or problem}") from None
    finally:
        if not stream.closed:
            packed.detach()  # the stream is the caller's: it stays open


def verify_export(
    lines: Iterable[bytes],
    signed: Signed | None = None,
    progress: Callable[[int], None] | None = None,
    heads: Mapping[int, Mapping[bytes, int]] | None = None,
    each: Callable[[int, str], None] | None = None,
    keys: Sequence[Key] = (),
) -> ExportResult:
    """Recompute every hash of an export, and with a signed head the root of the log, in constant memory.

    Takes the lines as read_lines gives them, what is to be told the number of rows now and then, what runs say of the
    log (size: {root: run}, see read_runs), what is to be told each row, and the keys whose run counts in a segment.
    Raises Unreadable for what is no complete export, Refused for one that does not hold.
    """
    source = iter(lines)
    line, number = _whole(next(source, b""), 1), 1
    segment = _segment(line) if line.startswith(SEGMENT_LINE) else None
    if segment:
        line, number = _whole(next(source, b""), 2), 2
    header, tree = _header(line)
    origin, table, first = header["origin"], header["table"], header["first_id"]
    previous, row_id = bytes.fromhex(header["previous_hash"]), first - 1
    proof = _run_of_segment(segment, origin, table, keys) if segment and keys else None
    if proof and signed and signed.size < first - 1:
        signed = None  # of the rows before: a segment needs no other run than its own
    goal = -1 if signed is None else _goal(signed, origin, first)
    stop, root_at_goal = goal if proof else -1, tree.root()
    heads = heads or {}
    for size in heads:
        if signed and size > goal:
            raise Refused(f"run {min(heads[size].values())} names {size} rows, and a later one only {goal}")
    _check_heads(tree, heads.get(first - 1, {}))
    leaves: list[bytes] = []
    match = _ROW.match
    for line in source:
        number += 1
        try:
            text = line.decode()
            found = match(text)
            if found is None:
                break
            told_id, told_hash = found.groups()
            row_data, end = scanstring(text, found.end())
            previous = sha256(previous + row_data.encode()).digest()
        except ValueError:
            raise Unreadable(f"line {number} is not a row: bad JSON, or not UTF-8") from None
        row_id += 1
        if text[end:] != "}\n":
            _check_line_ends(text[end:])
            raise Unreadable(f"line {number} is cut short, or has more in it than a row")
        if int(told_id) != row_id:
            raise Refused(f"row {row_id} is missing, or stands elsewhere: line {number} is row {told_id}")
        if previous.hex() != told_hash:
            raise Refused(f"row {row_id} does not give its hash {shown(told_hash)}, but {previous.hex()}")
        _check_id(row_data, row_id)
        if proof or row_id <= goal:
            leaves.append(sha256(b"\0" + previous).digest())
        if each is not None:
            each(row_id, row_data)
        if not number & 1023 or row_id == stop or row_id in heads:
            tree.add(*leaves)
            leaves.clear()
            _check_heads(tree, heads.get(row_id, {}))
            root_at_goal = tree.root() if row_id == stop else root_at_goal
            if progress is not None:
                progress(row_id - first + 1)
    else:
        raise Unreadable(f"the export is cut short: no end line after row {row_id}")
    end_line = _object(_whole(line, number), "alpha-db/export-end/v1", _END)
    if (end_line["rows"], end_line["last_id"]) != (row_id - first + 1, row_id):
        raise Refused("the end line does not fit the rows: there were others when it was written")
    if end_line["last_hash"] != previous.hex():
        raise Refused("the end line does not have the hash of the last row")
    if next(source, None) is not None:
        raise Refused("something stands behind the end line")
    tree.add(*leaves)
    if segment and proof:
        _check_run_of_segment(segment, proof.run.head(table), row_id, tree.root())
    result = ExportResult(
        origin, table, first, row_id, row_id - first + 1, header["previous_hash"], previous.hex(), None, proof
    )
    if row_id < goal and not proof:
        raise EndMissing(
            f"the end is missing: {goal} rows were signed, the export ends at row {row_id}"
            f" (if only a part was exported, give a checkpoint of at most {row_id} rows)",
            result,
        )
    if signed is not None and row_id >= goal and (root_at_goal if proof else tree.root()) != signed.root:
        raise Refused(f"rows 1 to {goal} are not those that {signed.signer} signed: the root differs")
    return result._replace(signed_to=row_id if proof else None if signed is None else goal)


SEGMENT_LINE = b'{"format":"alpha-db/segment/v1",'  #: how a segment begins, and nothing else


def _segment(line: bytes) -> dict[str, Any]:
    """The first line of a segment, with its proof decoded."""
    found = _object(line, "alpha-db/segment/v1", _SEGMENT)
    return found | {"consistency": [_base64(node, 32) for node in found["consistency"]]}


def _run_of_segment(segment: dict[str, Any], origin: str, table: str, keys: Sequence[Key]) -> Proof:
    """The proof of the run that signed a segment's rows, before the rows are read."""
    proof = verify_proof(segment["run"], keys)
    if proof.table != LOG_OF_RUNS:
        raise Unreadable("the proof in the segment is that of another row than a run")
    try:
        head = proof.run.head(table)
    except NotThere as problem:
        raise Refused(f"the segment's own {problem}") from None
    if head.origin != origin:
        raise Refused(f"the segment is of {shown(origin)}, its run of {shown(head.origin)}")
    return proof


def _check_run_of_segment(segment: dict[str, Any], head: Signed, last_id: int, root: bytes) -> None:
    """Refuse rows up to last_id that are not the beginning of the log that the segment's run names."""
    if head.size < last_id:
        raise Refused(f"its run names {head.size} rows, the segment ends at row {last_id}")
    if not verify_consistency(last_id, head.size, root, head.root, segment["consistency"]):
        raise Refused(f"rows 1 to {last_id} are not those that {head.signer} signed: the root differs")


def _check_heads(tree: MerkleTree, said: Mapping[bytes, int]) -> None:
    """Refuse a log that is not what every run says of this size."""
    for root, run in said.items():
        if root != tree.root():
            raise Refused(f"run {run} names another root of rows 1 to {tree.size}")


def read_runs(lines: Iterable[bytes], run: Run) -> dict[str, dict[int, dict[bytes, int]]]:
    """Return what every run says of each log (table: {size: {root: run}}), from an export of checkpoint_runs.

    The export must have all runs, from the first to the signed one. Who signed two versions of a log, and shows one
    reader this and another reader that, has both in it for ever. Raises Unreadable, Refused.
    """
    found: dict[str, dict[int, dict[bytes, int]]] = {}

    def add(run_id: int, row_data: str) -> None:
        if run_id <= run.checkpoint.size:
            for table, head in _read_run(row_data, run_id, run.checkpoint).heads.items():
                found.setdefault(table, {}).setdefault(head.size, {}).setdefault(head.root, run_id)

    checked = verify_export(lines, run.head(LOG_OF_RUNS), each=add)
    if checked.first_id != 1:
        raise Unreadable(f"the export of {LOG_OF_RUNS} does not begin with run 1")
    return found


def _header(line: bytes) -> tuple[dict[str, Any], MerkleTree]:
    """The header, and the tree of the rows before the first."""
    header = _object(line, "alpha-db/export/v1", _HEADER)
    table, first, previous = header["table"], header["first_id"], header["previous_hash"]
    if first < 1 or not _HASH.fullmatch(previous) or _parts(header["origin"])[1] != table:
        raise Unreadable("the header of the export is malformed")
    if first == 1 and previous != genesis(table).hex():
        raise Refused("the export begins with row 1, but not with the genesis of its table")
    subtrees = [_base64(node, 32) for node in header["subtrees"]]
    if first % 2 == 0 and subtrees[:1] != [leaf_hash(bytes.fromhex(previous))]:
        raise Refused("the header contradicts itself: the row before the first has two hashes")
    return header, MerkleTree(first - 1, subtrees)


def _goal(signed: Signed, origin: str, first: int) -> int:
    if signed.origin != origin:
        raise Refused(f"the export is of {shown(origin)}, the checkpoint of {shown(signed.origin)}")
    if signed.size < first - 1:
        raise Unreadable(f"{signed.size} rows were signed, the export begins behind them at {first}")
    return signed.size


def _whole(line: bytes, number: int) -> bytes:
    if number == 1:
        _check_marks(line)
        if not line:
            raise Unreadable("it is empty")
        if not line.startswith(b'{"format":"'):
            raise Unreadable("it is no export: line 1 is not the first line of one")
    if not line.endswith(b"}\n"):
        if line.endswith(b"\r\n"):
            _check_line_ends("\r\n")
        raise Unreadable(f"line {number} is cut short, or does not end with LF alone")
    if not line.startswith(b'{"format":"'):
        raise Unreadable(f"line {number} is neither a row, nor the first or last line of an export")
    return line


# ---------------------------------------------------------------------------------------------------------------------
# Reading strictly


def _object(text: bytes, form: str, members: Mapping[str, type]) -> dict[str, Any]:
    """A JSON object of this format with exactly these members, each of its type, none twice."""
    found = _json(text)
    if found.get("format") != form:
        raise Unreadable(f"where an object of the format {form} should stand is something else, or bad JSON")
    _require_members(found, members, form)
    return found


def _json(text: bytes) -> dict[str, Any]:
    """A JSON object in which no member stands twice; an empty one for what is none."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a member stands there twice")
        return dict(pairs)

    _check_marks(text)
    try:
        found = json.loads(text.decode(), object_pairs_hook=once, parse_constant=int)  # NaN is no int
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _require_members(found: object, members: Mapping[str, type | tuple[type, ...]], what: str) -> None:
    if not isinstance(found, dict) or found.keys() != members.keys():
        raise Unreadable(f"the members are not those of {what}")
    for name, types in members.items():
        value = found[name]
        if not isinstance(value, types) or isinstance(value, bool):
            raise Unreadable(f"the members are not those of {what}")
        if isinstance(value, int) and not 0 <= value < 1 << 63:
            raise Unreadable(f"a number is out of range in what should be {what}")


def _check_id(row_data: str, row_id: int) -> None:
    """The id is part of what is hashed, so a row cannot be passed off as another one."""
    if row_data.startswith(f'{{"id":{row_id},') or row_data == f'{{"id":{row_id}}}':
        return
    found = _id_of(row_data)
    if found != str(row_id):
        told = f"row {shown(found[:20])}" if found else "another one, or none"
        raise Refused(f"row {row_id} says of itself that it is {told}")


# Whatever a row holds: no number is converted, nothing is nested, and a string is one step.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[^\s"\[\]{},:]++|[\[\]{},:]', re.DOTALL)


def _id_of(row_data: str) -> str | None:
    """The member "id" of a row, where it is not the first, as it is spelled; None if there is none, or several."""
    depth, before, last = 0, "", ""
    values = []
    for found in _TOKEN.finditer(row_data):
        token = found[0]
        if depth == 1 and last == ":" and before == '"id"':
            values.append(token)
        if token in ("{", "["):
            depth += 1
        elif token in ("}", "]"):
            depth -= 1
        before, last = last, token
    return values[0] if len(values) == 1 and row_data.startswith("{") else None


def _parts(origin: str) -> tuple[str, str]:
    found = _ORIGIN.fullmatch(origin)
    if not found:
        raise Unreadable("the origin is not that of an alpha-db log (alpha-db/INSTALLATION/TABLE)")
    return found[1], found[2]


def _base64(text: object, length: int | None) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        data = b""
    if base64.b64encode(data).decode() != text or length not in (None, len(data)):
        raise Unreadable("a value is not base64, or not of the right length")
    return data


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Unreadable("there is half a character in the text") from None


def _check_marks(data: bytes) -> None:
    if data.startswith(b"\xef\xbb\xbf"):
        raise Unreadable("it begins with a byte order mark (remove it with: tail -c +4 FILE)")
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise Unreadable("it is UTF-32 (make it UTF-8 again with: iconv -f UTF-32 -t UTF-8 FILE)")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("it is UTF-16 (make it UTF-8 again with: iconv -f UTF-16 -t UTF-8 FILE)")


def _check_line_ends(text: str) -> None:
    if text.startswith("\ufeff"):
        _check_marks(b"\xef\xbb\xbf")
    if "\r\n" in text:
        raise Unreadable("it has CRLF line ends (remove them with: tr -d '\\r' < FILE)")


_KINDS = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading, without a buffer; - is standard input.

    Raises NotThere, and Unreadable for what may not be read or is no plain file: a FIFO may wait for ever. What the
    shell opened itself (/dev/fd/63, of a process substitution) may be one.
    """
    name = os.fspath(path)
    if name == "-":
        return sys.stdin.buffer
    is_open = name == "/dev/stdin" or name.startswith(("/dev/fd/", "/proc/self/fd/"))
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if is_open else getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        # before it is opened, because that alone can do something to a device; and after, in case it was exchanged
        _check_kind(Path(name).stat().st_mode, is_open)
        descriptor = os.open(name, flags)
        try:
            _check_kind(os.fstat(descriptor).st_mode, is_open)
            return os.fdopen(descriptor, "rb", buffering=0)
        except BaseException:
            os.close(descriptor)
            raise
    except (FileNotFoundError, NotADirectoryError):
        if Path(name).is_symlink():
            raise NotThere("it is a link to a file that is not there") from None
        raise NotThere("there is no such file") from None
    except OSError as problem:
        raise Unreadable(f"it cannot be read: {problem.strerror or problem}") from None


def _check_kind(mode: int, is_open: bool) -> None:
    if not stat.S_ISREG(mode) and not (is_open and not stat.S_ISDIR(mode)):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "a device")
        raise Unreadable(f"it is {kind}, not a file (to read from a pipe, give - and redirect)")


def read_text(path: str | os.PathLike[str], limit: int) -> str:
    """Return a file's text; - is standard input.

    Raises NotThere, and Unreadable if it cannot be read, is not UTF-8, or has more bytes than the limit.
    """
    data = bytearray()
    stream = open_file(path)
    try:
        while len(data) <= limit and (more := stream.read(1 << 20)):
            data += more
    except OSError as problem:
        raise Unreadable(f"it cannot be read: {problem.strerror or problem}") from None
    finally:
        if stream is not sys.stdin.buffer:
            stream.close()
    if len(data) > limit:
        raise Unreadable(f"it is longer than {limit:,} bytes")
    _check_marks(bytes(data[:4]))
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None


def shown(text: str) -> str:
    """Return a text of unknown origin so that a terminal can print it."""
    if text.isprintable():
        return text
    return re.sub(r"[^ -~]", lambda c: c[0] if c[0].isprintable() else f"\\u{ord(c[0]):04x}", text)


# ---------------------------------------------------------------------------------------------------------------------
# The command line

OK, REFUSED, NOT_CHECKED, NOT_THERE = 0, 1, 3, 5  #: exit codes; 2 is usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="offline_check.py",
        description="Checks alpha-db's evidence offline.",
        epilog="Exit codes: 0 all holds, 1 something does not hold, 2 usage, 3 could not be checked, 5 not there."
        " Of several, 1 comes before 3, and 3 before 5.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="check the rows of exports")
    export.add_argument("file", nargs="+", help="an export, gzip or not; - for standard input")
    export.add_argument("--checkpoint", metavar="RUN", help="run.tlog-proof of a checkpoint, of no more rows")
    told = "an export of checkpoint_runs: what each run says of a log must fit; needs --checkpoint"
    export.add_argument("--runs", metavar="FILE", help=told)
    proof = commands.add_parser("proof", help="check proofs of rows")
    proof.add_argument("file", nargs="+", help="a proof (.tlog-proof); - for standard input")
    checkpoint = commands.add_parser("checkpoint", help="check signatures, and print what was signed")
    checkpoint.add_argument(
        "file", nargs="+", help="a run (run.tlog-proof), or a note (.note); - for standard input"
    )
    for command in (export, proof, checkpoint):
        told = "a public key, NAME+ID+BASE64, or a file of them; again for another one"
        command.add_argument("--trust", metavar="KEY", action="append", default=[], help=told)
        told = "logs and witnesses that are trusted, and how many must have signed (tlog-policy)"
        command.add_argument("--policy", metavar="FILE", help=told)
    given = parser.parse_args(arguments)
    if not all(given.trust):
        parser.error("--trust is empty: name a public key, or a file of them")
    if not (given.trust or given.policy) and (given.command != "export" or given.checkpoint):
        parser.error("--trust is missing: without a key that you trust, a signature says nothing")
    if given.command == "export" and given.runs and not given.checkpoint:
        parser.error("--runs needs --checkpoint: the runs must be those that were signed")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: only the exit code is asked for
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the terminal's encoding
    codes = {OK}
    is_lost = False
    try:
        for line in _run(given, codes):
            is_lost = is_lost or not _print(line)  # all is judged, whether or not it can be printed
    except KeyboardInterrupt:
        _complain("NOT CHECKED: interrupted")
        codes.add(NOT_CHECKED)
    if is_lost:
        codes.add(NOT_CHECKED)
    return next(code for code in (REFUSED, NOT_CHECKED, NOT_THERE, OK) if code in codes)


def _print(line: str) -> bool:
    """Print a line, and return whether that was possible: the disk may be full, or nobody reads any more."""
    problem = _problem_of_printing(line, sys.stdout)
    if problem:
        _complain(f"NOT CHECKED: the result cannot be printed: {problem.strerror or problem}")
    return problem is None


def _complain(line: str) -> None:
    _problem_of_printing(line, sys.stderr)


def _problem_of_printing(line: str, stream: TextIO) -> OSError | None:
    try:
        print(line, file=stream, flush=True)
    except OSError as problem:
        with suppress(OSError, ValueError):  # what is left in the buffer must not fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return problem
    return None


@contextmanager
def _judging(file: str, codes: set[int]) -> Iterator[None]:
    """Print what is wrong with a file, and go on: one that cannot be read hides no other."""
    try:
        yield
        return
    except Refused as problem:
        code, word, reason = REFUSED, "REFUSED", str(problem)
    except NotThere as problem:
        code, word, reason = NOT_THERE, "NOT THERE", str(problem)
    except Unreadable as problem:
        code, word, reason = NOT_CHECKED, "NOT CHECKED", str(problem)
    except MemoryError:
        code, word, reason = NOT_CHECKED, "NOT CHECKED", "this machine does not have the memory for it"
    codes.add(code)
    _complain(f"{word}: {shown(file)}: {shown(reason)}")


def _run(given: argparse.Namespace, codes: set[int]) -> Iterator[str]:
    keys: list[Key] = []
    policy: Policy | None = None
    for text in given.trust:
        with _judging(text.partition("+")[0], codes):
            keys += load_keys([text])
    if given.policy:
        with _judging(given.policy, codes):
            policy = parse_policy(read_text(given.policy, MAX_NOTE))
            keys = list(policy.logs) or keys  # what else is trusted does not widen a policy
            if not keys:
                raise Unreadable("it names no log, and --trust names no key")
    if len(codes) > 1:
        return  # nothing is judged by some of the keys that are to be trusted
    if given.command == "export":
        yield from _run_export(given, keys, policy, codes)
        return
    is_first = True
    for file in given.file:
        with _judging(file, codes):
            text = read_text(file, MAX_PROOF)
            if given.command == "proof" or text.startswith("c2sp.org/tlog-proof@"):
                proof = verify_proof(text, keys)
                lines, note = _described_proof(proof), proof.note
            else:
                lines, note = _described_note(open_checkpoint(text, keys)), text
            lines += _described_witnesses(note, policy)
            yield from lines if is_first else ("", *lines)
            is_first = False


def _run_export(
    given: argparse.Namespace, keys: Sequence[Key], policy: Policy | None, codes: set[int]
) -> Iterator[str]:
    run = None
    heads: dict[str, dict[int, dict[bytes, int]]] = {}
    if given.checkpoint:
        with _judging(given.checkpoint, codes):
            proof = verify_proof(read_text(given.checkpoint, MAX_PROOF), keys)
            witnesses = _described_witnesses(proof.note, policy)
            run = proof.run
    if run and given.runs:
        with _judging(given.runs, codes), _lines_of(given.runs) as lines:
            heads = read_runs(lines, run)
    for file in given.file:
        with _judging(file, codes):
            with _lines_of(file) as lines:
                first = [next(lines, b"")]
                if first[0].startswith(SEGMENT_LINE):
                    first.append(next(lines, b""))
                table, signed = _header(_whole(first[-1], len(first)))[0]["table"], None
                if run:
                    with _judging(given.checkpoint, codes):
                        signed = run.head(table)
                told = heads.get(table) if signed else None
                export = verify_export(chain(first, lines), signed, heads=told, keys=keys)
            if policy and not given.checkpoint and not export.proof:
                raise Unreadable("it is no segment, so --policy needs --checkpoint: that is what is cosigned")
            if export.proof and not (run and signed and export.first_id - 1 <= signed.size <= export.last_id):
                signed = None  # the run that was given is not of these rows
            by_itself = _described_run_of_segment(export.proof, table, policy) if export.proof else []
            yield f"log        {shown(export.origin)}"
            yield f"rows       {export.first_id} to {export.last_id}" if export.rows else "rows       none"
            yield f"before     {export.previous_hash}"
            yield f"last hash  {export.last_hash}"
            yield from by_itself
            if run and signed:
                yield f"root       {signed.root.hex()}"
                yield f"signed     the rows up to {signed.size}, by {shown(signed.signer)}"
                yield f"           in run {run.id}, {run.time.isoformat()}; {export.last_id - signed.size} came later"
                yield from _described_heads(heads.get(table, {}), export) if heads else ()
                yield from witnesses
            elif given.checkpoint and not by_itself:
                yield "signed     not known: the run could not be used"
            elif by_itself:
                yield from _described_heads(heads.get(table, {}), export) if heads else ()
            else:
                yield "signed     not looked at: a chain that was written again, or cut at its end, holds as well"


def _described_heads(sizes: Iterable[int], export: ExportResult) -> Iterator[str]:
    known = list(sizes)
    seen = sum(export.first_id - 1 <= size <= export.last_id for size in known)
    others = f"; {len(known) - seen} are of rows that are not in it" if seen < len(known) else ""
    yield f"runs       {seen} sizes that any run names of it fit{others}"


def _described_run_of_segment(proof: Proof, table: str, policy: Policy | None) -> list[str]:
    head, run = proof.run.head(table), proof.run
    return [
        f"root       {head.root.hex()}",
        f"signed     all rows of the segment, by {shown(head.signer)}",
        f"           in its run {run.id}, {run.time.isoformat()}, of {head.size} rows",
        *_described_witnesses(proof.note, policy),
    ]


@contextmanager
def _lines_of(file: str) -> Iterator[Iterator[bytes]]:
    stream = open_file(file)
    try:
        yield read_lines(stream)
    finally:
        if stream is not sys.stdin.buffer:
            stream.close()


def _described_witnesses(note: str, policy: Policy | None) -> list[str]:
    """Who cosigned; refuses a note without a quorum."""
    times = require_quorum(note, policy) if policy else {}
    return [f"witness    {shown(name)}, {shown_seconds(time)}" for name, time in times.items()]


def _described_note(checkpoint: Checkpoint) -> list[str]:
    return [
        f"log        {shown(checkpoint.origin)}",
        f"checkpoint {checkpoint.size} runs, root {checkpoint.root.hex()}",
    ]


def _described_proof(proof: Proof) -> list[str]:
    run = proof.run
    lines = [*_described_note(run.checkpoint), f"run        {run.id}, {run.time.isoformat()}"]
    if proof.table == LOG_OF_RUNS:
        lines += [
            f"  {shown(head.table)}: {head.size} rows, root {head.root.hex()}" for head in run.heads.values()
        ]
        lines += [f"  {shown(table)}: no root, because a row was missing" for table in run.broken]
        lines.append(f"  guards {shown(run.guards)}")
        lines.append(f"  server {shown(run.system)} timeline {run.timeline} lsn {shown(run.lsn)}")
        return lines
    return [
        *lines,
        f"  {shown(proof.table)}: {proof.head.size} rows, root {proof.head.root.hex()}",
        f"row        {proof.id}",
        f"row_hash   {proof.row_hash}",
        f"row_data   {_for_terminal(proof.row_data)}",
    ]


def _for_terminal(text: str) -> str:
    """All of a text, but to a terminal no more than somebody reads."""
    if len(text) <= MAX_SHOWN or not sys.stdout.isatty():
        return shown(text)
    return f"{shown(text[:MAX_SHOWN])}… ({len(text):,} characters; redirect the output to have all)"


if __name__ == "__main__":
    sys.exit(main())

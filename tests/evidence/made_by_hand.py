"""Evidence made by hand, from the descriptions of the formats: nothing of alpha_db is used here."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

INSTALLATION = "6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f"


# Merkle trees as RFC 6962, section 2.1, defines them: by recursion over the list of leaves.


def split(size: int) -> int:
    """The largest power of two that is smaller than size."""
    return 1 << (size - 1).bit_length() - 1


def root_of(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\1" + root_of(leaves[:k]) + root_of(leaves[k:])).digest()


def path_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path_of(index, leaves[:k]), root_of(leaves[k:])]
    return [*path_of(index - k, leaves[k:]), root_of(leaves[:k])]


def consistency_of(size: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    if size == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = split(len(leaves))
    if size <= k:
        return [*consistency_of(size, leaves[:k], whole), root_of(leaves[k:])]
    return [*consistency_of(size - k, leaves[k:], False), root_of(leaves[:k])]


@dataclass(frozen=True)
class Signer:
    """An Ed25519 key with a name."""

    name: str = "desk.example/log"
    seed: bytes = bytes(range(32))

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n\1" + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([1]) + self.public).decode()}"

    def signature_line(self, text: str) -> str:
        signature = self.key_id + self.private.sign(text.encode())
        return f"— {self.name} {base64.b64encode(signature).decode()}\n"

    def sign(self, text: str) -> str:
        return f"{text}\n{self.signature_line(text)}"


SIGNER = Signer()
OTHER = Signer("else.example", bytes(32))


class Book:
    """A table's rows and all that is said of them; `rows` are the texts that are hashed."""

    def __init__(self, rows: Sequence[str], table: str = "signals") -> None:
        self.rows, self.table, self.installation = list(rows), table, INSTALLATION
        self.hashes = [sha256(f"alpha-db/chain/v1/{table}".encode()).digest()]
        for row in self.rows:
            self.hashes.append(sha256(self.hashes[-1] + row.encode()).digest())

    @classmethod
    def of(cls, count: int, table: str = "signals") -> Book:
        texts = (f'{{"id":{n},"note":"é \\"x\\" \\\\ /","n":{n}.50}}' for n in range(1, count + 1))
        return cls(list(texts), table)

    @property
    def origin(self) -> str:
        return f"alpha-db/{self.installation}/{self.table}"

    @property
    def leaves(self) -> list[bytes]:
        return self.hashes[1:]

    def header(self, first: int = 1) -> dict[str, Any]:
        subtrees = path_of(first - 1, [*self.leaves[: first - 1], bytes(32)])
        return {
            "format": "alpha-db/export/v1",
            "origin": self.origin,
            "table": self.table,
            "first_id": first,
            "previous_hash": self.hashes[first - 1].hex(),
            "subtrees": [base64.b64encode(node).decode() for node in subtrees],
        }

    def row(self, n: int) -> dict[str, Any]:
        return {"id": n, "row_hash": self.hashes[n].hex(), "row_data": self.rows[n - 1]}

    def end(self, first: int = 1, last: int | None = None) -> dict[str, Any]:
        last = len(self.rows) if last is None else last
        rows, last_hash = last - first + 1, self.hashes[last].hex()
        return {"format": "alpha-db/export-end/v1", "rows": rows, "last_id": last, "last_hash": last_hash}

    def export(self, first: int = 1, last: int | None = None) -> list[bytes]:
        last = len(self.rows) if last is None else last
        documents = [self.header(first), *map(self.row, range(first, last + 1)), self.end(first, last)]
        return [line(document) for document in documents]

    def segment(self, first: int, last: int, size: int | None = None, signer: Signer = SIGNER) -> list[bytes]:
        """Rows with the proof of a run that names this log with `size` rows."""
        consistency = consistency_of(last, self.leaves[:size])
        begin = {
            "format": "alpha-db/segment/v1",
            "consistency": [base64.b64encode(node).decode() for node in consistency],
            "run": self.run(size, signer),
        }
        return [line(begin), *self.export(first, last)]

    def head(self, size: int | None = None) -> dict[str, Any]:
        """What a run says of this log."""
        size = len(self.rows) if size is None else size
        last = self.hashes[size].hex() if size else None
        return {"root": root_of(self.leaves[:size]).hex(), "size": size, "row_hash": last}

    def runs(self, size: int | None = None, together: Sequence[Book] = ()) -> Book:
        """A log of three runs, of which the last names this log, or all books that are given."""
        heads = {book.table: book.head() for book in together} or {self.table: self.head(size)}
        rows = [run_row(n, heads if n == 3 else {}, self.installation) for n in (1, 2, 3)]
        runs = Book(rows, "checkpoint_runs")
        runs.installation = self.installation
        return runs

    def text(self, size: int | None = None, signer: Signer = SIGNER) -> str:
        """What is signed: the log of runs whose last run names this log."""
        return checkpoint_text(self.runs(size), signer)

    def note(self, size: int | None = None, signer: Signer = SIGNER) -> str:
        """A checkpoint alone."""
        return signer.sign(self.text(size, signer))

    def run(self, size: int | None = None, signer: Signer = SIGNER) -> str:
        """The proof of the run that names this log, with the checkpoint."""
        return run_proof(self.runs(size), signer)

    def extra(self, n: int, size: int | None = None) -> dict[str, Any]:
        """What the proof of a row has besides the run and its place."""
        size = len(self.rows) if size is None else size
        runs = self.runs(size)
        return {
            "format": "alpha-db/row/v1",
            "table": self.table,
            "id": n,
            "previous_hash": self.hashes[n - 1].hex(),
            "row_data": self.rows[n - 1],
            "proof": [base64.b64encode(node).decode() for node in path_of(n - 1, self.leaves[:size])],
            "run": {"previous_hash": runs.hashes[2].hex(), "row_data": runs.rows[2]},
        }

    def proof(self, n: int, size: int | None = None, signer: Signer = SIGNER) -> str:
        """The proof of a row."""
        return tlog_proof(self.extra(n, size), self.runs(size), self.note(size, signer))


def run_row(n: int, heads: dict[str, Any], installation: str = INSTALLATION) -> str:
    """A row of checkpoint_runs as the database prints it."""
    return (
        f'{{"id":{n},"recorded_by":"auditor","installation_id":"{installation}","server_version":"18.1",'
        f'"system_identifier":"7412345678901234567","timeline":1,"wal_lsn":"0/15D4F28","guards_hash":"{"ab" * 32}",'
        f'"heads":{json.dumps(heads)},"created_at":"2026-01-25T12:00:0{n}.123456+00:00"}}'
    )


def checkpoint_text(runs: Book, signer: Signer = SIGNER) -> str:
    """The three lines of a checkpoint: c2sp.org/tlog-checkpoint."""
    return f"{signer.name}\n{len(runs.rows)}\n{base64.b64encode(root_of(runs.leaves)).decode()}\n"


def run_proof(runs: Book, signer: Signer = SIGNER) -> str:
    """The proof of the last run, c2sp.org/tlog-proof."""
    extra = {
        "format": "alpha-db/run/v1",
        "previous_hash": runs.hashes[-2].hex(),
        "row_data": runs.rows[-1],
    }
    return tlog_proof(extra, runs, signer.sign(checkpoint_text(runs, signer)))


def tlog_proof(extra: dict[str, Any] | bytes, runs: Book, note: str, index: int | None = None) -> str:
    """c2sp.org/tlog-proof: what the extra line holds, the place of the run, the path to the root, the note."""
    index = len(runs.rows) - 1 if index is None else index
    encoded = extra if isinstance(extra, bytes) else line(extra).rstrip(b"\n")
    path = "".join(f"{base64.b64encode(node).decode()}\n" for node in path_of(index, runs.leaves))
    return (
        f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(encoded).decode()}\nindex {index}\n{path}\n{note}"
    )


def line(document: dict[str, Any]) -> bytes:
    """A line of an export: JSON without blanks, with nothing escaped that need not be."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def bit_flips(data: bytes, places: Sequence[int] | None = None) -> list[bytes]:
    """The data with one bit turned, for each bit of the places (default: of all)."""
    flipped = []
    for place in range(len(data)) if places is None else places:
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            flipped.append(bytes(changed))
    return flipped


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


Change = Callable[[dict[str, Any]], dict[str, Any]]

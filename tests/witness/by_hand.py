"""Logs, witnesses and requests made by hand, from the specifications: nothing of alpha_db is used here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.merkle.reference import Tree

NOW = 1_790_000_000  #: a time in September 2026


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def seed_of(name: str) -> bytes:
    return sha256(name.encode()).digest()


@dataclass(frozen=True)
class Signer:
    """An Ed25519 key of c2sp.org/signed-note: kind 1 signs the text, kind 4 the time and the text."""

    name: str
    kind: int = 1
    seed: bytes = b""

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed or seed_of(self.name))

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([self.kind]) + self.public)}"

    def line(self, text: str, seconds: int = NOW) -> str:
        if self.kind == 1:
            return self.raw(self.private.sign(text.encode()))
        message = f"cosignature/v1\ntime {seconds}\n{text}".encode()
        return self.raw(seconds.to_bytes(8, "big") + self.private.sign(message))

    def raw(self, signature: bytes) -> str:
        return f"— {self.name} {b64(self.key_id + signature)}\n"


@dataclass(frozen=True)
class Log:
    """A log with its key; a fork has other rows from `fork_at` on."""

    name: str = "alpha-db/6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f/checkpoint_runs"
    rows: int = 200
    fork_at: int = 1 << 62

    @cached_property
    def key(self) -> Signer:
        return Signer(self.name)

    @cached_property
    def tree(self) -> Tree:
        rows = ((n, " of the fork" if n >= self.fork_at else "") for n in range(self.rows))
        return Tree([sha256(f"row {n}{more}".encode()).digest() for n, more in rows])

    def text(self, size: int, *extensions: str) -> str:
        lines = [self.name, str(size), b64(self.tree.root(size)), *extensions]
        return "".join(f"{line}\n" for line in lines)

    def note(self, size: int, *extensions: str) -> str:
        text = self.text(size, *extensions)
        return f"{text}\n{self.key.line(text)}"

    def proof(self, old: int, size: int) -> list[bytes]:
        return self.tree.consistency(old, size) if 0 < old < size else []

    def request(self, old: int, size: int) -> bytes:
        return request(old, self.proof(old, size), self.note(size))


def request(old: object, proof: Sequence[bytes], note: str) -> bytes:
    lines = [f"old {old}", *map(b64, proof), "", note]
    return "\n".join(lines).encode()


LOG = Log()
WITNESS = Signer("witness.example/w1", 4)
OTHER = Signer("witness.example/w2", 4)

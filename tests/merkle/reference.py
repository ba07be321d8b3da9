"""RFC 6962, section 2.1, written down as it stands there; nothing of alpha_db's is used.

`Tree` gives roots and proofs, `climb` says which hashes a proof of a leaf consists of.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class Tree:
    """The log of these entries; D[first:last] are ranges of them."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries = entries
        self._known: dict[tuple[int, int], bytes] = {}

    @cached_property
    def leaves(self) -> list[bytes]:
        return [leaf_hash(entry) for entry in self.entries]

    def root(self, size: int) -> bytes:
        """MTH(D[size])."""
        return self._mth(0, size)

    def inclusion(self, m: int, size: int) -> list[bytes]:
        """PATH(m, D[size])."""
        return self._path(m, 0, size)

    def consistency(self, m: int, size: int) -> list[bytes]:
        """PROOF(m, D[size])."""
        return self._subproof(m, 0, size, complete=True) if m else []

    def _mth(self, first: int, last: int) -> bytes:
        n = last - first
        if n == 0:
            return sha256(b"").digest()
        if n == 1:
            return self.leaves[first]
        if (first, last) not in self._known:
            k = first + split(n)
            self._known[first, last] = node_hash(self._mth(first, k), self._mth(k, last))
        return self._known[first, last]

    def _path(self, m: int, first: int, last: int) -> list[bytes]:
        n = last - first
        if n == 1:
            return []
        k = split(n)
        if m < k:
            return [*self._path(m, first, first + k), self._mth(first + k, last)]
        return [*self._path(m - k, first + k, last), self._mth(first, first + k)]

    def _subproof(self, m: int, first: int, last: int, complete: bool) -> list[bytes]:
        n = last - first
        if m == n:
            return [] if complete else [self._mth(first, last)]
        k = split(n)
        if m <= k:
            return [*self._subproof(m, first, first + k, complete), self._mth(first + k, last)]
        return [*self._subproof(m - k, first + k, last, complete=False), self._mth(first, first + k)]


def sides(m: int, n: int) -> str:
    """On which side each hash of PATH(m, D[n]) stands, from the leaf up. A proof says no more than this about m
    and n: where it is the same for two sizes, only the root tells them apart."""
    if n == 1:
        return ""
    k = split(n)
    return sides(m, k) + "R" if m < k else sides(m - k, n - k) + "L"

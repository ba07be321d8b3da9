"""Part ed25519: what a call of ed25519_verify costs, beside sha512 of the same message."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.security.ed25519 import verify
from bench.host import Host
from bench.measure import Figure, Slice, Target, alternate, figures

NAME = "ed25519"
TITLE = "a call of ed25519_verify, beside sha512 of the same message and `cryptography` in Python"

#: The targets: milliseconds on PostgreSQL 18, and on older ones.
TARGET, TARGET_BEFORE_18 = 5.0, 8.0

# about the length of a vote's signed text
_LENGTH = 300
_VECTORS = 25

# The loop is the server's, so that no round trip is measured. sha512 takes about as long as the clock's
# resolution: its calls are timed by the hundred.
_SETUP = """
create table bench_vectors (public_key bytea, message bytea, valid bytea, invalid bytea);

create function bench_verify(is_valid boolean) returns setof double precision
language plpgsql as $function$
declare
  v record; started timestamptz; answer boolean;
begin
  for v in select public_key, message, case when is_valid then valid else invalid end as signature
             from bench_vectors order by random() loop
    started := clock_timestamp();
    answer := ed25519_verify(v.public_key, v.message, v.signature);
    return next extract(epoch from clock_timestamp() - started) * 1000;
    if answer is distinct from is_valid then
      raise exception 'ed25519_verify said % where the signature is valid: %', answer, is_valid;
    end if;
  end loop;
end
$function$;

create function bench_sha512() returns setof double precision
language plpgsql as $function$
declare
  v record; started timestamptz; answer bytea;
begin
  for v in select message from bench_vectors order by random() loop
    started := clock_timestamp();
    for i in 1 .. 100 loop
      answer := sha512(v.message);
    end loop;
    return next extract(epoch from clock_timestamp() - started) * 1000 / 100;
  end loop;
end
$function$;
"""


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error, also if ed25519_verify gives a wrong answer."""
    vectors = list(_vectors())
    with host.connect(host.database("bench_ed25519")) as conn:
        conn.execute(_SETUP)
        with conn.cursor() as cursor:
            cursor.executemany("insert into bench_vectors values (%s, %s, %s, %s)", vectors)
        contestants: dict[str, Slice] = {
            "sha512 in SQL": lambda: _samples(conn, "select bench_sha512()"),
            "ed25519_verify, valid": lambda: _samples(conn, "select bench_verify(true)"),
            "ed25519_verify, invalid": lambda: _samples(conn, "select bench_verify(false)"),
            "Python, valid": lambda: _in_python(vectors),
        }
        alternate(contestants, 1)  # plans, caches
        samples = alternate(contestants, 2 if host.quick else 20)
        target = TARGET if conn.info.server_version >= 180000 else TARGET_BEFORE_18
    return figures(
        NAME,
        "one call",
        "ms",
        samples,
        baseline="sha512 in SQL",
        targets={"ed25519_verify, valid": Target(target)},
    )


def _vectors() -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Key, message, its signature, and a signature by this key of something else: refused only at the very end."""
    for number in range(_VECTORS):
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"bench %d" % number).digest())
        message = hashlib.shake_256(b"message %d" % number).digest(_LENGTH)
        yield key.public_key().public_bytes_raw(), message, key.sign(message), key.sign(message[1:])


def _samples(conn: psycopg.Connection[Any], statement: str) -> list[float]:
    return [float(row[0]) for row in conn.execute(statement).fetchall()]


def _in_python(vectors: list[tuple[bytes, bytes, bytes, bytes]]) -> list[float]:
    samples = []
    for public_key, message, valid, _ in vectors:
        started = time.perf_counter()
        verify(public_key, message, valid)
        samples.append((time.perf_counter() - started) * 1000)
    return samples

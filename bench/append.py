"""Part append: single durable rows a second, the plain table beside record_signal."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from alpha_db.errors import AlphaDbError
from bench.host import Host
from bench.measure import Figure, Slice, alternate, figures

NAME = "append"
TITLE = "durable single-row appends a second, plain table and record_signal, 1 and 8 writers (pgbench)"

WRITERS = (1, 8)
PLAIN, OURS = "plain table", "record_signal"

# the same columns, indexes and constraints, and a hash of the same length
_SETUP = """
create table plain_signals (like signals including constraints including indexes including comments);
create sequence plain_signals_id_seq owned by plain_signals.id;
alter table plain_signals
  alter id set default nextval('plain_signals_id_seq'),
  alter correlation_id set default gen_random_uuid(),
  alter hmac_verified set default false,
  alter row_hash set default repeat('0', 64),
  alter created_at set default clock_timestamp();
"""

_VALUES = """gen_random_uuid()::text, 'ETHBTC', 'BUY', 0.0712340000, 1.5000000000,
  '{"strategy": "sma5x20", "symbol": "ETHBTC", "side": "BUY", "price": 0.071234, "quantity": 1.5}'"""

_SCRIPTS = {
    PLAIN: f"""insert into plain_signals (signal_id, symbol, side, price, quantity, raw_payload)
  values ({_VALUES}) returning id, correlation_id, row_hash;\n""",
    OURS: f"select id, correlation_id, row_hash from record_signal({_VALUES});\n",
}
_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


def run(host: Host) -> list[Figure]:
    """Measure. Raises AlphaDbError with what pgbench said."""
    name = "bench_append"
    with host.connect(host.database(name)) as conn:
        conn.execute(_SETUP)
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory:
        scripts = {contestant: Path(directory, f"{number}.sql") for number, contestant in enumerate(_SCRIPTS)}
        for contestant, path in scripts.items():
            path.write_text(_SCRIPTS[contestant], encoding="utf-8")
        for writers in WRITERS:
            contestants: dict[str, Slice] = {
                contestant: lambda path=path, writers=writers: [_rate(host, name, path, writers)]  # type: ignore[misc]
                for contestant, path in scripts.items()
            }
            samples = alternate(contestants, 2 if host.quick else 10)
            scenario = f"{writers} writer{'s' * (writers > 1)}"
            found += figures(NAME, scenario, "rows/s", samples, baseline=PLAIN, percentiles=False)
    return found


def _rate(host: Host, database: str, script: Path, writers: int) -> float:
    """Run a slice and return its rows a second."""
    command: list[str | Path] = [host.server.binaries.program("pgbench"), "-n", "-M", "prepared"]
    command += [
        "-c",
        str(writers),
        "-j",
        str(min(2, writers)),
        "-T",
        "1" if host.quick else "2",
        "-f",
        script,
    ]
    try:
        said = subprocess.run(
            command,
            env=os.environ | {"LC_ALL": "C"} | host.server.environment(database),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
    except subprocess.CalledProcessError as problem:
        raise AlphaDbError(f"pgbench failed: {problem.stderr.strip().splitlines()[-1:]}") from None
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise AlphaDbError(f"cannot run pgbench: {problem}") from None
    match = _RATE.search(said)
    if match is None:
        raise AlphaDbError("pgbench told no rate")
    return float(match[1])

"""How verify-chain gets through on a standby that waits for nobody, while the primary vacuums another table.

`python -m tests.standby.measure_conflicts 18 0.5`, in the root of the checkout: the version of PostgreSQL, and the
seconds between two VACUUMs. docs/standbys.md has what it printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import psycopg

from tests.cluster import Server, choose_binaries, client_environment
from tests.standbys import catch_up, standby_of
from tests.support import ROOT, migrate_with_psql

ROWS = 200_000


def churn(dsn: str, pause: float, ended: threading.Event) -> None:
    """Update and vacuum a table of no interest until the event."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table churn as select g as id, 0 as v from generate_series(1, 500) as g")
        while not ended.wait(pause):
            conn.execute("update churn set v = v + 1")
            conn.execute("vacuum churn")


def main() -> None:
    """Print the exit code, the seconds and what was said, for one connection and for two."""
    version, pause = sys.argv[1], float(sys.argv[2])
    with Server(choose_binaries(version)) as primary:
        primary.psql("postgres", "create database trading")
        migrate_with_psql(primary, "trading")
        primary.psql(
            "trading",
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            f" select gen_random_uuid()::text, 'BTC', 'BUY', 1, 1, '{{}}' from generate_series(1, {ROWS})",
        )
        with standby_of(primary, max_standby_streaming_delay="0") as standby:
            catch_up(primary, standby)
            ended = threading.Event()
            other = threading.Thread(target=churn, args=(primary.dsn("trading"), pause, ended))
            other.start()
            try:
                for jobs in ("1", "2"):
                    began = time.monotonic()
                    command = ("--dsn", standby.dsn("trading"), "verify-chain", "--jobs", jobs, "--json")
                    done = subprocess.run(
                        [sys.executable, "-m", "alpha_db", *command],
                        env={**client_environment(), "PYTHONPATH": str(ROOT / "python")},
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                    seconds = time.monotonic() - began
                    print(f"--jobs {jobs}: exit {done.returncode}, {seconds:.1f} s. {done.stderr.strip()}")
            finally:
                ended.set()
                other.join()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()

"""One run of pgbench: its rate, and how long each transaction took."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from alpha_db.errors import AlphaDbError
from bench.host import Host

_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


class Run(NamedTuple):
    """Transactions a second, and the milliseconds that each of them took."""

    rate: float
    latencies: list[float]


def pgbench(host: Host, database: str, script: Path, writers: int, seconds: int) -> Run:
    """Run a script with prepared statements. Raises AlphaDbError with what pgbench said."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        command: list[str | Path] = [host.server.binaries.program("pgbench"), "-n", "-M", "prepared"]
        command += ["-c", str(writers), "-j", str(min(2, writers)), "-T", str(seconds), "-f", script]
        command += ["--log", f"--log-prefix={log}"]
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
        # a line a transaction: client, its number, microseconds, ...
        latencies = [
            int(line.split(" ", 3)[2]) / 1000
            for file in Path(directory).iterdir()
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
    return Run(float(match[1]), latencies)

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
    """Transactions a second once all writers were at work, and the milliseconds that each transaction took."""

    rate: float
    latencies: list[float]


def pgbench(
    host: Host, database: str, script: Path, writers: int, seconds: int, *, schema: str | None = None
) -> Run:
    """Run a script with prepared statements, and again for longer if no transaction ends in time.

    Takes the search_path, if it is not the server's default. Raises AlphaDbError with what pgbench said.
    """
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        command: list[str | Path] = [host.server.binaries.program("pgbench"), "-n", "-M", "prepared"]
        command += ["-c", str(writers), "-j", str(min(2, writers)), "-T", str(seconds), "-f", script]
        command += ["--log", f"--log-prefix={log}"]
        place = host.server.environment(database) | (
            {"PGOPTIONS": f"-c search_path={schema}"} if schema else {}
        )
        said = _said(command, os.environ | {"LC_ALL": "C"} | place)
        lines = [
            line.split(" ")
            for file in Path(directory).iterdir()
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
    match = _RATE.search(said)
    if match is None:
        if seconds < 16:
            return pgbench(host, database, script, writers, 2 * seconds, schema=schema)
        raise AlphaDbError(f"no transaction ended within {seconds} s")
    # a line a transaction: client, its number, microseconds, script, second and microsecond at which it ended
    ends: dict[str, list[float]] = {}
    for client, _, _, _, second, microsecond, *_ in lines:
        ends.setdefault(client, []).append(int(second) + int(microsecond) / 1e6)
    rate = steady_rate(list(ends.values())) if len(ends) == writers else None
    return Run(float(match[1]) if rate is None else rate, [int(line[2]) / 1000 for line in lines])


def steady_rate(ends: list[list[float]]) -> float | None:
    """Return the transactions a second while all writers were at work, from the moments at which theirs ended.

    The first transaction of a connection, which compiles its functions, does not count, and neither does the time
    after the first writer stopped. None if no such time is left.
    """
    begin, end = max(min(moments) for moments in ends), min(max(moments) for moments in ends)
    if end <= begin:
        return None
    return sum(begin < moment <= end for moments in ends for moment in moments) / (end - begin)


def _said(command: list[str | Path], environment: dict[str, str]) -> str:
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout
    except subprocess.CalledProcessError as problem:
        raise AlphaDbError(f"pgbench failed: {problem.stderr.strip().splitlines()[-1:]}") from None
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise AlphaDbError(f"cannot run pgbench: {problem}") from None

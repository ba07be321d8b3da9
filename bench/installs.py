"""What one more desk costs beside many in a database: python -m bench.installs URL [--desks 200]

Not a part of bin/bench: two hundred installs take ten minutes. It makes the schemas desk_1, desk_2 … in a database
that it is given, and prints a line at some of them: the seconds of that install, all migrations in one transaction as
by psql -1, and the milliseconds of verify_guards() of the first desk and of this one.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import psycopg
from psycopg import sql

from alpha_db.migrate import find_directory, read_files

#: After which installs something is printed; then after every fiftieth.
_TOLD = {1, 2, 10, 25}
_ROUNDS = 5


def _install(dsn: str, schema: str, files: list[str]) -> float:
    """Return the seconds of all migrations in one transaction."""
    with psycopg.connect(dsn) as conn:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        conn.execute("select set_config('search_path', %s, false)", [schema])
        started = time.perf_counter()
        for text in files:
            conn.execute(text.encode())
        conn.commit()
        return time.perf_counter() - started


def _comparing(dsn: str, schema: str) -> float:
    """Return the milliseconds of verify_guards() in a session that has its plans. Raises ValueError for a change."""
    with psycopg.connect(dsn, autocommit=True, options=f"-c search_path={schema}") as conn:
        samples = []
        for _ in range(1 + _ROUNDS):
            started = time.perf_counter()
            changed = conn.execute("select * from verify_guards()").fetchall()
            samples.append((time.perf_counter() - started) * 1000)
            if changed:
                raise ValueError(f"{schema}: {changed[0]}")
        return median(samples[1:])


def main() -> None:
    """Install, and print what it cost."""
    parser = argparse.ArgumentParser(prog="python -m bench.installs", description="Cost of one more desk.")
    parser.add_argument("dsn", help="a database without alpha-db, as a superuser")
    parser.add_argument("--desks", type=int, default=200, help="how many (default: 200)")
    arguments = parser.parse_args()
    files = [file.text for file in read_files(find_directory(None))]
    for number in range(1, arguments.desks + 1):
        schema = f"desk_{number}"
        seconds = _install(arguments.dsn, schema, files)
        if number in _TOLD or number % 50 == 0:
            first, last = (_comparing(arguments.dsn, name) for name in ("desk_1", schema))
            print(
                f"{schema}: installed in {seconds:.2f} s, verify_guards {last:.0f} ms; of desk_1 {first:.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""The psql sessions: which files there are, and what each prints today.

`python -m tests.sql.sessions`, in the root of the checkout, writes every .out again; look at `git diff` afterwards.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg

from tests.cluster import Server, choose_binaries, client_environment
from tests.support import ROOT, migrate_with_psql, server_options

#: examples/session.sql, for readers, and one session for each group of public functions
SESSIONS = [ROOT / "examples" / "session.sql", *sorted((ROOT / "tests" / "sql").glob("*.sql"))]

#: What differs from run to run, and what stands for it: as long as the original, so that columns stay aligned.
MASKS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
    (r"\b[0-9a-f]{64}\b", "x" * 64),
    (r"\d{4}-\d{2}-\d{2}T[\d:]{8}(\.\d+)?\+00:00", "YYYY-MM-DDThh:mm:ss.ssssss+00:00"),
    (r"\d{4}-\d{2}-\d{2} [\d:]{8}(\.\d+)?\+00\b", "YYYY-MM-DD hh:mm:ss.ssssss+00"),
    (r" +$", ""),
)

#: of psql: no settings of the caller's, the session's own text between what it prints, no line numbers of functions
OPTIONS = ("-X", "-a", "-q", "-v", "SHOW_CONTEXT=never", "-P", "null=(null)")


def output_of(session: Path) -> Path:
    """The file with what a session prints."""
    return session.with_suffix(".out")


def run(session: Path, server: Server, dbname: str) -> str:
    """What a session prints in a freshly migrated database: its own text, results and errors, with MASKS applied."""
    settings = server_options({"search_path": "public, pg_temp", "timezone": "UTC"})
    python = Path(sys.executable)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    sign = f"{python.name} tests/sql/sign.py"
    # From stdin, so that errors name no file; stderr to stdout, so that they stand where they happened.
    said = subprocess.run(
        [server.bin / "psql", *OPTIONS, "-d", server.dsn(dbname)],
        input=session.read_text(encoding="utf-8"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=client_environment({"PGOPTIONS": settings, "PATH": path, "SIGN": sign}),
        cwd=ROOT,
        text=True,
        check=True,
    ).stdout
    for pattern, mask in MASKS:
        said = re.sub(pattern, mask, said, flags=re.MULTILINE)
    return said.rstrip("\n") + "\n"


def main() -> None:
    """Write every .out again, on a throw-away server."""
    with Server(choose_binaries(None)) as server:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
            admin.execute("create database installed template template0")
            migrate_with_psql(server, "installed")
            for session in SESSIONS:
                admin.execute(f"create database {session.stem} template installed")
        for session in SESSIONS:
            output_of(session).write_text(run(session, server, session.stem), encoding="utf-8")


if __name__ == "__main__":
    main()

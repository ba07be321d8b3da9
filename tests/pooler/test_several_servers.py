"""docs/several-servers.md runs as printed, with two servers and one PgBouncer in the place of those that it names."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree

import psycopg
import pytest

from tests.cluster import Server, client_environment
from tests.documents.blocks import Page, read_page
from tests.documents.desk import environment, run_blocks
from tests.pooler.pgbouncer import PROGRAM, wait_for
from tests.risk.proxy import Proxy
from tests.support import ROOT

pytestmark = [
    pytest.mark.any_server,
    pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer here (Debian: apt-get install pgbouncer)"),
]

PAGE = ROOT / "docs" / "several-servers.md"
LOGINS = ["pooler", *(f"desk_{desk}_{login}" for desk in "abc" for login in ("trader", "auditor"))]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def server_of_the_house(binaries: Path) -> Iterator[tuple[Server, int]]:
    """A server with the database trading of dba; and its port on loopback."""
    with Server(binaries) as server:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
            admin.execute("create role dba login createrole")
            admin.execute("create database trading owner dba template template0")
        with Proxy(server.directory / ".s.PGSQL.5432") as proxy:
            yield server, proxy.port


@contextmanager
def pooler(ini: str, port: int, server: Server) -> Iterator[Path]:
    """A PgBouncer with this configuration on loopback, without passwords; gives the file."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-db-house-"))
    file = folder / "pgbouncer.ini"
    for old, new in {
        "listen_addr = *": f"listen_addr = 127.0.0.1\nunix_socket_dir =\nlogfile = {folder}/log",
        "listen_port = 6432": f"listen_port = {port}",
        "auth_type = scram-sha-256": "auth_type = trust",
        "/etc/pgbouncer/userlist.txt": f"{folder}/users",
    }.items():
        assert old in ini
        ini = ini.replace(old, new)
    file.write_text(ini, encoding="utf-8")
    (folder / "users").write_text("".join(f'"{login}" ""\n' for login in LOGINS), encoding="utf-8")
    user = server.user  # PgBouncer refuses to be root
    for path in (folder, *folder.iterdir()):
        if user:
            os.chown(path, user.pw_uid, user.pw_gid)
    assert PROGRAM
    process = subprocess.Popen(
        [PROGRAM, "-q", file],
        env=client_environment(),
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(("127.0.0.1", port), process)
        yield file
    finally:
        process.kill()
        process.wait()
        rmtree(folder, ignore_errors=True)


def put(page: Page, names: dict[str, str]) -> None:
    """Put what is here in the place of the names on the page."""
    pattern = re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))
    page.blocks = [
        replace(block, text=pattern.sub(lambda found: names[found[0]], block.text)) for block in page.blocks
    ]


@pytest.mark.long
def test_the_page_runs_as_printed(binaries: Path, tmp_path: Path) -> None:
    page = read_page(PAGE)
    with ExitStack() as stack:
        names = {}
        for name in ("north", "south"):
            server, port = stack.enter_context(server_of_the_house(binaries))
            names[f"{name}.example port=5432"] = f"127.0.0.1 port={port}"
            names[f"{name}.example"] = f"127.0.0.1:{port}"
        door = free_port()
        names["pooler.example:6432"] = f"127.0.0.1:{door}"
        put(page, names)
        (ini,) = (block.text for block in page.blocks if block.text.startswith("[databases]"))
        file = stack.enter_context(pooler(ini, door, server))
        put(page, {"/etc/pgbouncer/pgbouncer.ini": str(file)})
        home, checkout = tmp_path / "home", tmp_path / "alpha-db"
        home.mkdir()
        copytree(ROOT / "migrations", checkout / "migrations", ignore=ignore_patterns("__pycache__"))
        run_blocks(page, checkout, environment(server, 1, home), tmp_path / "steps")

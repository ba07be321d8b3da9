"""An HTTP server within limits of time and number, whoever connects to it."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

#: How many seconds a client has to send one request, or may keep the connection open without one.
PATIENCE = 20.0
#: How many connections there are at once; a further one is answered with 503.
MAX_CONNECTIONS = 64

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BoundedServer(ThreadingHTTPServer):
    """Answers requests; each connection has a thread. Closes a connection whose time is over.

    Takes where to listen, what handles a request, whom to tell what went wrong, and the time. Raises OSError.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        tell: Callable[[str], object],
        patience: float = PATIENCE,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.tell, self.patience = tell, patience
        self._ends: dict[socket.socket, float] = {}
        self.guard = Lock()
        super().__init__(address, handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        host = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def server_bind(self) -> None:
        """Bind, without asking a name server for our own name as HTTPServer does."""
        super(ThreadingHTTPServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def give_time(self, connection: socket.socket) -> None:
        """Give a connection its time, from now on."""
        with self.guard:
            self._ends[connection] = time.monotonic() + self.patience

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection, unless there are too many."""
        with self.guard:
            is_full = len(self._ends) >= MAX_CONNECTIONS
        if is_full:
            with suppress(OSError):
                request.send(_TOO_MANY, socket.MSG_DONTWAIT)
            self.shutdown_request(request)
            return
        self.give_time(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self.guard:
            self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off connections whose time is over; called at least twice a second."""
        now = time.monotonic()
        with self.guard:
            for connection in [each for each, end in self._ends.items() if end < now]:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # its thread reads or writes no more, and closes it

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say what went wrong, but nothing of a client that went away."""
        problem = sys.exception()
        if not isinstance(problem, OSError):
            self.tell(f"error: {type(problem).__name__}: {problem}")

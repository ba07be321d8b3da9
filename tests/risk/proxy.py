"""A proxy on loopback in front of a server's socket, which can go on accepting bytes and pass none of them on."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType


class Proxy:
    """Listens on a port of its own; `swallow` makes it a black hole without closing anything."""

    def __init__(self, server_socket: Path) -> None:
        self._target = str(server_socket)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._swallows = threading.Event()
        #: bytes that came from clients and went nowhere
        self.swallowed = 0
        self.swallowing = threading.Condition()

    def swallow(self, on: bool = True) -> None:
        """Begin to swallow, or stop it for connections that come from now on."""
        if on:
            self._swallows.set()
        else:
            self._swallows.clear()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            self._open += [client, server]
            with contextlib.suppress(OSError):
                server.connect(self._target)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        swallowed_once = False
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                # what has lost bytes once is a black hole for good
                swallowed_once = swallowed_once or self._swallows.is_set()
                if not swallowed_once:
                    sink.sendall(content)
                    continue
                with self.swallowing:
                    self.swallowed += len(content)
                    self.swallowing.notify_all()
        if not swallowed_once:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)

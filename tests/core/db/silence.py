"""A way to a PostgreSQL server by TCP whose connections can be made to fall silent: nothing passes, nothing is closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import make_url


class SilentWay:
    """Listens on loopback and carries bytes to the server's socket."""

    def __init__(self, url: str) -> None:
        address = make_url(url)
        self._to = f"{address.query.get('host') or address.host}/.s.PGSQL.{address.port or 5432}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._silenced = threading.Event()
        self.url = address.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={}).render_as_string(
            hide_password=False)
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Let nothing pass any more on the connections that are there; new ones work."""
        self._silenced.set()
        self._silenced = threading.Event()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._to)
            for taken, given in ((client, server), (server, client)):
                threading.Thread(target=_carry, args=(taken, given, self._silenced), daemon=True).start()


def _carry(taken: socket.socket, given: socket.socket, silenced: threading.Event) -> None:
    while data := _received(taken):
        if not silenced.is_set():
            given.sendall(data)
    if not silenced.is_set():
        given.close()


def _received(taken: socket.socket) -> bytes:
    try:
        return taken.recv(65536)
    except OSError:
        return b""


@contextmanager
def silent_way(url: str) -> Iterator[SilentWay]:
    way = SilentWay(url)
    try:
        yield way
    finally:
        way.close()

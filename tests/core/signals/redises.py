"""A Redis of a test's own."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.signals import server


class Redis:
    """A server that can be killed and started again on the same data."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{home / 'redis.sock'}"

    def start(self) -> None:
        self._process = server.start(self._home, self._home / "redis.sock")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def bell_redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    redis.start()
    yield redis
    redis.kill()


class CutLine(socketserver.ThreadingUnixStreamServer):
    """A way to a Redis that breaks once, all its connections together, when a command is about to pass; then it holds."""

    daemon_threads = True

    def __init__(self, folder: Path, redis: Redis, command: bytes) -> None:
        path = folder / "line.sock"
        super().__init__(str(path), _Passing)
        self.url, self.far = f"unix://{path}", redis.url.removeprefix("unix://")
        self.command = command
        self.was_cut = threading.Event()
        self.open: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def cut(self) -> None:
        self.was_cut.set()
        for each in self.open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Passing(socketserver.BaseRequestHandler):
    server: CutLine

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as far:
            far.connect(self.server.far)
            self.server.open += [self.request, far]
            threading.Thread(target=self._back, args=(far,), daemon=True).start()
            while said := self._said():
                if self.server.command in said and not self.server.was_cut.is_set():
                    self.server.cut()
                    return
                far.sendall(said)

    def _said(self) -> bytes:
        with contextlib.suppress(OSError):
            return self.request.recv(1 << 16)
        return b""

    def _back(self, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while answer := far.recv(1 << 16):
                self.request.sendall(answer)

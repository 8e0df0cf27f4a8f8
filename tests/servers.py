"""A whole server for journeys: `headrace serve` as a process on loopback, in a home of its own, with short leases.

    with a_server(tmp_path) as server:
        client = server.client()

Processes are found as descendants of the one that was started, so a journey can kill exactly one of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import psutil

from tests.waiting import tail, wait_for

ROOT = Path(__file__).resolve().parents[1]
BASE = "tiny"
LEASE_SECONDS = 3.0


class Server:
    """One running `headrace serve`, or another `program` that serves as it does."""

    def __init__(self, home: Path, port: int, *, program: Sequence[str] = (), **settings: str) -> None:
        self.home, self.port = home, port
        self._program = program or (*HEADRACE, "serve")
        self._settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.key = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}
        told = {"HEADRACE_HOME": str(self.home), "HEADRACE_LEASE_SECONDS": str(LEASE_SECONDS), "HEADRACE_THREADS": "1",
                "HEADRACE_DEVICE": "cpu", "HEADRACE_RECOVERY_SECONDS": "1"}
        return {**own, **told, **self._settings}

    @property
    def log(self) -> Path:
        return self.home.parent / f"{self.home.name}.log"

    def start(self) -> None:
        """Start the server and wait until it is ready; at the first start make a key and the tiny base model."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*self._program, "--port", str(self.port)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT,
                env=self.environment,
            )
        wait_for(self._is_ready, "the server was not ready", log=self.log)
        if not self.key:
            self.key = self.run("keys", "create", "journey").strip()
            self.run("models", "add", BASE, "--builtin", "tiny")

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Stop the server by a signal; give the seconds that it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self._kill_all()
            raise AssertionError(f"the server did not stop within 40 s; see {self.log}") from None
        return time.monotonic() - began

    def run(self, *arguments: str) -> str:
        """Run a `headrace` command beside the server; give what it printed."""
        done = subprocess.run([*HEADRACE, *arguments], env=self.environment, cwd=ROOT, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"{self.url}/v1", headers=headers, timeout=20, trust_env=False)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Descendants whose command line has all these words, oldest first."""
        assert self.process is not None
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if process.status() != psutil.STATUS_ZOMBIE and all(any(word in part for part in line) for word in words):
                    found.append(process)
        return sorted(found, key=lambda p: p.create_time())

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server left with code {self.process.returncode}:\n{tail(self.log)}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _kill_all(self) -> None:
        assert self.process is not None
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.process.kill()
        self.process.wait()


HEADRACE = (sys.executable, "-m", "cli.main")


@contextlib.contextmanager
def a_server(folder: Path, *, program: Sequence[str] = (), **settings: str) -> Iterator[Server]:
    """Run a server in `folder`; whatever happens, none of its processes is left."""
    server = Server(folder / "home", free_port(), program=program, **settings)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; a zombie does not, nor does one that goes while it is looked at."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

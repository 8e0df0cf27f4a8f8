"""Several hosts for journeys: parts of one server with host names and homes of their own, which share PostgreSQL, Redis and a
bucket, and no disk.

    with a_fleet(tmp_path, postgres_url, store) as fleet:
        fleet.start("front", "api"); fleet.start("front", "worker", "--queue", "upkeep"); fleet.start("left", "worker", …)

A host name is a namespace of the kernel's; where none may be made, the hosts have one name and still no disk in common.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from core.signals import server as redis_server
from tests.remote import BUCKET, KEY, SECRET, Bucket
from tests.servers import HEADRACE, LEASE_SECONDS, ROOT, free_port
from tests.waiting import tail, wait_for

NAMED = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"')


class Fleet:
    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.port = folder, free_port()
        self._settings = settings
        self._parts: list[subprocess.Popen[bytes]] = []
        self._can_name = subprocess.run([*NAMED, "probe", "true"], capture_output=True).returncode == 0
        self.key = ""

    def home(self, host: str) -> Path:
        return self.folder / host

    @property
    def log(self) -> Path:
        return self.folder / "parts.log"

    def start(self, host: str, *command: str) -> psutil.Process:
        """Start a part of the server on a host."""
        self.home(host).mkdir(exist_ok=True)
        with self.log.open("ab") as out:
            part = subprocess.Popen([*self._named(host), *command_of(command)], env=self._environment(host), cwd=ROOT,
                                    stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._parts.append(part)
        return psutil.Process(part.pid)

    def run(self, host: str, *arguments: str) -> str:
        """Run a `headrace` command on a host; give what it printed."""
        self.home(host).mkdir(exist_ok=True)
        done = subprocess.run([*HEADRACE, *arguments], env=self._environment(host), cwd=ROOT, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_until_ready(self) -> None:
        wait_for(self._is_ready, "the API was not ready", log=self.log)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}/v1", headers={"Authorization": f"Bearer {self.key}"},
                            timeout=20, trust_env=False)

    def close(self) -> None:
        for part in self._parts:
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(part.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        process.kill()
            part.kill()
            part.wait()

    def _is_ready(self) -> bool:
        assert all(part.poll() is None for part in self._parts), tail(self.log)
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2, trust_env=False).status_code == 200
        return False

    def _named(self, host: str) -> list[str]:
        return [*NAMED, host] if self._can_name else []

    def _environment(self, host: str) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}
        return {**own, **self._settings, "HEADRACE_HOME": str(self.home(host)), "HEADRACE_PORT": str(self.port)}


def command_of(command: tuple[str, ...]) -> list[str]:
    """The process that a `headrace` command becomes, so that a kill meets it."""
    module = {"api": "api", "worker": "worker"}[command[0]]
    return [sys.executable, "-m", module, *command[1:]]


@contextlib.contextmanager
def a_fleet(folder: Path, postgres_url: str, store: Bucket, **settings: str) -> Iterator[Fleet]:
    """Redis runs; the parts are started by the test. Whatever happens, none of its processes is left."""
    elsewhere = folder / "redis"
    elsewhere.mkdir()
    redis = redis_server.start(elsewhere, elsewhere / "redis.sock")
    told = {
        "HEADRACE_DATABASE_URL": postgres_url, "HEADRACE_REDIS_URL": f"unix://{elsewhere / 'redis.sock'}",
        "HEADRACE_STORAGE_URL": f"s3://{BUCKET}/headrace", "HEADRACE_STORAGE_ENDPOINT_URL": store.endpoint,
        "HEADRACE_STORAGE_KEY": KEY, "HEADRACE_STORAGE_SECRET": SECRET, "HEADRACE_LEASE_SECONDS": str(LEASE_SECONDS),
        "HEADRACE_THREADS": "1", "HEADRACE_DEVICE": "cpu", "HEADRACE_RECOVERY_SECONDS": "1", **settings}
    fleet = Fleet(folder, **told)
    try:
        yield fleet
    finally:
        fleet.close()
        redis.terminate()
        redis.wait(10)


__all__ = ["Fleet", "a_fleet"]

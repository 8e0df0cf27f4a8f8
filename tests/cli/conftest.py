"""One server for the commands that speak to it, and a way to run them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import HEADRACE, ROOT, Server, a_server

MILLER = ROOT / "examples" / "data" / "miller.jsonl"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("cli")) as server:
        yield server


def run(server: Server, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the server's address and key."""
    told = {**server.environment, "HEADRACE_API_URL": server.url, "HEADRACE_API_KEY": server.key, **environment}
    return subprocess.run([*HEADRACE, *map(str, arguments)], env=told, cwd=ROOT, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, check=False)

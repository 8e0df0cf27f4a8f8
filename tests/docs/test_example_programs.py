"""The example programs do what they say, against a server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.servers import ROOT, Server, a_server

MILLER = ROOT / "examples" / "data" / "miller.jsonl"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("examples")) as server:
        yield server


def test_the_openai_client_submits_and_watches_to_the_result(server: Server) -> None:
    told = run(server, sys.executable, "examples/submit_and_watch.py", str(MILLER), "tiny")

    assert told.startswith("ftjob-")
    assert "Step 28/28" in told or "step 28" in told.lower()
    assert "succeeded ft:tiny:" in told
    assert "step,train_loss" in told


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")
def test_curl_submits_and_follows_the_stream_to_its_end(server: Server) -> None:
    told = run(server, "examples/submit_and_watch.sh", str(MILLER), "tiny")

    assert told.startswith("ftjob-")
    assert told.rstrip().endswith("data: [DONE]")
    assert '"code":"job.succeeded"' in told


def run(server: Server, *command: str) -> str:
    told = {**server.environment, "HEADRACE_API_URL": server.url, "HEADRACE_API_KEY": server.key}
    done = subprocess.run(command, env=told, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=200,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

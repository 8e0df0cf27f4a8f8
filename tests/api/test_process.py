"""`python -m api` as a process: its start, its refusals, its logs, and its end with streams open."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.clock import system_clock
from core.db.session import Ledger
from core.events.service import append_message
from core.jobs.models import Job
from core.projects.repository import find_project
from core.projects.service import create_key
from core.signals import server as redis_server
from core.signals.bell import Bell
from tests.factories import a_job
from tests.waiting import PATIENCE_SECONDS


def environment(home: Path, **told: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HEADRACE_HOME": str(home), "HEADRACE_PORT": "0", **told}


def start(home: Path, **told: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "api"], env=environment(home, **told), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def running(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = start(home)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        yield process, line.removeprefix("listening on ").strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def home(sqlite_template: Path, tmp_path: Path) -> Path:
    shutil.copy(sqlite_template, tmp_path / "headrace.db")
    return tmp_path


def seed(home: Path) -> tuple[str, str]:
    """Make a key and a waiting job; give the secret and the job's id."""
    ledger = Ledger(f"sqlite:///{home / 'headrace.db'}")
    with ledger.write() as session:
        _, secret = create_key(session, name="k", project="acme", is_admin=False, now=system_clock())
        job_id = a_job(session, find_project(session, "acme")).id
    ledger.close()
    return secret, job_id


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_open_streams_end_at_once_with_the_server(home: Path, end: signal.Signals) -> None:
    secret, job_id = seed(home)
    with running(home) as (process, url), httpx.Client(base_url=url, headers={"authorization": f"Bearer {secret}"}) as client:
        with contextlib.ExitStack() as open_streams:
            streams = [open_streams.enter_context(client.stream("GET", f"/v1/fine_tuning/jobs/{job_id}/events?stream=true"))
                       for _ in range(2)]
            lines = [stream.iter_lines() for stream in streams]
            for each in lines:
                assert next(each).startswith("id: ftevent-")
            process.send_signal(end)
            rests = [list(each) for each in lines]  # to their proper end: a stream that the server cuts raises
            assert process.wait(PATIENCE_SECONDS) == 0
        assert all("data: [DONE]" not in rest for rest in rests)


def test_log_lines_are_json_without_keys(home: Path) -> None:
    secret, _ = seed(home)
    with running(home) as (process, url):
        httpx.get(f"{url}/v1/files", headers={"authorization": f"Bearer {secret}"}, params={"after": "s3cret-query"})
        httpx.get(f"{url}/v1/fo%0ao", headers={"authorization": "Bearer hr-wrong-and-s3cret"})
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    lines = [json.loads(line) for line in err.splitlines()]
    answered = [line for line in lines if line["event"] == "request.answered"]
    assert [(line["method"], line["path"], line["status"]) for line in answered] == [
        ("GET", "/v1/files", 404), ("GET", "/v1/fo\\no", 404)]
    assert all(line["request_id"].startswith("req_") for line in answered)
    assert secret not in err
    assert "s3cret" not in err


def test_an_empty_home_is_ready(home: Path) -> None:
    with running(home) as (_, url):
        assert httpx.get(f"{url}/readyz").json()["status"] == "ready"
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("told,words", [
    ({"HEADRACE_PORT": "70000"}, "HEADRACE_PORT is '70000'"),
    ({"HEADRACE_DATABASE_URL": "mysql://x"}, "HEADRACE_DATABASE_URL"),
    ({"HEADRACE_HOME": "/nowhere/at/all"}, "HEADRACE_HOME /nowhere/at/all is no folder"),
    ({}, "headrace migrate"),
])
def test_what_cannot_be_served_ends_with_one_line(tmp_path: Path, told: dict[str, str], words: str) -> None:
    process = start(tmp_path, **told)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


def test_the_bell_wakes_a_stream_before_its_own_look(home: Path) -> None:
    secret, job_id = seed(home)
    socket = home / "redis.sock"
    server = redis_server.start(home, socket)
    bell = Bell(f"unix://{socket}")
    ledger = Ledger(f"sqlite:///{home / 'headrace.db'}")
    try:
        with running(home) as (_, url), httpx.Client(base_url=url, headers={"authorization": f"Bearer {secret}"}) as client:
            assert client.get("/readyz").json()["bell"] == "ok"
            with client.stream("GET", f"/v1/fine_tuning/jobs/{job_id}/events?stream=true") as answer:
                lines = (line for line in answer.iter_lines() if line.startswith("data:"))
                assert [json.loads(next(lines)[5:])["data"]["code"] for _ in range(2)] == ["job.created", "job.validating"]
                waits = [seconds_until_heard(ledger, bell, job_id, lines) for _ in range(8)]
        assert statistics.median(waits) < 0.25
    finally:
        ledger.close()
        bell.close()
        server.terminate()
        server.wait(PATIENCE_SECONDS)


def seconds_until_heard(ledger: Ledger, bell: Bell, job_id: str, lines: Iterator[str]) -> float:
    """Write an event, ring, and wait for it on the stream."""
    with ledger.write() as session:
        append_message(session, session.get_one(Job, job_id), code="row.skipped", message="a row", now=system_clock())
    began = time.monotonic()
    bell.ring(job_id)
    assert json.loads(next(lines)[5:])["data"]["code"] == "row.skipped"
    return time.monotonic() - began


def test_a_port_in_use_ends_the_process(home: Path) -> None:
    with running(home) as (_, url):
        second = start(home, HEADRACE_PORT=url.rpartition(":")[2])
        _, err = second.communicate(timeout=20)
        assert second.returncode not in (0, None)
        assert "in use" in err

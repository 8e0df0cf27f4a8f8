"""The worker as a process: what it refuses, how it ends, what it does not load."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.db.session import Ledger
from core.workers import service as workers
from tests.waiting import PATIENCE_SECONDS, wait_for

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def a_worker(queue: str, home: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    told = {"HEADRACE_HOME": str(home), "HEADRACE_DEVICE": "cpu", "HEADRACE_LEASE_SECONDS": "3"}
    environment = {**os.environ, **told, **settings}
    worker = subprocess.Popen([sys.executable, "-m", "worker", "--queue", queue], cwd=ROOT, env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate()


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path) -> Path:
    """A migrated home, in which nothing else runs: no Redis either."""
    shutil.copy(sqlite_template, tmp_path / "headrace.db")
    return tmp_path


@pytest.mark.parametrize("queue", ["train", "upkeep"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_lives_without_redis_and_ends_in_order_at_a_signal(home: Path, queue: str, number: int) -> None:
    ledger = Ledger(f"sqlite:///{home / 'headrace.db'}", pool_size=1)

    def alive() -> list[str]:
        with ledger.read() as session:
            return [worker.queue for worker in workers.alive(session)]

    with a_worker(queue, home) as worker:
        wait_for(lambda: alive() == [queue] or worker.poll() is not None)
        assert worker.poll() is None, worker.communicate()
        worker.send_signal(number)
        assert worker.wait(PATIENCE_SECONDS) == 0
    assert alive() == []
    ledger.close()


def test_a_home_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with a_worker("train", tmp_path / "nowhere") as worker:
        _, said = worker.communicate(timeout=30)
    assert worker.returncode == 2
    assert said.decode().count("\n") == 1
    assert "nowhere" in said.decode()


def test_a_database_that_was_not_brought_up_to_date_is_refused_in_one_line(tmp_path: Path) -> None:
    with a_worker("upkeep", tmp_path) as worker:
        _, said = worker.communicate(timeout=30)
    assert worker.returncode == 2
    assert "headrace migrate" in said.decode()


def test_a_wrong_setting_is_named(home: Path) -> None:
    with a_worker("train", home, HEADRACE_LEASE_SECONDS="soon") as worker:
        _, said = worker.communicate(timeout=30)
    assert worker.returncode == 2
    assert "HEADRACE_LEASE_SECONDS is 'soon'" in said.decode()


def test_neither_supervisor_nor_upkeep_loads_torch() -> None:
    program = ("import sys, worker.train, worker.kinds, worker.reaper, worker.__main__; "
               "print([m for m in ('torch', 'transformers', 'peft', 'fastapi') if m in sys.modules])")
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"

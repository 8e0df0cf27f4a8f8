"""A server whose children are the small trainer of bench/soak: they start in half a second and write down what they do."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from bench.soak.history import Findings, check
from bench.soak.twins import small_twin
from core.db.session import Ledger
from core.jobs.models import Job
from core.storage.artifacts import Artifacts
from tests.servers import ROOT, Server, a_server
from tests.waiting import wait_for

TRAINER = "bench.soak.trainer"
LEASE_SECONDS = 3.0


class Small:
    """One such server, and what its children wrote."""

    def __init__(self, server: Server, traces: Path, database_url: str = "") -> None:
        self.server, self.traces = server, traces
        self.database_url = database_url or f"sqlite:///{server.home / 'headrace.db'}"
        self._submitted: list[str] = []

    def findings(self, *submitted: str) -> Findings:
        """Check the whole history of these jobs and those of earlier calls, which must be all that there are."""
        self._submitted += submitted
        ledger = Ledger(self.database_url, pool_size=2)
        try:
            return check(ledger, Artifacts(self.server.home / "storage"), self._submitted, traces=self.traces,
                         undisturbed=small_twin)
        finally:
            ledger.close()

    def attempts(self, job_id: str) -> int:
        ledger = Ledger(self.database_url, pool_size=1)
        try:
            with ledger.read() as session:
                return session.get_one(Job, job_id).attempts
        finally:
            ledger.close()

    def child(self) -> psutil.Process:
        return wait_for(lambda: self.server.processes(TRAINER), "there is no child", log=self.server.log)[-1]


@contextlib.contextmanager
def a_small_server(folder: Path, *options: str, is_apart: bool = False, **settings: str) -> Iterator[Small]:
    """Run one in `folder`; `options` are the trainer's."""
    traces = folder / "traces"
    traces.mkdir()
    program = [sys.executable, "-m", "bench.soak.serve", "--small", *(["--apart"] if is_apart else [])]
    told = {"HEADRACE_LEASE_SECONDS": str(LEASE_SECONDS), "HEADRACE_RECOVERY_SECONDS": "0.3",
            "SOAK_TRAINER": " ".join(["--trace", str(traces), *options])}
    with a_server(folder, program=program, **{**told, **settings}) as server:
        yield Small(server, traces, settings.get("HEADRACE_DATABASE_URL", ""))


@contextlib.contextmanager
def another_worker(server: Server) -> Iterator[None]:
    """A second train worker on the same home."""
    with server.log.open("ab") as out:
        worker = subprocess.Popen([sys.executable, "-m", "bench.soak.worker", "--queue", "train"], env=server.environment,
                                  cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(25)


@contextlib.contextmanager
def frozen(*processes: psutil.Process) -> Iterator[None]:
    """Stop processes while the body runs, as a host that hangs does."""
    send(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        send(processes, signal.SIGCONT)


@contextlib.contextmanager
def frozen_between_writes(small: Small, *processes: psutil.Process) -> Iterator[None]:
    """The same with a ledger in SQLite, at a moment when none of them writes: it would hold up all others."""
    file = small.server.home / "headrace.db"
    while True:
        with frozen(*processes):
            if is_free(file):
                yield
                return


def is_free(database: Path) -> bool:
    """Tell whether a SQLite file can be written to, now or when a transaction of some other process is over."""
    with contextlib.closing(sqlite3.connect(database, timeout=2)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.rollback()
        return True


def send(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)

"""One soak: a server, jobs that come over HTTP, kills at random, and the history checked when all is over.

Kills and jobs keep step: the n-th kill comes when its share of the jobs has ended, after a random pause, and jobs are
submitted as the kills go on, so that both end together whatever the machine's speed. Most kills are waited out, and their
recovery timed; some come in quick succession.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
from sqlalchemy import func, select

from bench.soak.history import Findings, check
from bench.soak.twins import real_twin, small_twin
from bench.soak.victims import KINDS, Kill, Scene, kill
from core.db.session import Ledger
from core.jobs.models import Job
from core.jobs.states import FINISHED
from core.storage.artifacts import Artifacts
from tests.journeys import jobs
from tests.servers import Server, a_server
from tests.waiting import tail, wait_for

IN_HASTE = 0.2
"""Share of the kills that nobody waits out."""
QUEUE_DEPTH = 5
"""Jobs that wait while the soak runs."""
AHEAD = 3
"""By how many jobs the submits may be ahead of the kills."""
ANSWER_SECONDS = 120.0
"""How long a submit is tried again until an answer comes."""
END_SECONDS = 120.0
LOG_LINES = 200
"""Of the server's log, told when a soak cannot go on."""


@dataclass(frozen=True)
class Plan:
    jobs: int
    kills: int
    seed: int
    is_real: bool = False
    """With the real tiny model instead of the small trainer."""
    database_url: str = ""
    """Empty: the embedded default, all parts under one `serve`; else PostgreSQL, the parts on their own."""
    lease_seconds: float = 3.0
    rows: int = 32
    epochs: int = 8
    step_seconds: float = 0.02
    longest_pause_seconds: float = 0.8
    kinds: tuple[str, ...] = KINDS


@dataclass
class Outcome:
    findings: Findings
    kills: list[Kill] = field(default_factory=list)
    seconds: float = 0.0


def soak(folder: Path, plan: Plan, *, say: Callable[[str], None] = lambda text: None) -> Outcome:
    """Run a soak in `folder`; raises AssertionError or TimeoutError when the server does not recover at all."""
    traces = folder / "traces"
    traces.mkdir(parents=True)
    began = time.monotonic()
    with a_server(folder, program=program(plan), **settings(plan, folder, traces)) as server:
        redis_url = f"unix://{server.home / 'redis.sock'}"
        ledger = Ledger(plan.database_url or f"sqlite:///{server.home / 'headrace.db'}", pool_size=4)
        child = ("worker.run",) if plan.is_real else ("bench.soak.trainer",)
        run = Running(plan, server, Scene(server, ledger, redis_url, child), say)
        try:
            run.all()
        except BaseException as error:
            error.add_note(tail(server.log, LOG_LINES))
            raise
        finally:
            submitted = run.submitted
            server.stop()
        undisturbed = partial(real_twin_in, folder / "twins") if plan.is_real else small_twin
        findings = check(ledger, Artifacts(server.home / "storage"), submitted, traces=None if plan.is_real else traces,
                         undisturbed=undisturbed)
        ledger.close()
    return Outcome(findings, run.kills, time.monotonic() - began)


def program(plan: Plan) -> list[str]:
    import sys

    options = ([] if plan.is_real else ["--small"]) + (["--apart"] if plan.database_url else [])
    return [sys.executable, "-m", "bench.soak.serve", *options]


def settings(plan: Plan, folder: Path, traces: Path) -> dict[str, str]:
    told = {"HEADRACE_LEASE_SECONDS": str(plan.lease_seconds), "HEADRACE_RECOVERY_SECONDS": "0.3",
            "SOAK_TRAINER": f"--trace {traces} --step-seconds {plan.step_seconds}"}
    if plan.database_url:
        told |= {"HEADRACE_DATABASE_URL": plan.database_url, "HEADRACE_REDIS_URL": f"unix://{folder / 'home' / 'redis.sock'}"}
    return told


def real_twin_in(folder: Path, spec):
    return real_twin(spec, folder / Path(spec.folder).name)


class Running:
    """The soak while it runs: one thread submits, this one kills."""

    def __init__(self, plan: Plan, server: Server, scene: Scene, say: Callable[[str], None]) -> None:
        self._plan, self._server, self._scene, self._say = plan, server, scene, say
        self._random = random.Random(plan.seed)
        self._fault: BaseException | None = None
        self._is_given_up = False
        self.submitted: list[str] = []
        self.kills: list[Kill] = []

    def all(self) -> None:
        submitting = threading.Thread(target=self._submit_all, name="submitting")
        submitting.start()
        try:
            while len(self.kills) < self._plan.kills and not (self._fault and not self.submitted):
                self._kill_one()
        except BaseException:
            self._is_given_up = True
            raise
        finally:
            submitting.join()
        if self._fault:
            raise self._fault
        wait_for(lambda: self._finished() >= self._plan.jobs, "the jobs did not end", log=self._server.log, seconds=END_SECONDS)

    def _kill_one(self) -> None:
        share = (len(self.kills) + 1) / self._plan.kills * self._plan.jobs
        while self._finished() + 1.5 < min(share, self._plan.jobs) and self._fault is None:
            time.sleep(0.05)
        time.sleep(self._random.uniform(0.0, self._plan.longest_pause_seconds))
        kind = self._random.choice(self._plan.kinds)
        killed = kill(self._scene, kind, is_awaited=self._random.random() >= IN_HASTE)
        if killed is not None:
            self.kills.append(killed)
            self._say(f"kill {len(self.kills)}: {kind}, {'' if killed.seconds is None else f'{killed.seconds:.2f} s'}; "
                      f"{self._finished()} jobs ended")

    def _finished(self) -> int:
        with self._scene.ledger.read() as session:
            return session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(FINISHED))) or 0

    def _submit_all(self) -> None:
        try:
            with self._server.client() as client:
                file_id = self._persist(lambda: jobs.upload(client, jobs.chat_rows(self._plan.rows)))
                for number in range(self._plan.jobs):
                    self._wait_for_turn(number)
                    self.submitted.append(self._submit(client, file_id, number))
        except BaseException as error:
            self._fault = error

    def _wait_for_turn(self, number: int) -> None:
        """Wait until few jobs wait, and until the kills have come as far as the jobs."""
        while number >= QUEUE_DEPTH and (number - self._finished() > QUEUE_DEPTH
                                         or number > (len(self.kills) + 1) / self._plan.kills * self._plan.jobs + AHEAD):
            if self._is_given_up:
                raise InterruptedError("the soak was given up")
            time.sleep(0.1)

    def _submit(self, client: httpx.Client, file_id: str, number: int) -> str:
        """Submit until an answer came; one key makes the repetitions harmless."""
        body = {"model": "tiny", "training_file": file_id, "seed": self._plan.seed * 1000 + number, "lora": {"dropout": 0.1},
                "hyperparameters": {"n_epochs": self._plan.epochs, "batch_size": 4}}
        key = {"Idempotency-Key": f"soak-{self._plan.seed}-{number}"}
        return self._persist(lambda: client.post(jobs.JOBS, json=body, headers=key).raise_for_status().json()["id"])

    def _persist(self, call: Callable[[], str]) -> str:
        began = time.monotonic()
        while True:
            try:
                return call()
            except (httpx.TransportError, httpx.HTTPStatusError):
                if time.monotonic() - began > ANSWER_SECONDS:
                    raise
            time.sleep(0.1)

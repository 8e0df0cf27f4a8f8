"""Whom the soak kills, and how long it takes until all is as before.

| victim | it has recovered when |
| --- | --- |
| child, worker | a later run of the job trains, or the job has ended; with no job at work, when a new worker is announced |
| api | it answers a request with a key again |
| redis | it answers, and both Celery workers wait on it for messages again |
| upkeep | a new process holds the reaper's role |

Seconds are counted from the kill; those of Redis from its own first answer, and the whole is told beside.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import psutil
import redis
from sqlalchemy import select

from core.db.session import Ledger
from core.jobs.models import Job, Run
from core.jobs.states import HELD
from core.signals.client import build_hint_client
from core.workers.models import RoleLease, Worker
from tests.servers import Server, is_alive

KINDS = ("child", "worker", "api", "redis", "upkeep")
LOOK_SECONDS = 0.03
PATIENCE_SECONDS = 60.0
AT_WORK = ("training", "evaluating", "saving", "sampling")


@dataclass(frozen=True)
class Kill:
    kind: str
    seconds: float | None
    """Until it had recovered; None when nobody waited for that."""


@dataclass(frozen=True)
class Scene:
    """Where the victims are."""

    server: Server
    ledger: Ledger
    redis_url: str
    child_words: tuple[str, ...]

    def find(self, kind: str) -> psutil.Process | None:
        """The process to kill; None while there is none."""
        words = {"child": self.child_words, "worker": ("--queue", "train"), "upkeep": ("--queue", "upkeep"),
                 "redis": ("redis.sock",), "api": ("-m", "api")}[kind]
        exact = {"api": "api"}.get(kind)
        found = [p for p in self.server.processes(*words) if exact is None or exact in _line(p)]
        return found[-1] if found else None

    def recovery(self, kind: str) -> Callable[[], bool]:
        """Look at how things are before a kill; give a look that tells whether they are well again after it."""
        if kind == "api":
            return self._answers
        if kind == "redis":
            return self._is_listened_to
        if kind == "upkeep":
            before = self._reaper()
            return lambda: self._reaper() not in (None, before)
        return self._work_goes_on()

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError), self.server.client() as client:
            return client.get("/models", timeout=2).status_code == 200
        return False

    def is_redis_there(self) -> bool:
        client = build_hint_client(self.redis_url)
        with contextlib.suppress(redis.RedisError, OSError):
            return bool(client.ping())
        return False

    def _is_listened_to(self) -> bool:
        client = build_hint_client(self.redis_url)
        with contextlib.suppress(redis.RedisError, OSError):
            return sum(each["cmd"].lower() in ("brpop", "bzmpop", "blmpop") for each in client.client_list()) >= 2  # pyright: ignore[reportGeneralTypeIssues]
        return False

    def _reaper(self) -> str | None:
        with self.ledger.read() as session:
            return session.scalar(select(RoleLease.holder).where(RoleLease.role == "reaper"))

    def _work_goes_on(self) -> Callable[[], bool]:
        with self.ledger.read() as session:
            held = session.execute(select(Job.id, Job.fence).where(Job.state.in_(HELD))).first()
            workers = set(session.scalars(select(Worker.id).where(Worker.queue == "train")))
        if held is None:
            return lambda: self._has_new_worker(workers)
        job_id, fence = held
        return lambda: self._has_gone_on(job_id, fence)

    def _has_new_worker(self, before: set[str]) -> bool:
        with self.ledger.read() as session:
            return bool(set(session.scalars(select(Worker.id).where(Worker.queue == "train"))) - before)

    def _has_gone_on(self, job_id: str, fence: int) -> bool:
        with self.ledger.read() as session:
            job = session.get_one(Job, job_id)
            runs = session.scalar(select(Run.id).where(Run.job_id == job_id, Run.fence == fence, Run.state == "ended"))
            has_left = runs is not None and job.state not in (*HELD, "queued")
            return has_left or (job.fence > fence and (job.progress or {}).get("phase") in AT_WORK)


def kill(scene: Scene, kind: str, *, is_awaited: bool) -> Kill | None:
    """Kill one victim; None when there was none. Raises TimeoutError when a recovery that is awaited does not come."""
    victim = scene.find(kind)
    if victim is None:
        return None
    look = scene.recovery(kind)
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()
    began = time.monotonic()
    while is_alive(victim):
        time.sleep(0.002)
    if not is_awaited:
        return Kill(kind, None)
    if kind == "redis":
        await_(scene.is_redis_there, began, kind)
        began = time.monotonic()
    await_(look, began, kind)
    return Kill(kind, time.monotonic() - began)


def await_(look: Callable[[], bool], began: float, kind: str) -> None:
    while not look():
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise TimeoutError(f"{kind} had not recovered {PATIENCE_SECONDS:.0f} s after it was killed")
        time.sleep(LOOK_SECONDS)


def _line(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []

"""One look at the ledger for all open streams: which of the watched jobs have new events?

A stream listens for its job. It is woken by the bell, which may be lost, and by this look, made once a second
whatever the number of streams; a stream that is not woken reads nothing. The look runs while somebody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from core.db.session import Ledger
from core.jobs.models import Job
from core.signals.bell import Ear

log = structlog.get_logger("api")

LOOK_SECONDS = 1.0
JOBS_PER_QUERY = 500

Listen = Callable[[str], AbstractContextManager[Ear]]
"""The bell's side: an ear that hears the rings of one job."""


class Watch:
    """Belongs to one event loop."""

    def __init__(self, ledger: Ledger, listen: Listen | None) -> None:
        self._ledger = ledger
        self._listen = listen or _hear_nothing
        self._ears: dict[str, set[Ear]] = {}
        self._newest: dict[str, int] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def listen(self, job_id: str) -> Iterator[Ear]:
        """Give an ear that wakes when the job's log may have grown; it may wake for nothing."""
        with self._listen(job_id) as ear:
            self._ears.setdefault(job_id, set()).add(ear)
            if self._looking is None or self._looking.done():
                self._looking = asyncio.get_running_loop().create_task(self._look_often(), name="event-watch")
            try:
                yield ear
            finally:
                self._ears[job_id].discard(ear)
                if not self._ears[job_id]:
                    del self._ears[job_id]
                    self._newest.pop(job_id, None)

    async def aclose(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def _look_often(self) -> None:
        while self._ears:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self._wake_changed(await run_in_threadpool(self._read_newest, list(self._ears)))
            except SQLAlchemyError as error:
                log.warning("watch.failed", error=type(error).__name__)

    def _wake_changed(self, newest: dict[str, int]) -> None:
        for job_id, number in newest.items():
            if job_id in self._ears and self._newest.get(job_id) != number:
                self._newest[job_id] = number
                for ear in self._ears[job_id]:
                    ear.wake()

    def _read_newest(self, job_ids: Collection[str]) -> dict[str, int]:
        wanted = list(job_ids)
        newest: dict[str, int] = {}
        with self._ledger.read() as session:
            for start in range(0, len(wanted), JOBS_PER_QUERY):
                query = select(Job.id, Job.last_event).where(Job.id.in_(wanted[start : start + JOBS_PER_QUERY]))
                newest.update((job_id, number) for job_id, number in session.execute(query))
        return newest


@contextlib.contextmanager
def _hear_nothing(job_id: str) -> Iterator[Ear]:
    yield Ear()

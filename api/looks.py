"""Looks at jobs' logs, shared by streams that stand at the same place.

When an event is written, all streams of its job wake at once and want the same rows. The first to ask opens a look;
whoever asks within `GATHER_SECONDS` joins it; then it closes and reads once. A look never takes in a stream that was
woken after the read began, so nobody is told less than what woke it. Rows are framed once, too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson
from starlette.concurrency import run_in_threadpool

from api.schemas.events import EventObject
from core.db.session import Ledger
from core.events.models import Event
from core.events.service import events_after
from core.jobs.models import Job
from core.jobs.states import is_finished

GATHER_SECONDS = 0.005
EVENTS_PER_READ = 200

Place = tuple[str, int]
"""A job, and the number of the event that was seen last."""


@dataclass(frozen=True)
class Look:
    frames: bytes
    """The events found, as server-sent events; empty when there is none."""
    number: int
    """Of the last event found, or the one seen before."""
    is_over: bool
    """The job is finished: after a look that finds nothing, nothing will follow."""


class Looks:
    """Belongs to one event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: dict[Place, asyncio.Task[Look]] = {}

    async def read_after(self, job_id: str, number: int) -> Look:
        """Read the events behind `number`, oldest first, up to `EVENTS_PER_READ` of them."""
        place = (job_id, number)
        if place not in self._open:
            self._open[place] = asyncio.create_task(self._gather_and_read(place), name="look")
        return await asyncio.shield(self._open[place])

    async def _gather_and_read(self, place: Place) -> Look:
        await asyncio.sleep(GATHER_SECONDS)
        del self._open[place]
        return await run_in_threadpool(self._read, *place)

    def _read(self, job_id: str, number: int) -> Look:
        """Read the job before its events: a job seen finished has its terminal event in the log."""
        with self._ledger.read() as session:
            is_over = is_finished(session.get_one(Job, job_id).state)
            events = events_after(session, job_id, number, EVENTS_PER_READ)
        return Look(b"".join(map(frame, events)), events[-1].number if events else number, is_over)


def frame(event: Event) -> bytes:
    told = EventObject.of(event)
    return b"id: " + told.id.encode() + b"\ndata: " + orjson.dumps(told.model_dump(mode="json")) + b"\n\n"

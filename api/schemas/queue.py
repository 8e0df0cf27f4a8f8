"""The queue on the wire: places and reasons, forecasts, and how wrong forecasts were."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from api.paging import Entry as ListEntry
from api.paging import ListObject
from api.schemas.times import unix
from core.forecast.record import Accuracy
from core.queue.reasons import Reason
from core.queue.service import Entry, Queue


class WaitReason(BaseModel):
    code: str
    """validating, not_before, quota, no_worker, needs_devices, devices_busy or next."""
    message: str
    until: int | None
    """When it is over for certain."""

    @classmethod
    def of(cls, reason: Reason) -> WaitReason:
        return cls(code=reason.code, message=reason.message, until=unix(reason.until))


class QueueEntry(ListEntry):
    """`id` is the job's."""

    object: Literal["queue.entry"] = "queue.entry"
    status: str
    model: str
    project_id: str
    position: int | None
    """From 1, over the jobs of all projects; null while the data is checked."""
    priority: int
    devices: int
    queued_at: int | None
    reason: WaitReason
    estimated_start: int | None
    """null: nobody can tell yet."""
    estimated_seconds: float | None
    """How long it will then run; null for a model that was never trained on such devices."""
    estimated_finish: int | None

    @classmethod
    def of(cls, entry: Entry) -> QueueEntry:
        job, foreseen = entry.job, entry.foreseen
        return cls(
            id=job.id, status=job.state, model=job.model, project_id=job.project_id, position=entry.place,
            priority=job.priority, devices=job.devices, queued_at=unix(job.queued_at), reason=WaitReason.of(entry.reason),
            estimated_start=unix(foreseen.start_at), estimated_seconds=foreseen.seconds,
            estimated_finish=unix(foreseen.finish_at))


class ForecastError(BaseModel):
    """Relative: 0.2 is wrong by a fifth of the time that it took."""

    count: int
    """The newest forecasts that were measured."""
    median: float | None
    p90: float | None

    @classmethod
    def of(cls, told: Accuracy) -> ForecastError:
        return cls(count=told.count, median=told.median, p90=told.p90)


class ForecastErrors(BaseModel):
    start: ForecastError
    finish: ForecastError


class QueueObject(ListObject[QueueEntry]):
    waiting: int
    """Jobs that wait, of all projects."""
    running: int
    """Jobs that run, of all projects."""
    forecast_error: ForecastErrors

    @classmethod
    def of(cls, queue: Queue) -> QueueObject:
        data = [QueueEntry.of(entry) for entry in queue.entries]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        errors = ForecastErrors(start=ForecastError.of(queue.starts), finish=ForecastError.of(queue.finishes))
        return cls(data=data, has_more=queue.has_more, first_id=first, last_id=last, waiting=queue.waiting,
                   running=queue.running, forecast_error=errors)

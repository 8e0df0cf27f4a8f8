"""Events of a job on the wire, in pages and in the stream alike."""

from __future__ import annotations

from typing import Any, Literal

from api.paging import Entry
from api.schemas.times import unix
from core.events.models import Event
from core.events.service import event_id


class EventObject(Entry):
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: str
    type: str
    message: str
    data: dict[str, Any] | None

    @classmethod
    def of(cls, event: Event) -> EventObject:
        return cls(id=event_id(event.job_id, event.number), created_at=unix(event.created_at), level=event.level,
                   type=event.type, message=event.message, data=event.data)

"""What endpoints can be told, and how an event reads: a type, and the id of the thing that it happened to."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

import orjson

EventType = Literal["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


def type_of_end(state: str) -> str:
    """The type of the event of a job's end, by the state that it ended in."""
    return f"fine_tuning.job.{state}"


def event_body(event_id: str, event_type: str, subject: str, *, at: datetime) -> bytes:
    """The JSON that is sent: thin, as OpenAI's; who wants more asks for the job."""
    return orjson.dumps({"id": event_id, "object": "event", "created_at": int(at.timestamp()), "type": event_type,
                         "data": {"id": subject}})

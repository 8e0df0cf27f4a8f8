"""The log of a job: append, and read after an entry.

Numbers come from the job's row: one UPDATE takes as many as are written, and holds the row until the transaction ends. So
numbers have no gap and no repeat, whoever writes, and a reader that saw n has seen all up to n. Steps that the log already
holds are left out before numbers are taken, under the same hold: a step trained again after a kill is reported once.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from core.db.paging import Page, cut
from core.errors import InvalidValue, shown
from core.events.models import Event
from core.forecast.record import note_finish
from core.jobs.estimate import advance
from core.jobs.models import Job
from core.jobs.repository import lock_job

ID = re.compile(r"ftevent-(?P<job>[A-Za-z0-9]{1,64})-(?P<number>[0-9]{1,15})")
JOB_PREFIX = "ftjob-"


class EventRef(NamedTuple):
    job_id: str
    number: int


def event_id(job_id: str, number: int) -> str:
    """Name an event over all jobs; the number can be read from it."""
    return f"ftevent-{job_id.removeprefix(JOB_PREFIX)}-{number}"


def parse_event_id(text: str) -> EventRef:
    match = ID.fullmatch(text)
    if match is None:
        raise InvalidValue(f"event id {shown(text)} is not one of this server's; use the id of an event as it was given",
                           param="after")
    return EventRef(JOB_PREFIX + match["job"], int(match["number"]))


def append_message(session: Session, job: Job, *, code: str, message: str, level: str = "info",
                   data: dict[str, Any] | None = None, now: datetime) -> Event:
    """Write one message; `code` is our own name of it, `noun.past`."""
    number = _take_numbers(session, job, 1)
    event = Event(job_id=job.id, number=number, created_at=now, level=level, type="message", message=_storable(message),
                  data={"code": code, **(data or {})})
    session.add(event)
    session.flush()
    return event


def append_metrics(session: Session, job: Job, rows: list[dict[str, Any]], *, now: datetime) -> int:
    """Write the figures of steps, in order, and move the job's progress; give how many were new.

    Each row has `step` and the figures of one step. New steps are progress: bad ends are counted afresh after them."""
    locked = lock_job(session, job.id)
    assert locked is not None
    known = set(session.scalars(select(Event.step).where(Event.job_id == job.id, Event.step.in_([r["step"] for r in rows]))))
    new = list({row["step"]: row for row in rows if row["step"] not in known}.values())
    if not new:
        return 0
    first = _take_numbers(session, job, len(new))
    session.execute(insert(Event), [_metrics(job.id, first + i, row, now) for i, row in enumerate(new)])
    before = job.step
    advance(job, new, now=now)
    note_finish(session, job, step_before=before, now=now)
    session.flush()
    return len(new)


def list_events(session: Session, job_id: str, *, after: str | None, limit: int) -> Page[Event]:
    """A page from new to old, behind the event `after`."""
    query = select(Event).where(Event.job_id == job_id)
    if after is not None:
        query = query.where(Event.number < seen_number(session, job_id, after))
    return cut(session.scalars(query.order_by(Event.number.desc()).limit(limit + 1)).all(), limit)


def events_after(session: Session, job_id: str, number: int, limit: int) -> list[Event]:
    """Events from old to new, those above `number`."""
    query = select(Event).where(Event.job_id == job_id, Event.number > number)
    return list(session.scalars(query.order_by(Event.number).limit(limit)))


def seen_number(session: Session, job_id: str, after: str) -> int:
    """Tell the number of the event `after` of this job; raise InvalidValue for one that the job does not have."""
    ref = parse_event_id(after)
    if ref.job_id != job_id or session.get(Event, (job_id, ref.number)) is None:
        raise InvalidValue(f"event {shown(after)} is not in the log of job {job_id}; use the id of one of its events",
                           param="after")
    return ref.number


def _storable(text: str) -> str:
    """Replace what no text column takes: NUL and halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _metrics(job_id: str, number: int, row: dict[str, Any], now: datetime) -> dict[str, Any]:
    total = f"/{row['total_steps']}" if row.get("total_steps") else ""
    loss = f": training loss={row['train_loss']:.2f}" if row.get("train_loss") is not None else ""
    valid = f", validation loss={row['valid_loss']:.2f}" if row.get("valid_loss") is not None else ""
    return {"job_id": job_id, "number": number, "created_at": now, "level": "info", "type": "metrics", "step": row["step"],
            "message": f"Step {row['step']}{total}{loss}{valid}", "data": row}


def _take_numbers(session: Session, job: Job, count: int) -> int:
    """Take `count` numbers under the job's row; give the first."""
    session.flush()
    query = update(Job).where(Job.id == job.id).values(last_event=Job.last_event + count).returning(Job.last_event)
    last = session.execute(query, execution_options={"synchronize_session": False}).scalar_one()
    set_committed_value(job, "last_event", last)
    return last - count + 1

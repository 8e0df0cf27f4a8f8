"""What the log of a job says when checkpoints cannot be kept, and when they can again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.events import service as events
from core.jobs.models import Job
from worker.reports import SavingPaused, SavingResumed


def write_saving(session: Session, job: Job, report: SavingPaused | SavingResumed, *, now: datetime) -> None:
    if isinstance(report, SavingPaused):
        numbers = {name: getattr(report, name) for name in ("need_bytes", "free_bytes", "min_free_bytes")}
        events.append_message(
            session, job, code="saving.paused", level="warn", now=now,
            message=f"Saving is paused at step {report.step}: {report.cause}; training goes on, and what it does is lost "
                    f"should it be interrupted; {report.remedy}",
            data={"step": report.step, "where": report.where, **{k: v for k, v in numbers.items() if v is not None}})
        return
    missed = f"; not kept: the checkpoints of steps {', '.join(map(str, report.missed))}" if report.missed else ""
    events.append_message(session, job, code="saving.resumed", now=now, message=f"Saving goes on at step {report.step}{missed}",
                          data={"step": report.step, "where": report.where, "missed": report.missed})

"""Checkpoints: record one whose files are whole, list what clients see, give what can be restored, prune the rest.

A job's history is one line of steps. When a run had to begin again before an earlier run's checkpoint, that checkpoint's
files did not verify; as the new run reaches its step, the old row is superseded, so no step is listed twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.checkpoints.repository import SHOWN, get_checkpoint, live_checkpoints, superseded_by
from core.db.paging import Page, cut
from core.ids import new_id
from core.jobs.models import Job, Run
from core.jobs.states import is_finished

KEEP_RECOVERY = 2
"""Recovery points that stay: the newest, and one before it should the newest not verify."""
FORGOTTEN_AFTER = timedelta(minutes=10)


def record(session: Session, job: Job, run: Run, *, step: int, kind: str, folder_key: str, manifest_digest: str, bytes: int,
           position: dict[str, Any], metrics: dict[str, Any], now: datetime,
           seen: dict[str, Any] | None = None) -> Checkpoint:
    """Make a checkpoint exist. Call it in the transaction that holds the run (`claims.hold`), after its files are published."""
    newest = max((c.step for c in live_checkpoints(session, job.id)), default=0)
    if step > newest:
        job.failed_attempts = 0
    for old in superseded_by(session, job.id, step=step, kind=kind, fence=run.fence):
        old.deleted_at = now
    checkpoint = Checkpoint(id=new_id("checkpoint"), job_id=job.id, run_id=run.id, fence=run.fence, step=step, kind=kind,
                            folder_key=folder_key, manifest_digest=manifest_digest, bytes=bytes, position=position,
                            metrics=metrics, seen=seen, created_at=now)
    session.add(checkpoint)
    session.flush()
    return checkpoint


def list_checkpoints(session: Session, job_id: str, *, after: str | None, limit: int) -> Page[Checkpoint]:
    """A page of what clients see, highest step first."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.kind.in_(SHOWN), Checkpoint.deleted_at.is_(None))
    if after is not None:
        seen = get_checkpoint(session, job_id, after, param="after")
        query = query.where(or_(Checkpoint.step < seen.step, and_(Checkpoint.step == seen.step, Checkpoint.id < seen.id)))
    rows = session.scalars(query.order_by(Checkpoint.step.desc(), Checkpoint.id.desc()).limit(limit + 1)).all()
    return cut(rows, limit)


def restorable(session: Session, job_id: str) -> list[Checkpoint]:
    """What a run may go on from, best first; the caller takes the first whose files verify."""
    return live_checkpoints(session, job_id)


def final_of(session: Session, job_id: str) -> Checkpoint | None:
    """The checkpoint of the last step."""
    return next((c for c in live_checkpoints(session, job_id) if c.kind == "final"), None)


def prune(session: Session, job: Job, *, keep: int = KEEP_RECOVERY, now: datetime) -> list[str]:
    """Drop recovery points beyond the newest `keep`, or all of a finished job; give the keys to delete after the commit.

    Keys of rows dropped lately come again, so that a kill between commit and delete leaves nothing; then the rows go too."""
    recovery = [c for c in live_checkpoints(session, job.id) if c.kind == "recovery"]
    for old in recovery[0 if is_finished(job.state) else keep :]:
        old.deleted_at = now
    session.flush()
    live = {c.folder_key for c in live_checkpoints(session, job.id)}
    dropped = list(session.scalars(select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.deleted_at.is_not(None))))
    for old in dropped:
        if old.deleted_at is not None and now - old.deleted_at > FORGOTTEN_AFTER:
            session.delete(old)
    session.flush()
    return [old.folder_key for old in dropped if old.folder_key not in live]


__all__ = [
    "KEEP_RECOVERY", "final_of", "get_checkpoint", "list_checkpoints", "prune", "record", "restorable",
]

"""Checkpoints: record one whose files are whole, list what clients see, give what can be restored, keep or drop the rest.

A job's history is one line of steps. When a run had to begin again before an earlier run's checkpoint, that checkpoint's
files did not verify; its row is void as soon as that is seen, or as the new run saves, so no step is listed twice. A pin goes
over to the row that takes its place when the step is reached again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.checkpoints.repository import (
    SHOWN,
    get_checkpoint,
    is_recorded,
    is_unfreed,
    live_checkpoints,
    pinned_before,
    superseded_by,
)
from core.checkpoints.retention import let_go
from core.checkpoints.uses import Uses
from core.db.paging import Page, cut
from core.errors import IllegalMove, RunRejected, first_few, number_of
from core.ids import new_id
from core.jobs.models import Job, Run
from core.jobs.repository import lock_job
from core.jobs.states import is_finished
from core.jobs.stream_spec import options_of
from core.projects.repository import lock_project
from core.specs.job import KeptCheckpoints

KEEP_RECOVERY = 2
"""Recovery points that stay: the newest, and one before it should the newest not verify."""


def record(session: Session, job: Job, run: Run, *, step: int, kind: str, folder_key: str, manifest_digest: str, bytes: int,
           position: dict[str, Any], metrics: dict[str, Any], now: datetime,
           seen: dict[str, Any] | None = None) -> Checkpoint:
    """Make a checkpoint exist. Call it in the transaction that holds the run (`claims.hold`), after its files are published."""
    newest = max((c.step for c in live_checkpoints(session, job.id)), default=0)
    if step > newest:
        job.failed_attempts = 0
    for old in superseded_by(session, job.id, step=step, kind=kind, fence=run.fence):
        old.deleted_at = now
    pinned_at = _take_pin(session, job.id, step=step, fence=run.fence) if kind in SHOWN else None
    checkpoint = Checkpoint(id=new_id("checkpoint"), job_id=job.id, run_id=run.id, fence=run.fence, step=step, kind=kind,
                            folder_key=folder_key, manifest_digest=manifest_digest, bytes=bytes, position=position,
                            metrics=metrics, seen=seen, created_at=now, pinned_at=pinned_at)
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
    """Drop recovery points beyond the newest `keep`, and shown ones that the job does not keep.

    Gives the keys of all that is dropped and not yet freed: hand them to `freeing.free` after the commit."""
    live = live_checkpoints(session, job.id)
    recovery = [c for c in live if c.kind == "recovery"]
    for old in [*recovery[keep:], *_not_kept(session, job, live)]:
        old.deleted_at = now
    session.flush()
    return _unfreed(session, job.id)


def pin(session: Session, job_id: str, checkpoint_id: str, *, now: datetime) -> Checkpoint:
    """Keep a checkpoint whatever its job's `keep_checkpoints` says; asking again is no change."""
    checkpoint = _locked(session, job_id, checkpoint_id)[1]
    checkpoint.pinned_at = checkpoint.pinned_at or now
    session.flush()
    return checkpoint


def unpin(session: Session, job_id: str, checkpoint_id: str) -> Checkpoint:
    """Let a checkpoint go when its turn comes; asking again is no change."""
    checkpoint = _locked(session, job_id, checkpoint_id)[1]
    checkpoint.pinned_at = None
    session.flush()
    return checkpoint


def drop(session: Session, job_id: str, checkpoint_id: str, *, now: datetime) -> list[str]:
    """Delete a checkpoint: it exists for nobody from here on. Gives the keys to free after the commit.

    Raises IllegalMove while it is pinned, a model is made of it, or an unfinished job begins with it or goes on from it."""
    job, checkpoint = _locked(session, job_id, checkpoint_id)
    _keep_others_out(session, job)
    _refuse_used(session, job, checkpoint)
    checkpoint.deleted_at = now
    session.flush()
    return _unfreed(session, job.id)


def _take_pin(session: Session, job_id: str, *, step: int, fence: int) -> datetime | None:
    pinned_at = None
    for old in pinned_before(session, job_id, step=step, fence=fence):
        pinned_at, old.pinned_at = old.pinned_at, None
    return pinned_at


def _locked(session: Session, job_id: str, checkpoint_id: str) -> tuple[Job, Checkpoint]:
    """Hold the job, so that nothing prunes it meanwhile, and read the checkpoint as it stands then."""
    job = lock_job(session, job_id)
    assert job is not None
    return job, get_checkpoint(session, job_id, checkpoint_id)


def _keep_others_out(session: Session, job: Job) -> None:
    """Let no job be submitted on the checkpoints of this one, which is held, until the transaction ends.

    A project is locked behind the job whose checkpoints are asked about, never before one that others can hold, and whoever
    holds it waits for no row of use; so two that ask never wait for each other."""
    lock_project(session, job.project_id)


def _refuse_used(session: Session, job: Job, checkpoint: Checkpoint) -> None:
    what, uses = f"checkpoint {checkpoint.id} (step {checkpoint.step})", Uses(session, job)
    if checkpoint.pinned_at is not None:
        raise IllegalMove(f"{what} is pinned; unpin it first", code="checkpoint_pinned")
    if (model := uses.model(checkpoint)) is not None:
        raise IllegalMove(f"{what} is what model {model} consists of; delete the model first", code="checkpoint_in_use")
    if jobs := uses.jobs(checkpoint):
        begin = number_of(len(jobs), "unfinished job begins", "unfinished jobs begin")
        raise IllegalMove(f"{what} is what {begin} with ({first_few(jobs)}); wait for them, or "
                          "cancel them", code="checkpoint_in_use")
    if not is_finished(job.state) and checkpoint in _to_go_on_from(live_checkpoints(session, job.id)):
        raise IllegalMove(f"{what} is one of the newest of job {job.id}, which is {job.state} and goes on from it should its "
                          "run be interrupted; wait for later ones, or for the job's end", code="checkpoint_in_use")


def _not_kept(session: Session, job: Job, live: Sequence[Checkpoint]) -> list[Checkpoint]:
    stays = [] if is_finished(job.state) else _to_go_on_from(live)
    found = [c for c in let_go([c for c in live if c.kind in SHOWN], _asked(job)) if c not in stays]
    if not found:
        return []
    _keep_others_out(session, job)
    uses = Uses(session, job)
    return [c for c in found if not uses.is_used(c)]


def _asked(job: Job) -> Literal["all"] | KeptCheckpoints:
    """What the job keeps; a spec that this release cannot read lets nothing go."""
    try:
        return options_of(job).keep_checkpoints
    except RunRejected:
        return "all"


def _to_go_on_from(live: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
    """The newest of any kind, and one before it should the newest not verify."""
    return live[:KEEP_RECOVERY]


def _unfreed(session: Session, job_id: str) -> list[str]:
    live = {c.folder_key for c in live_checkpoints(session, job_id)}
    query = select(Checkpoint.folder_key).where(Checkpoint.job_id == job_id, is_unfreed())
    return [key for key in session.scalars(query) if key not in live]


__all__ = [
    "KEEP_RECOVERY", "drop", "final_of", "get_checkpoint", "is_recorded", "list_checkpoints", "pin", "prune", "record",
    "restorable", "unpin",
]

"""What is asked of checkpoints."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.errors import NotFound, shown

SHOWN = ("listed", "final")
"""Kinds that clients see."""


def get_checkpoint(session: Session, job_id: str, checkpoint_id: str, *, param: str | None = None) -> Checkpoint:
    query = select(Checkpoint).where(Checkpoint.id == checkpoint_id, Checkpoint.job_id == job_id, Checkpoint.kind.in_(SHOWN),
                                     Checkpoint.deleted_at.is_(None))
    checkpoint = session.scalar(query)
    if checkpoint is None:
        raise NotFound(f"job {job_id} has no checkpoint {shown(checkpoint_id)}; list them with "
                       f"GET /v1/fine_tuning/jobs/{job_id}/checkpoints", param=param)
    return checkpoint


def live_checkpoints(session: Session, job_id: str) -> list[Checkpoint]:
    """All kinds, newest first: by step, then by fence, since a later run's copy of a step is the one that counts."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.deleted_at.is_(None))
    return list(session.scalars(query.order_by(Checkpoint.step.desc(), Checkpoint.fence.desc(), Checkpoint.created_at.desc())))


def is_recorded(session: Session, run_id: str, folder_key: str) -> bool:
    """Tell whether a run's checkpoint has its row, living or dropped: the answer to the commit that made it may be lost."""
    query = select(Checkpoint.id).where(Checkpoint.run_id == run_id, Checkpoint.folder_key == folder_key)
    return session.scalar(query.limit(1)) is not None


def superseded_by(session: Session, job_id: str, *, step: int, kind: str, fence: int) -> list[Checkpoint]:
    """Checkpoints of earlier runs that a later run's makes void: all behind its step, and at its step those it can stand for.

    A recovery point saved where a run began stands for no checkpoint that clients see."""
    stood_for = (*SHOWN, "recovery") if kind in SHOWN else ("recovery",)
    is_void = or_(Checkpoint.step > step, and_(Checkpoint.step == step, Checkpoint.kind.in_(stood_for)))
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.fence < fence, is_void,
                                     Checkpoint.deleted_at.is_(None))
    return list(session.scalars(query))


def pinned_before(session: Session, job_id: str, *, step: int, fence: int) -> list[Checkpoint]:
    """Earlier runs' checkpoints of a step that hold a pin, void ones too."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.step == step, Checkpoint.fence < fence,
                                     Checkpoint.pinned_at.is_not(None))
    return list(session.scalars(query))


def is_unfreed() -> ColumnElement[bool]:
    """That a checkpoint is void and its bytes may go; one that holds a pin stays until its step is reached again."""
    return and_(Checkpoint.deleted_at.is_not(None), Checkpoint.pinned_at.is_(None))


def end_history(session: Session, job_id: str, *, now: datetime) -> None:
    """Void all recovery points of a job that has ended, since nothing goes on from them, and let go of pins that void ones
    hold, since no step is reached again. Upkeep frees what nobody frees before."""
    is_over = or_(Checkpoint.kind == "recovery", Checkpoint.deleted_at.is_not(None))
    query = update(Checkpoint).where(Checkpoint.job_id == job_id, is_over)
    session.execute(query.values(deleted_at=func.coalesce(Checkpoint.deleted_at, now), pinned_at=None))

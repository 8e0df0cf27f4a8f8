"""What is asked of checkpoints."""

from __future__ import annotations

from sqlalchemy import select
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


def superseded_by(session: Session, job_id: str, *, step: int, fence: int) -> list[Checkpoint]:
    """Checkpoints of earlier runs at or behind a step that a later run has reached again."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.fence < fence, Checkpoint.step >= step,
                                     Checkpoint.deleted_at.is_(None))
    return list(session.scalars(query))

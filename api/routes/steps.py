"""/v1/fine_tuning/jobs/{id}/steps/{n}/rows: what the model saw at a step."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import InTurn, PartsDep, TenantDep
from api.paging import MOST, Limit
from api.rows import places_for
from api.schemas.lineage import StepRows
from core.datasets.sources import fetch_indexes
from core.events.models import Event
from core.jobs.service import get_job
from core.lineage.reading import show_step
from core.lineage.service import get_step
from core.steering.service import data_stream, versions_of

router = APIRouter(prefix="/fine_tuning/jobs/{job_id}/steps", tags=["fine-tuning"])

PAGE = 20
TIMEOUT_SECONDS = 30.0
"""What reading rows that lie in places may take."""
MOST_STEP = 10**9


@router.get("/{step}/rows", dependencies=[InTurn])
def rows(
    job_id: str, tenant: TenantDep, parts: PartsDep,
    step: Annotated[int, Path(ge=1, le=MOST_STEP)],
    after: Annotated[int | None, Query(ge=0, le=MOST_STEP, description="Slot of the last row seen.")] = None,
    limit: Limit = PAGE,
) -> StepRows:
    """Read the rows behind a step with their losses, and whether they are those that were trained on."""
    with parts.ledger.read() as session:
        job = get_job(session, tenant.project_id, job_id)
        kept = get_step(session, job, step)
        fetch_indexes(versions_of(session, job).values(), parts.artifacts)
        stream = data_stream(session, job, artifacts=parts.artifacts)
        train_loss = _train_loss(session, job.id, step)
    view = show_step(stream, step, digest=kept.digest, losses=kept.losses, after=after, limit=min(limit, MOST),
                     places=places_for(stream, parts, tenant), timeout_seconds=TIMEOUT_SECONDS)
    return StepRows.of(job_id, step, kept.digest, view, train_loss=train_loss)


def _train_loss(session: Session, job_id: str, step: int) -> float | None:
    figures = session.scalar(select(Event.data).where(Event.job_id == job_id, Event.step == step))
    return (figures or {}).get("train_loss")

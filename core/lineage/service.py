"""What a job's steps were trained on: written with their figures, recomputed and proved when someone asks."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from sqlalchemy.orm import Session

from core.db.upsert import upsert
from core.errors import NotFound
from core.jobs.models import Job
from core.lineage.models import StepRows


def record(session: Session, job_id: str, steps: Iterable[tuple[int, str, str]]) -> None:
    """Keep (step, digest, packed losses) of steps, in the transaction that writes their figures. A step that the accepted
    history holds already stays as it is."""
    rows = [{"job_id": job_id, "step": step, "digest": digest, "losses": base64.b64decode(losses)}
            for step, digest, losses in steps if digest]
    if rows:
        insert = upsert(session, StepRows).on_conflict_do_nothing(index_elements=["job_id", "step"])
        session.execute(insert, rows)


def get_step(session: Session, job: Job, step: int) -> StepRows:
    """Give what was kept of a step; raise NotFound for one that is not done, or was done by a release that kept nothing."""
    rows = session.get(StepRows, (job.id, step))
    if rows is not None:
        return rows
    if step > job.step:
        raise NotFound(f"job {job.id} has done {job.step:,} steps and not yet step {step:,}; ask for one of those")
    raise NotFound(f"nothing was kept of the rows of step {step:,} of job {job.id}; steps of older releases have no lineage")

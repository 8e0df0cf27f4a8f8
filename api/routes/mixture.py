"""/v1/fine_tuning/jobs/{id}/mixture: see what is drawn from, and change it while the job waits or runs."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Response

from api.bodies import JsonRoute
from api.deps import InTurn, Parts, PartsDep, TenantDep
from api.references import refusing_references
from api.schemas.mixture import ChangeObject, MixtureObject
from core.errors import IllegalMove
from core.jobs.models import Job
from core.jobs.service import get_job
from core.specs.mixture import MixtureUpdate
from core.steering.models import MixtureChange
from core.steering.service import ask, changes_of, next_step, standing_at

router = APIRouter(prefix="/fine_tuning/jobs/{job_id}/mixture", tags=["fine-tuning"], route_class=JsonRoute)

ANSWER_SECONDS = 2.0
LOOK_SECONDS = 0.05
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The change holds from the step told."},
    202: {"model": ChangeObject, "description": "The run has not told its step yet; look again with GET."},
}


@router.get("")
def retrieve(job_id: str, tenant: TenantDep, parts: PartsDep) -> MixtureObject:
    """Show the sources with their weights as they hold for the next step, and the log of changes."""
    with parts.ledger.read() as session:
        job = get_job(session, tenant.project_id, job_id)
        step = next_step(session, job)
        return MixtureObject.of(job, changes_of(session, job.id), standing_at(session, job, step), step)


@router.patch("", responses=ANSWERS, dependencies=[InTurn])
def change(job_id: str, update: MixtureUpdate, tenant: TenantDep, parts: PartsDep, response: Response) -> ChangeObject:
    """Change weights, add, drop, quarantine or lift a quarantine.

    Answers with the step from which it holds, or 202 while the run is asked."""
    with parts.ledger.write() as session:
        get_job(session, tenant.project_id, job_id)
        with refusing_references():
            asked = ask(session, tenant.project_id, job_id, update, created_by=tenant.key_id, artifacts=parts.artifacts,
                        now=parts.clock())
        number = asked.number
    parts.wake_listeners(job_id)
    settled, job = _await_step(parts, job_id, number)
    if settled.state == "refused":
        error = settled.error or {}
        raise IllegalMove(error.get("message", "the change fits no more"), code=error.get("code"), param=error.get("param"))
    if settled.state == "pending":
        response.status_code = 202
    return ChangeObject.of(settled, job)


def _await_step(parts: Parts, job_id: str, number: int) -> tuple[MixtureChange, Job]:
    """Look until the change is settled, for two seconds at most."""
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        with parts.ledger.read() as session:
            found, job = session.get_one(MixtureChange, (job_id, number)), session.get_one(Job, job_id)
        if found.state != "pending" or time.monotonic() > until:
            return found, job
        time.sleep(LOOK_SECONDS)

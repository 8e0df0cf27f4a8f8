"""POST /v1/fine_tuning/jobs/estimate: what a job would take, before it is submitted."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.bodies import JsonRoute
from api.deps import InTurn, Parts, PartsDep, Tenant, TenantDep
from api.references import refusing_references
from api.rows import places_for
from api.schemas.estimates import EstimateObject
from core.data.spec import SourceSpec
from core.datasets.models import DatasetVersion
from core.estimates import service as estimates
from core.estimates.service import Drafted
from core.models.models import Model
from core.specs.job import JobSpec

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"], route_class=JsonRoute)

WAIT_SECONDS = 5.0
MOST_WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.1


@router.post("/estimate", dependencies=[InTurn])
def estimate(
    spec: JobSpec, tenant: TenantDep, parts: PartsDep,
    wait_seconds: Annotated[float, Query(ge=0, le=MOST_WAIT_SECONDS, description="How long a file that was just uploaded may "
                                         "still be looked at; then the answer comes without its rows.")] = WAIT_SECONDS,
) -> EstimateObject:
    """Reckon what a job takes: parameters, memory by part, rows, tokens, steps, time, and the devices that it fits on.

    The body is that of a submit; nothing is submitted."""
    with parts.ledger.write() as session, refusing_references():
        drafted = estimates.draft_job(session, tenant.project_id, spec, now=parts.clock())
    versions = _settled_versions(parts, drafted, wait_seconds)
    made = None if estimates.is_indexing(versions) else estimates.plan_of(
        drafted, versions, artifacts=parts.artifacts, measure=partial(_lengths, parts, tenant))
    with parts.ledger.read() as session:
        made_of = estimates.estimate(session, drafted, versions, made)
        return EstimateObject.of(made_of)


def _lengths(parts: Parts, tenant: Tenant, source: SourceSpec, base: Model, max_length: int) -> dict[str, Any]:
    return parts.lengths(source, base, max_length, places=places_for(source, parts, tenant))


def _settled_versions(parts: Parts, drafted: Drafted, wait_seconds: float) -> dict[str, DatasetVersion]:
    """Wait a moment for data that were just uploaded."""
    parts.wake_workers("upkeep")
    deadline = time.monotonic() + wait_seconds
    while True:
        with parts.ledger.read() as session:
            versions = estimates.versions_of(session, drafted)
        if not estimates.is_indexing(versions) or time.monotonic() > deadline or parts.stop.is_set:
            return versions
        time.sleep(LOOK_SECONDS)

"""/v1/fine_tuning/jobs: create, list, retrieve, cancel, pause, resume, logs."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import PlainTextResponse

from api.bodies import JsonRoute
from api.deps import PartsDep, TenantDep
from api.paging import MOST, After, Limit, ListObject, page_of
from api.references import refusing_references
from api.runlog import read_tail
from api.schemas.jobs import JobObject
from core.errors import InvalidValue, shown
from core.jobs.repository import runs_of
from core.jobs.service import cancel as cancel_job
from core.jobs.service import find_twin, get_job, list_jobs, spec_json, submit
from core.jobs.service import pause as pause_job
from core.jobs.service import resume as resume_job
from core.projects.repository import lock_project
from core.quotas.limits import Rules
from core.specs.job import JobSpec

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"], route_class=JsonRoute)

PAGE = 20
LONGEST_KEY = 255
RETRY_COUNT = re.compile(r"[1-9][0-9]{0,3}")
METADATA_PAIRS = 16
LOG_BYTES = 64 * 1024
MOST_LOG_BYTES = 1024 * 1024


@router.post("")
def create(
    spec: JobSpec,
    tenant: TenantDep,
    parts: PartsDep,
    idempotency_key: Annotated[str | None, Header(description="The same key and body in 24 hours give the same job.")] = None,
    x_stainless_retry_count: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> JobObject:
    """Submit a job. What the official client repeats by itself within a minute gives the job that was made first."""
    repeated = (_checked_key(idempotency_key), _digest(spec)) if idempotency_key is not None else None
    is_retry = repeated is None and bool(RETRY_COUNT.fullmatch(x_stainless_retry_count or ""))
    now = parts.clock()
    with parts.ledger.write() as session, refusing_references():
        twin = None
        if is_retry:
            lock_project(session, tenant.project_id)
            twin = find_twin(session, tenant.project_id, spec, now=now)
        job = twin or submit(session, tenant.project_id, spec, now=now, rules=Rules.of(parts.settings),
                             idempotency=repeated, key_id=tenant.key_id)
        told = JobObject.of(job, tenant.organization_id)
    parts.wake_workers("upkeep")
    return told


@router.get("")
def list_all(
    request: Request, tenant: TenantDep, parts: PartsDep, after: After = None, limit: Limit = PAGE,
    metadata: Annotated[Literal["null"] | None, Query(description="`null`: jobs without metadata; `metadata[key]=value`: jobs "
                                                      "that have the pair.")] = None,
) -> ListObject[JobObject]:
    """List jobs, newest first."""
    wanted = metadata or _metadata_pairs(request)
    with parts.ledger.read() as session:
        page = list_jobs(session, tenant.project_id, after=after, limit=min(limit, MOST), metadata=wanted)
        return page_of(page, lambda job: JobObject.of(job, tenant.organization_id))


@router.get("/{job_id}")
def retrieve(job_id: str, tenant: TenantDep, parts: PartsDep) -> JobObject:
    with parts.ledger.read() as session:
        return JobObject.of(get_job(session, tenant.project_id, job_id), tenant.organization_id)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, tenant: TenantDep, parts: PartsDep) -> JobObject:
    """Cancel a job: at once when it waits, within seconds when it runs."""
    with parts.ledger.write() as session:
        job = cancel_job(session, tenant.project_id, job_id, now=parts.clock())
        told = JobObject.of(job, tenant.organization_id)
    parts.wake_listeners(job_id)
    return told


@router.post("/{job_id}/pause")
def pause(job_id: str, tenant: TenantDep, parts: PartsDep) -> JobObject:
    """Pause a job: at once when it waits; one that runs saves its last step and lets its device go, within seconds."""
    with parts.ledger.write() as session:
        told = JobObject.of(pause_job(session, tenant.project_id, job_id, now=parts.clock()), tenant.organization_id)
    parts.wake_listeners(job_id)
    return told


@router.post("/{job_id}/resume")
def resume(job_id: str, tenant: TenantDep, parts: PartsDep) -> JobObject:
    """Let a paused job go on from its last step, at the place in the queue that it had."""
    with parts.ledger.write() as session:
        told = JobObject.of(resume_job(session, tenant.project_id, job_id, now=parts.clock()), tenant.organization_id)
    parts.wake_listeners(job_id)
    parts.wake_workers("upkeep" if told.status == "validating_files" else "train")
    return told


@router.get("/{job_id}/logs", response_class=PlainTextResponse)
def logs(
    job_id: str, tenant: TenantDep, parts: PartsDep,
    tail_bytes: Annotated[int, Query(ge=1, description="Bytes at most, from the end.")] = LOG_BYTES,
) -> PlainTextResponse:
    """Read the end of what the job's runs wrote to their logs, oldest attempt first."""
    with parts.ledger.read() as session:
        runs = runs_of(session, get_job(session, tenant.project_id, job_id).id)
    return PlainTextResponse(read_tail(runs, parts.artifacts, min(tail_bytes, MOST_LOG_BYTES)))


def _checked_key(key: str) -> str:
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise InvalidValue(f"the Idempotency-Key is {shown(key)}; expected 1 to {LONGEST_KEY} printable ASCII characters; "
                           "choose another", param="Idempotency-Key")
    return key


def _digest(spec: JobSpec) -> str:
    return hashlib.sha256(orjson.dumps(spec_json(spec), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _metadata_pairs(request: Request) -> dict[str, str] | None:
    """Take the pairs of `metadata[key]=value` out of the query."""
    pairs = {name[len("metadata[") : -1]: value for name, value in request.query_params.multi_items()
             if name.startswith("metadata[") and name.endswith("]")}
    if len(pairs) > METADATA_PAIRS:
        raise InvalidValue(f"the query has {len(pairs)} metadata pairs; expected at most {METADATA_PAIRS}; leave some out",
                           param="metadata")
    return pairs or None

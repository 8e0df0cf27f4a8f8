"""/v1/fine_tuning/jobs/{id}/events: pages from new to old, or with `stream=true` the whole log from old to new, then
live.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.deps import Parts, PartsDep, Tenant, TenantDep
from api.paging import MOST, After, Limit, ListObject, page_of
from api.schemas.events import EventObject
from api.sse import EventStream
from core.errors import InvalidValue
from core.events.service import list_events, seen_number
from core.jobs.service import get_job

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

PAGE = 20
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page, or a stream of server-sent events that ends with `data: [DONE]`.",
          "content": {"text/event-stream": {"schema": {"type": "string"}}}},
}


@router.get("/{job_id}/events", response_model=ListObject[EventObject], responses=STREAM)
async def events(
    job_id: str,
    tenant: TenantDep,
    parts: PartsDep,
    after: After = None,
    limit: Limit = PAGE,
    stream: Annotated[bool, Query(description="Answer with server-sent events, oldest first.")] = False,
    last_event_id: Annotated[str | None, Header(description="With stream=true: go on behind this event.")] = None,
) -> Any:
    """List a job's events, newest first, or stream them."""
    if not stream:
        return await run_in_threadpool(_page, job_id, tenant, parts, after=after, limit=min(limit, MOST))
    return await _stream(job_id, tenant, parts, after=after, last_event_id=last_event_id)


def _page(job_id: str, tenant: Tenant, parts: Parts, *, after: str | None, limit: int) -> ListObject[EventObject]:
    with parts.ledger.read() as session:
        job = get_job(session, tenant.project_id, job_id)
        return page_of(list_events(session, job.id, after=after, limit=limit), EventObject.of)


async def _stream(job_id: str, tenant: Tenant, parts: Parts, *, after: str | None, last_event_id: str | None) -> Response:
    seen = last_event_id or after
    try:
        number = await run_in_threadpool(_number, job_id, tenant, parts, seen)
    except InvalidValue as error:
        raise InvalidValue(error.message, param="Last-Event-ID" if last_event_id else "after") from None
    return EventStream(job_id, after=number, looks=parts.looks, watch=parts.watch, places=parts.places, stop=parts.stop,
                       quiet_seconds=parts.quiet_seconds)


def _number(job_id: str, tenant: Tenant, parts: Parts, seen: str | None) -> int:
    """Check that the job is the caller's, and tell the number of the event that was seen last."""
    with parts.ledger.read() as session:
        job = get_job(session, tenant.project_id, job_id)
        return seen_number(session, job.id, seen) if seen else 0

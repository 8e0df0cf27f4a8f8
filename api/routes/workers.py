"""/v1/workers: who works, on what, and whether they live."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import PartsDep, ViewerDep
from api.paging import ListObject, list_of
from api.schemas.workers import WorkerObject
from core.workers.looking import seen_workers

router = APIRouter(prefix="/workers", tags=["sharing"])


@router.get("")
def list_all(viewer: ViewerDep, parts: PartsDep) -> ListObject[WorkerObject]:
    """List the workers with their devices. Jobs of other projects are not named. There are no pages."""
    with parts.ledger.read() as session:
        found = seen_workers(session, now=parts.clock())
    return list_of([WorkerObject.of(each, viewer.may_see) for each in found])

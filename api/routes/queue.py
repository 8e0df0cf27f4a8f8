"""/v1/queue: what waits, at which place, why, and until when."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import PartsDep, ViewerDep
from api.paging import MOST, After, Limit
from api.schemas.queue import QueueObject
from core.queue.service import Sharing, look

router = APIRouter(prefix="/queue", tags=["sharing"])

PAGE = 20


@router.get("")
def list_all(viewer: ViewerDep, parts: PartsDep, after: After = None, limit: Limit = PAGE) -> QueueObject:
    """List the project's waiting jobs, the next one first; their places count the jobs of all projects, which stay unnamed.

    An admin key sees every job."""
    with parts.ledger.read() as session:
        return QueueObject.of(look(session, project_id=viewer.project_id, sharing=Sharing.of(parts.settings),
                                   now=parts.clock(), after=after, limit=min(limit, MOST)))

"""/v1/usage: what the project uses of each quota; all projects for the operator."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import PartsDep, ViewerDep
from api.paging import ListObject, list_of
from api.schemas.usage import ProjectUsage
from core.projects.repository import get_project
from core.quotas.limits import Rules, period_at
from core.quotas.usage import all_usage, usage_of

router = APIRouter(prefix="/usage", tags=["sharing"])


@router.get("")
def read(viewer: ViewerDep, parts: PartsDep) -> ListObject[ProjectUsage]:
    """Show each quota of the project and of its keys: what is used, and the limit. An admin key sees every project."""
    rules, now = Rules.of(parts.settings), parts.clock()
    with parts.ledger.read() as session:
        if viewer.project_id is None:
            found = all_usage(session, rules=rules, now=now)
        else:
            found = [usage_of(session, get_project(session, viewer.project_id), rules=rules, now=now)]
    return list_of([ProjectUsage.of(each, period_at(now, rules.period)) for each in found])

"""What handlers are given: the server's parts, and the project on whose behalf they act."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from api.estimating import Lengths
from api.looks import Looks
from api.sse import Places
from api.stopping import Stop
from api.turns import Turns
from api.watch import Watch
from core.clock import Clock
from core.db.session import Ledger
from core.errors import Forbidden
from core.projects.service import Caller
from core.settings import Settings
from core.storage.artifacts import Artifacts


class Rings(Protocol):
    """Wakes whoever listens under a name; never raises, never waits. Called after the commit that changed something."""

    def __call__(self, name: str, /) -> None: ...


@dataclass(frozen=True)
class Parts:
    """All that a request may need, built once at start."""

    settings: Settings
    ledger: Ledger
    artifacts: Artifacts
    clock: Clock
    wake_workers: Rings
    """By the queue's name: train or upkeep."""
    wake_listeners: Rings
    """By the job's id."""
    watch: Watch
    looks: Looks
    lengths: Lengths
    stop: Stop
    places: Places
    turns: Turns
    is_bell_heard: Callable[[], bool]
    """Whether Redis answers."""
    quiet_seconds: float
    """After so long without an event, a stream sends a comment."""


@dataclass(frozen=True)
class Tenant:
    """The project that the caller's key belongs to. Every look-up of a handler is inside it."""

    project_id: str
    organization_id: str
    key_id: str


async def parts_of(request: Request) -> Parts:
    return request.app.state.parts


async def tenant_of(request: Request, _bearer: Annotated[object, Security(HTTPBearer(auto_error=False))]) -> Tenant:
    """Take the caller from the gate; the bearer is declared for the API's description only."""
    caller: Caller = request.scope["caller"]
    if caller.project_id is None or caller.organization_id is None:
        raise Forbidden("this is an admin key, which belongs to no project; use a project's key, made with "
                        "`headrace keys create NAME --project P`")
    return Tenant(caller.project_id, caller.organization_id, caller.key_id)


@dataclass(frozen=True)
class Viewer:
    """Who looks at what all projects share: one project, or the operator, who sees everything."""

    project_id: str | None
    """None for an admin key."""

    def may_see(self, project_id: str) -> bool:
        return self.project_id in (None, project_id)


async def viewer_of(request: Request, _bearer: Annotated[object, Security(HTTPBearer(auto_error=False))]) -> Viewer:
    caller: Caller = request.scope["caller"]
    return Viewer(None if caller.is_admin else caller.project_id)


PartsDep = Annotated[Parts, Depends(parts_of)]
TenantDep = Annotated[Tenant, Depends(tenant_of)]
ViewerDep = Annotated[Viewer, Depends(viewer_of)]


async def take_turn(tenant: TenantDep, parts: PartsDep) -> AsyncIterator[None]:
    async with parts.turns.taken_by(tenant.project_id):
        yield


InTurn = Depends(take_turn)
"""For routes whose handlers may take many seconds."""

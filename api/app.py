"""The API as an ASGI application. `create_app` builds it from parts; importing this module reads no settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from api.auth import KeyCheck
from api.deps import Parts, Rings
from api.errors import install_handlers
from api.estimating import Lengths
from api.gate import Gate
from api.looks import Looks
from api.routes import (
    checkpoints,
    datasets,
    estimates,
    events,
    files,
    health,
    jobs,
    mixture,
    models,
    places,
    queue,
    steps,
    usage,
    webhooks,
    workers,
)
from api.schemas.errors import ErrorBody
from api.sse import QUIET_SECONDS, Places
from api.stopping import Stop
from api.turns import Turns
from api.uploads import FRAME_BYTES
from api.watch import Listen, Watch
from core.clock import Clock, system_clock
from core.db.session import Ledger
from core.settings import Settings
from core.storage.artifacts import Artifacts

ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be taken as it is."},
    "5XX": {"model": ErrorBody, "description": "The server is at fault, or a part of it is away."},
}
DESCRIPTION = ("OpenAI's fine-tuning API at home, on data that streams. Paths and objects are OpenAI's where it has them; "
               "data sets, the mixture, the rows behind a step, logs and the files of a checkpoint are additions.")
UPLOADS = ("POST", "/v1/files")


def create_app(
    settings: Settings,
    ledger: Ledger,
    artifacts: Artifacts,
    *,
    clock: Clock = system_clock,
    wake_workers: Rings = lambda name, /: None,
    wake_listeners: Rings = lambda name, /: None,
    listen: Listen | None = None,
    is_bell_heard: Callable[[], bool] = lambda: False,
    stop: Stop | None = None,
    quiet_seconds: float = QUIET_SECONDS,
) -> FastAPI:
    """Build the application. Without the rings and the bell all works, at the pace of the others' own looks."""
    parts = Parts(
        settings=settings, ledger=ledger, artifacts=artifacts, clock=clock, wake_workers=wake_workers,
        wake_listeners=wake_listeners, watch=Watch(ledger, listen), looks=Looks(ledger), lengths=Lengths(artifacts),
        stop=stop or Stop(), places=Places(settings.max_streams), turns=Turns(),
        is_bell_heard=is_bell_heard, quiet_seconds=quiet_seconds,
    )
    app = FastAPI(title="Headrace", version=health.own_version(), description=DESCRIPTION, docs_url=None, redoc_url=None,
                  redirect_slashes=False, responses=ERRORS, lifespan=_life)
    app.state.parts = parts
    app.include_router(health.router)
    for routes in (files, estimates, jobs, events, checkpoints, mixture, steps, models, datasets, places, queue, workers,
                   usage, webhooks):
        app.include_router(routes.router, prefix="/v1")
    install_handlers(app)
    app.add_middleware(Gate, keys=KeyCheck(ledger, clock), limit_for=_limits(settings))
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    try:
        yield
    finally:
        parts.stop.set()
        await parts.watch.aclose()


def _limits(settings: Settings) -> Callable[[str, str], int]:
    def limit_for(method: str, path: str) -> int:
        return settings.max_file_bytes + FRAME_BYTES if (method, path) == UPLOADS else settings.max_body_bytes

    return limit_for

"""Whether the server lives, whether it can serve, and what it is. Open without a key."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import text

from api.deps import PartsDep

router = APIRouter(tags=["server"])


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    status: Literal["ready"] = "ready"
    database: Literal["ok"] = "ok"
    bell: Literal["ok", "degraded"]
    """degraded while Redis is away: all works, a second later."""


class Version(BaseModel):
    name: Literal["headrace"] = "headrace"
    version: str


@router.get("/healthz")
async def healthz() -> Health:
    """Answer while the process lives; looks at nothing."""
    return Health()


@router.get("/readyz")
def readyz(parts: PartsDep) -> Readiness:
    """Answer when the ledger does; 503 otherwise."""
    with parts.ledger.read() as session:
        session.execute(text("SELECT 1"))
    return Readiness(bell="ok" if parts.is_bell_heard() else "degraded")


@router.get("/v1/version")
async def read_version() -> Version:
    return Version(version=own_version())


def own_version() -> str:
    try:
        return version("headrace")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"

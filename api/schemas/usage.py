"""What projects and their keys use of what they may, on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from api.paging import Entry
from api.schemas.times import unix
from core.quotas.limits import Period
from core.quotas.usage import Spent, Used


class UsedOf(BaseModel):
    used: int
    limit: int | None
    """null: no limit."""


class Quotas(BaseModel):
    running_jobs: UsedOf
    """Jobs that a run holds."""
    queued_jobs: UsedOf
    """Jobs that wait, paused ones too."""
    device_seconds: UsedOf
    """Seconds × devices that runs held in this period."""
    stored_bytes: UsedOf
    """Bytes of files and checkpoints."""

    @classmethod
    def of(cls, spent: Spent) -> Quotas:
        return cls(**{name: UsedOf(used=of.used, limit=of.limit) for name, of in spent.items()})


class UsagePeriod(BaseModel):
    name: Literal["day", "week", "month"]
    started_at: int
    ends_at: int
    """When device-seconds are counted anew."""

    @classmethod
    def of(cls, period: Period) -> UsagePeriod:
        return cls(name=period.name, started_at=unix(period.started_at), ends_at=unix(period.ends_at))


class KeyUsage(BaseModel):
    key_id: str
    name: str
    quotas: Quotas


class ProjectUsage(Entry):
    """`id` is the project's."""

    object: Literal["project.usage"] = "project.usage"
    name: str
    period: UsagePeriod
    quotas: Quotas
    keys: list[KeyUsage]
    """Its keys in use, oldest first."""

    @classmethod
    def of(cls, told: Used, period: Period) -> ProjectUsage:
        keys = [KeyUsage(key_id=key.subject.key_id or "", name=key.subject.key_name, quotas=Quotas.of(key.spent))
                for key in told.keys]
        return cls(id=told.subject.project_id, name=told.subject.project_name, period=UsagePeriod.of(period),
                   quotas=Quotas.of(told.spent), keys=keys)

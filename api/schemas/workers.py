"""Workers and devices on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel

from api.paging import Entry
from api.schemas.times import unix
from core.workers.looking import Health, SeenDevice, SeenWorker


class DeviceObject(BaseModel):
    id: str
    kind: str
    """cuda or cpu."""
    ordinal: int
    name: str
    memory_bytes: int
    status: Literal["free", "busy"]
    job_id: str | None
    """The job whose run holds it; null for one of another project."""
    since: int | None
    """Since when it is held."""

    @classmethod
    def of(cls, seen: SeenDevice, *, is_named: bool) -> DeviceObject:
        device = seen.device
        return cls(id=device.id, kind=device.kind, ordinal=device.ordinal, name=device.name, memory_bytes=device.memory_bytes,
                   status="free" if device.run_id is None else "busy", job_id=seen.job_id if is_named else None,
                   since=unix(device.leased_at))


class WorkerObject(Entry):
    object: Literal["worker"] = "worker"
    host: str
    queue: str
    """train or upkeep."""
    version: str
    health: Health
    """refusing: it takes no job at present. silent: it did not renew its row for a minute and a half; its runs end when their
    leases lapse."""
    refusal: str | None
    """Why it takes no job at present; null while it takes them."""
    started_at: int
    seen_at: int
    job_id: str | None
    """The job that it supervises; null for none, and for one of another project."""
    is_busy: bool
    devices: list[DeviceObject]
    """Those of its host, which its train workers share."""

    @classmethod
    def of(cls, seen: SeenWorker, may_see: Callable[[str], bool]) -> WorkerObject:
        worker = seen.worker
        return cls(
            id=worker.id, host=worker.host, queue=worker.queue, version=worker.version,
            health=seen.health, refusal=worker.refusal, started_at=unix(worker.started_at), seen_at=unix(worker.seen_at),
            job_id=seen.job_id if seen.project_id is not None and may_see(seen.project_id) else None,
            is_busy=seen.job_id is not None,
            devices=[DeviceObject.of(each, is_named=each.project_id is not None and may_see(each.project_id))
                     for each in seen.devices])

"""Devices: announce what a host has, tell which are free, lease all that a run needs or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.db.session import database_now
from core.db.upsert import upsert
from core.devices.models import Device
from core.ids import new_id


@dataclass(frozen=True)
class FoundDevice:
    """What a host found in itself."""

    kind: str
    """cuda or cpu."""
    ordinal: int
    name: str
    memory_bytes: int


def announce(session: Session, host: str, found: Sequence[FoundDevice], *, now: datetime | None = None) -> list[Device]:
    """Note what a host has; known devices keep their id and their lease."""
    now = now or database_now(session)
    for device in found:
        told = {"name": device.name, "memory_bytes": device.memory_bytes, "seen_at": now}
        row = {"id": new_id("device"), "host": host, "kind": device.kind, "ordinal": device.ordinal, **told}
        insert = upsert(session, Device).values(**row)
        session.execute(insert.on_conflict_do_update(index_elements=["host", "kind", "ordinal"], set_=told))
    return list(session.scalars(_of(host).execution_options(populate_existing=True)))


def free(session: Session, host: str) -> list[Device]:
    """Devices of a host that no run holds."""
    return list(session.scalars(_of(host).where(Device.run_id.is_(None))))


def most_on_one_host(session: Session) -> int:
    """How many devices of one kind the best equipped of the known hosts has; 0 when no worker was ever there."""
    per_host = select(func.count().label("devices")).select_from(Device).group_by(Device.host, Device.kind).subquery()
    return session.scalar(select(func.max(per_host.c.devices))) or 0


def lease(session: Session, run_id: str, device_ids: Sequence[str], *, now: datetime) -> bool:
    """Give a run all of these devices, or none: False when one of them is taken or unknown."""
    wanted = sorted(set(device_ids))
    query = select(Device).where(Device.id.in_(wanted), Device.run_id.is_(None)).order_by(Device.id).with_for_update()
    rows = list(session.scalars(query.execution_options(populate_existing=True)))
    if len(rows) < len(wanted):
        return False
    for device in rows:
        device.run_id, device.leased_at = run_id, now
    session.flush()
    return True


def release(session: Session, run_id: str) -> None:
    """Free what a run held: its child was seen dead, or its lease lapsed."""
    session.execute(update(Device).where(Device.run_id == run_id).values(run_id=None, leased_at=None))


def _of(host: str):
    return select(Device).where(Device.host == host).order_by(Device.kind, Device.ordinal)

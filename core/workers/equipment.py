"""What workers found on their hosts, and which devices are of record no more.

A worker looks once, at its start. Workers of one host may see different devices (CUDA_VISIBLE_DEVICES), so what one does not
see may well be there: a device is forgotten when no living worker of its host has found it, or when no worker of its host is
known any more. One that a run holds stays until it is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.db.session import database_now
from core.devices import service as devices
from core.devices.models import Device
from core.devices.service import FoundDevice
from core.workers.models import Worker
from core.workers.service import ALIVE_SECONDS, alive


def note_found(session: Session, worker_id: str, host: str, found: Sequence[FoundDevice], *, now: datetime | None = None
               ) -> None:
    """Note what a worker found, and forget what is not there any more."""
    now = now or database_now(session)
    devices.announce(session, host, found, now=now)
    session.execute(update(Worker).where(Worker.id == worker_id).values(devices=[_name(each) for each in found]))
    forget_unfound(session, now=now)


def forget_unfound(session: Session, *, now: datetime) -> None:
    """Drop devices that no worker finds and no run holds. One that was announced lately stays: a worker that has just started
    may be committing at this moment that it found it."""
    known = set(session.scalars(select(Worker.host).where(Worker.queue == "train")))
    finds = _finds(session, now)
    query = select(Device).where(Device.run_id.is_(None), Device.seen_at < now - timedelta(seconds=ALIVE_SECONDS))
    gone = [device.id for device in session.scalars(query)
            if device.host not in known or _name(device) not in finds.get(device.host, {_name(device)})]
    session.execute(delete(Device).where(Device.id.in_(gone), Device.run_id.is_(None)))


def _finds(session: Session, now: datetime) -> dict[str, set[str]]:
    """What the living workers of each host find together; without the hosts where one of them has not looked yet."""
    workers = [worker for worker in alive(session, now=now) if worker.queue == "train"]
    finds: dict[str, set[str]] = {worker.host: set() for worker in workers}
    for worker in workers:
        finds[worker.host].update(worker.devices or ())
    unsure = {worker.host for worker in workers if worker.devices is None}
    return {host: names for host, names in finds.items() if host not in unsure}


def _name(device: Device | FoundDevice) -> str:
    return f"{device.kind}:{device.ordinal}"

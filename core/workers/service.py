"""Workers that are alive, and roles that one of them holds."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from core.db.session import database_now
from core.db.upsert import upsert
from core.errors import LeaseLost
from core.workers.models import RoleLease, Worker

ALIVE_SECONDS = 90.0
"""A worker that renewed its row so lately is alive, for everyone who asks; it does so every half minute at least."""


def announce(session: Session, *, worker_id: str, host: str, pid: int, queue: str, version: str,
             now: datetime | None = None) -> Worker:
    """Add a worker that has just started; its id is fresh, so it revives nothing of an earlier process."""
    now = now or database_now(session)
    worker = Worker(id=worker_id, host=host, pid=pid, queue=queue, version=version, started_at=now, seen_at=now)
    session.add(worker)
    session.flush()
    return worker


def renew(session: Session, worker_id: str, *, now: datetime | None = None) -> None:
    """Show that a worker lives; raise LeaseLost for one that is not announced or was stopped."""
    now = now or database_now(session)
    _write(session, worker_id, seen_at=now)


def refuse(session: Session, worker_id: str, why: str | None) -> None:
    """Note why a worker takes no job from now on; None: it takes jobs again."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(refusal=why))


def stop(session: Session, worker_id: str, *, now: datetime | None = None) -> None:
    """Note that a worker ended; safe to call twice."""
    query = update(Worker).where(Worker.id == worker_id, Worker.stopped_at.is_(None))
    session.execute(query.values(stopped_at=now or database_now(session)))


def is_alive(now: datetime) -> ColumnElement[bool]:
    """That a worker was seen lately and has not stopped."""
    return and_(Worker.stopped_at.is_(None), Worker.seen_at >= now - timedelta(seconds=ALIVE_SECONDS))


def takes_jobs(now: datetime) -> ColumnElement[bool]:
    """That a train worker is alive and claims what it can run: what it has no run for is room."""
    return and_(is_alive(now), Worker.queue == "train", Worker.refusal.is_(None))


def alive(session: Session, *, now: datetime | None = None) -> list[Worker]:
    """Workers that are alive, oldest first."""
    query = select(Worker).where(is_alive(now or database_now(session)))
    return list(session.scalars(query.order_by(Worker.started_at, Worker.id)))


def hold_role(session: Session, role: str, holder: str, lease_seconds: float, *, now: datetime | None = None) -> bool:
    """Take a role, or go on holding it; False while another's lease on it runs. A new holder raises the fence."""
    now = now or database_now(session)
    until = now + timedelta(seconds=lease_seconds)
    first = {"role": role, "holder": holder, "fence": 1, "lease_until": until}
    session.execute(upsert(session, RoleLease).values(**first).on_conflict_do_nothing(index_elements=["role"]))
    lease = session.scalar(select(RoleLease).where(RoleLease.role == role).with_for_update()
                           .execution_options(populate_existing=True))
    assert lease is not None
    if lease.holder != holder and lease.lease_until >= now:
        return False
    lease.fence += lease.holder != holder
    lease.holder, lease.lease_until = holder, until
    session.flush()
    return True


def drop_role(session: Session, role: str, holder: str, *, now: datetime | None = None) -> None:
    """Let a role go at once, so that the next holder need not wait for the lease."""
    mine = (RoleLease.role == role, RoleLease.holder == holder)
    session.execute(update(RoleLease).where(*mine).values(lease_until=(now or database_now(session)) - timedelta(seconds=1)))


def forget_stopped(session: Session, *, before: datetime) -> int:
    """Drop rows of workers that were last seen long ago; runs keep their worker's id as plain text."""
    old = list(session.scalars(select(Worker).where(or_(Worker.stopped_at < before, Worker.seen_at < before))))
    for worker in old:
        session.delete(worker)
    session.flush()
    return len(old)


def _write(session: Session, worker_id: str, *, seen_at: datetime) -> None:
    query = update(Worker).where(Worker.id == worker_id, Worker.stopped_at.is_(None)).values(seen_at=seen_at)
    if session.execute(query.returning(Worker.id), execution_options={"synchronize_session": False}).first() is None:
        raise LeaseLost(f"worker {worker_id} is not announced any more; start it again under a fresh id")

"""Chores: add, claim, renew, release, and end pieces of upkeep work.

A chore is held under a lease and a fence: one claim raises the fence, and whoever comes back with an older one is refused by
LeaseLost. A chore whose lease lapsed is claimed again by the next worker that looks; that is all the recovery there is.
All its times are the database's, whoever writes them: a host whose clock is ahead holds up nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session

from core.chores.models import Chore
from core.db.session import database_now
from core.db.upsert import upsert
from core.errors import LeaseLost
from core.ids import new_id

OPEN = ("waiting", "held")


def add(session: Session, kind: str, subject: str, *, now: datetime | None = None, not_before: datetime | None = None) -> None:
    """Ask for a chore. One that waits or is held already stays as it is; one that ended is opened again."""
    now = now or database_now(session)
    values = {"id": new_id("chore"), "kind": kind, "subject": subject, "state": "waiting", "attempts": 0, "fence": 0,
              "not_before": not_before or now, "created_at": now}
    insert = upsert(session, Chore).values(**values)
    session.execute(insert.on_conflict_do_update(index_elements=["kind", "subject"], set_=_reopened(not_before or now),
                                                 where=Chore.state.not_in(OPEN)))


def retry_failed(session: Session, kinds: Iterable[str]) -> None:
    """Open chores of these kinds again that were given up."""
    given_up = (Chore.kind.in_(list(kinds)), Chore.state == "failed")
    opened = _reopened(database_now(session))
    session.execute(update(Chore).where(*given_up).values(opened), execution_options={"synchronize_session": False})


def wake(session: Session, kind: str, subjects: Iterable[str], *, now: datetime | None = None) -> None:
    """Let chores that wait for a time be taken now, since what they waited for happened."""
    now = now or database_now(session)
    waiting = (Chore.kind == kind, Chore.subject.in_(list(subjects)), Chore.state == "waiting", Chore.not_before > now)
    query = select(Chore).where(*waiting).order_by(Chore.id).with_for_update()  # in one order, so that two do not deadlock
    for chore in session.scalars(query.execution_options(populate_existing=True)):
        chore.not_before = now
    session.flush()


def claim(session: Session, holder: str, lease_seconds: float, *, without: Collection[str] = (), now: datetime | None = None
          ) -> Chore | None:
    """Take the chore that waits longest, or one whose holder let its lease lapse; None when there is none, but for kinds that
    are left out."""
    now = now or database_now(session)
    due = or_(and_(Chore.state == "waiting", Chore.not_before <= now), and_(Chore.state == "held", Chore.lease_until < now))
    query = select(Chore).where(due, Chore.kind.not_in(list(without))).order_by(Chore.not_before, Chore.id).limit(1)
    query = query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    chore = session.scalar(query)
    if chore is None:
        return None
    chore.state, chore.holder, chore.lease_until = "held", holder, now + timedelta(seconds=lease_seconds)
    chore.fence += 1
    chore.attempts += 1
    session.flush()
    return chore


def renew(session: Session, chore: Chore, lease_seconds: float, *, now: datetime | None = None) -> None:
    now = now or database_now(session)
    _write(session, chore, {"lease_until": now + timedelta(seconds=lease_seconds)})


def advance(session: Session, chore: Chore, lease_seconds: float, *, now: datetime | None = None) -> None:
    """Renew the lease of a chore of which a part was done for good: this attempt counts as the first again."""
    now = now or database_now(session)
    _write(session, chore, {"lease_until": now + timedelta(seconds=lease_seconds), "attempts": 1})
    chore.attempts = 1


def release(session: Session, chore: Chore, wait_seconds: float = 0.0, *, now: datetime | None = None) -> None:
    """Put a chore back that was neither done nor found at fault: this attempt does not count."""
    due = (now or database_now(session)) + timedelta(seconds=wait_seconds)
    _write(session, chore, {**_LET_GO, "state": "waiting", "not_before": due, "attempts": Chore.attempts - 1})


def finish(session: Session, chore: Chore, now: datetime) -> None:
    """End a chore that is done."""
    _write(session, chore, {**_LET_GO, "state": "done", "error": None})


def again(session: Session, chore: Chore, wait_seconds: float, error: dict[str, Any] | None = None, *,
          now: datetime | None = None) -> None:
    """Put a chore back, to be taken again after a while. Without an `error` it only waits: its attempts are counted afresh."""
    now = now or database_now(session)
    waited = {} if error is not None else {"attempts": 0}
    told = {"state": "waiting", "not_before": now + timedelta(seconds=wait_seconds), "error": error}
    _write(session, chore, {**_LET_GO, **told, **waited})


def fail(session: Session, chore: Chore, now: datetime, error: dict[str, Any] | None = None) -> None:
    """End a chore that is tried no more."""
    _write(session, chore, {**_LET_GO, "state": "failed", "error": error})


def forget_ended(session: Session, *, before: datetime) -> None:
    """Drop rows of chores that were asked for long ago and ended."""
    session.execute(delete(Chore).where(Chore.state.not_in(OPEN), Chore.created_at < before))


_LET_GO: dict[str, Any] = {"holder": None, "lease_until": None}


def _reopened(not_before: datetime) -> dict[str, Any]:
    return {**_LET_GO, "state": "waiting", "attempts": 0, "not_before": not_before, "error": None}


def _write(session: Session, chore: Chore, values: dict[str, Any]) -> None:
    """Change a chore under its fence; raise LeaseLost when someone claimed or reopened it meanwhile."""
    mine = (Chore.id == chore.id, Chore.fence == chore.fence, Chore.state == "held")
    changed = session.execute(update(Chore).where(*mine).values(**values).returning(Chore.id),
                              execution_options={"synchronize_session": False}).first()
    if changed is None:
        raise LeaseLost(f"chore {chore.id} ({chore.kind} {chore.subject}) is not held under fence {chore.fence} any more; "
                        "leave it to its new holder")

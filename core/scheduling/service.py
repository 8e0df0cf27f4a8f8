"""The policy on the ledger: what to start next, what is blocked, who makes room.

Decisions are made one after another, whoever makes them: on SQLite a writing transaction is alone, on PostgreSQL an advisory
lock is held to its end. It is the first lock that a decision takes, before any row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from core.events.service import append_message
from core.jobs.models import Job
from core.jobs.repository import lock_job
from core.quotas.claiming import NOBODY, Barred, barred_by
from core.quotas.limits import NO_RULES, Rules
from core.quotas.standing import read_standing
from core.scheduling.choosing import Blocked, Choice, choose
from core.scheduling.order import Waiting, in_turn
from core.scheduling.order import order_queue as order
from core.scheduling.policy import DEFAULT, Policy
from core.scheduling.preemption import Room, plan_room
from core.scheduling.reading import (
    Asking,
    Limits,
    read_cluster,
    read_queue,
    read_queues,
    read_running,
    read_shares,
)

LOCK = 0x48_65_61_64  # any number that nothing else locks
"""Key of the advisory lock on PostgreSQL."""


def one_at_a_time(session: Session) -> None:
    """Wait until no other decision is being made; held until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def choose_next(session: Session, asking: Asking, *, now: datetime, policy: Policy = DEFAULT, barred: Barred = NOBODY,
                without: frozenset[str] = frozenset()) -> Choice:
    """Choose what the asking worker starts now; jobs in `without`, and of those who are `barred`, are left out."""
    running = read_running(session, now=now)
    cluster = read_cluster(session, running, now=now, asking=asking)
    host = cluster.hosts[asking.host]
    queues = read_queues(session, now=now, ever=Limits.of(host.slots), soon=Limits.of(host.free), barred=barred,
                         without=without)
    shares = read_shares(session, list(running.values()), now=now, policy=policy)
    return choose(in_turn(queues, shares, now=now, policy=policy), cluster, asking.host, now=now, policy=policy)


def note_blocked(session: Session, blocked: Sequence[Blocked], *, now: datetime) -> None:
    """Note since when jobs are blocked, where room is kept for them, and the start that was foreseen first."""
    for place in blocked:
        told = {"blocked_at": func.coalesce(Job.blocked_at, now), "held_host": place.host,
                "promised_at": func.coalesce(Job.promised_at, place.promised_at)}
        session.execute(update(Job).where(Job.id == place.job.id, Job.state == "queued").values(**told),
                        execution_options={"synchronize_session": False})


def preempt(session: Session, *, now: datetime, policy: Policy = DEFAULT, rules: Rules = NO_RULES) -> list[str]:
    """Tell runs to make room for jobs of higher priority that cannot start; give the jobs that are to wait again. Nobody makes
    room for a job that a quota keeps, or that fits no host.

    Safe to call at any moment: a run that was told is not told again, and what has room needs nobody."""
    one_at_a_time(session)
    running = read_running(session, now=now)
    cluster = read_cluster(session, running, now=now)
    shares = read_shares(session, list(running.values()), now=now, policy=policy)
    standing = read_standing(session, rules=rules, now=now)
    fits = Limits.of(*(host.slots for host in cluster.hosts.values()))
    queues = read_queues(session, now=now, ever=fits, soon=fits, barred=barred_by(standing))
    rooms = plan_room(in_turn(queues, shares, now=now, policy=policy), cluster, standing, now=now, policy=policy)
    return [running[run_id].job_id for room in rooms for run_id in room.run_ids if _tell(session, room, run_id, now=now)]


def order_queue(session: Session, *, now: datetime, policy: Policy = DEFAULT) -> list[Waiting]:
    """The whole queue in the order of its turns: what is due, of all projects."""
    running = read_running(session, now=now)
    shares = read_shares(session, list(running.values()), now=now, policy=policy)
    return order(read_queue(session, now=now), shares, now=now, policy=policy)


def is_any_higher(session: Session) -> bool:
    """Whether a job waits whose priority is higher than that of one that runs: two seeks in an index."""
    highest = session.scalar(select(func.max(Job.priority)).where(Job.state == "queued"))
    lowest = session.scalar(select(func.min(Job.priority)).where(Job.state == "running"))
    return highest is not None and lowest is not None and highest > lowest


def _tell(session: Session, room: Room, run_id: str, *, now: datetime) -> bool:
    """Mark a run's job, unless it has ended or hears something else already."""
    job = session.scalar(select(Job.id).where(Job.run_id == run_id, Job.state == "running"))
    found = lock_job(session, job) if job is not None else None
    if found is None or found.run_id != run_id or found.state != "running" or found.wanted is not None:
        return False
    found.wanted = "preempt"
    append_message(session, found, code="run.preempting", now=now, data={"run_id": run_id, "for_priority": room.job.priority},
                   message=f"A job of priority {room.job.priority} needs the devices; the run saves its step and makes room")
    note_blocked(session, [Blocked(room.job, room.host, None)], now=now)
    return True


__all__ = ["choose_next", "is_any_higher", "note_blocked", "one_at_a_time", "order_queue", "preempt"]

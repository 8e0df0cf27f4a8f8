"""The forecast of the whole queue as the ledger stands: read, play forward, give times.

Reads are of the queue's columns alone, so that thousands of waiting jobs cost milliseconds; what is far behind is not played.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.devices.models import Device
from core.forecast.durations import Speed, by_itself, by_speed
from core.forecast.play import Host, Running, Waiting, play
from core.forecast.speeds import Speeds, read_speeds
from core.jobs.estimate import FORESEEN_SECONDS, seconds_left
from core.jobs.models import Job, Run
from core.quotas.limits import Rules, period_at
from core.quotas.standing import read_standing
from core.scheduling.cluster import Slot
from core.workers.models import Worker
from core.workers.service import takes_jobs


@dataclass(frozen=True)
class Foreseen:
    """A job's start and end; None where nobody can tell."""

    start_at: datetime | None = None
    seconds: float | None = None
    """How long it would then hold its devices."""

    @property
    def finish_at(self) -> datetime | None:
        return None if self.start_at is None or self.seconds is None else self.start_at + timedelta(seconds=self.seconds)


NOTHING = Foreseen()


def foresee(session: Session, queue: Sequence[Job], hosts: Sequence[Host], *, rules: Rules, now: datetime
            ) -> dict[str, Foreseen]:
    """Foresee the jobs of the queue, which stand in the order in which they are claimed."""
    speeds = read_speeds(session)
    by_id = {job.id: job for job in queue}
    kinds = {host.kind for host in hosts}
    period = period_at(now, rules.period)

    def durations(waiting: Waiting, host: Host) -> float | None:
        return seconds_of(by_id[waiting.id], speeds, host.kind)

    starts = play(hosts, running(session, speeds, now=now), [waiting_of(job, now) for job in queue], durations=durations,
                  standing=read_standing(session, rules=rules, now=now), period_seconds=(period.ends_at - now).total_seconds())
    told = {job_id: Foreseen(now + timedelta(seconds=start.seconds), start.duration) for job_id, start in starts.items()
            if start.seconds <= FORESEEN_SECONDS}
    kind = next(iter(kinds)) if len(kinds) == 1 else None
    return {job.id: told.get(job.id) or Foreseen(None, seconds_of(job, speeds, kind) if kind else None) for job in queue}


def hosts_of(session: Session, *, now: datetime) -> list[Host]:
    """Hosts with a train worker that takes jobs, and what they compute on."""
    counts = Counter(session.scalars(select(Worker.host).where(takes_jobs(now))))
    devices: dict[str, list[Device]] = {}
    for device in session.scalars(select(Device).where(Device.host.in_(list(counts))).order_by(Device.host, Device.ordinal)):
        devices.setdefault(device.host, []).append(device)
    return [Host(name, devices[name][0].name, tuple(_slot(device) for device in devices[name]), count)
            for name, count in sorted(counts.items()) if name in devices]


def running(session: Session, speeds: Speeds, *, now: datetime) -> list[Running]:
    """What runs hold, and for how long yet."""
    held: dict[str, list[str]] = {}
    for run_id, device_id in session.execute(select(Device.run_id, Device.id).where(Device.run_id.is_not(None))):
        held.setdefault(run_id or "", []).append(device_id)
    kinds = dict(session.execute(select(Device.host, Device.name)).all())
    query = select(Job, Run).join(Run, Run.id == Job.run_id).where(Run.state == "holding")
    return [Running(run.host, tuple(held.get(run.id, ())),
                    _ends_in(job, run, speeds.of(model_of(job), kinds.get(run.host, ""), job.devices), now),
                    job.project_id, job.key_id) for job, run in session.execute(query)]


def seconds_of(job: Job, speeds: Speeds, kind: str) -> float | None:
    """How long a job that waits would hold devices of a kind; None where nobody can tell."""
    speed = speeds.of(model_of(job), kind, job.devices)
    own = by_itself(seconds_left(job), speed)
    seconds = own if own is not None else by_speed(job.resolved, speed)
    return seconds if seconds is not None and seconds <= FORESEEN_SECONDS else None


def waiting_of(job: Job, now: datetime) -> Waiting:
    wait = (job.not_before - now).total_seconds() if job.not_before is not None else 0.0
    return Waiting(job.id, job.project_id, job.key_id, job.devices, job.memory_bytes or 0, max(0.0, wait),
                   job.started_at is not None)


def _slot(device: Device) -> Slot:
    return Slot(device.id, device.kind, device.memory_bytes, device.run_id)


def _ends_in(job: Job, run: Run, speed: Speed | None, now: datetime) -> float | None:
    """Seconds until a run ends: by its own steps, or before the first by its kind's, less what has passed."""
    has_stepped = ((job.progress or {}).get("pace") or {}).get("run_id") == run.id
    whole = seconds_left(job)
    if has_stepped and whole is not None:
        passed = now.timestamp() - job.progress["pace"]["ended_at"]  # pyright: ignore[reportOptionalSubscript]
    else:
        whole, passed = by_itself(whole, speed) or by_speed(job.resolved, speed), (now - run.started_at).total_seconds()
    return None if whole is None else max(0.0, whole - passed)


def model_of(job: Job) -> str:
    return (job.resolved or {}).get("base_model") or job.model


__all__ = ["NOTHING", "Foreseen", "foresee", "hosts_of", "running", "seconds_of", "waiting_of"]

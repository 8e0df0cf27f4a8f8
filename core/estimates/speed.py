"""How fast a base model was trained here before: tokens a second, by the kind of device, from the figures of past jobs.

Nothing is predicted for a device on which the model was never trained: a guess would look like a measurement.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from core.devices.models import Device
from core.jobs.models import Job, Run

LOOKED_AT = 100
LEAST_STEPS = 3
"""Steps before a job's figures count: the first ones load and compile."""


@dataclass(frozen=True)
class Speed:
    tokens_per_second: float
    """Median over jobs, each of which tells its newest steps' average."""
    jobs: int


Speeds = dict[tuple[str, str], Speed]
"""By kind and name of the device."""


def measured(session: Session, base_model: str, *, devices: int) -> Speeds:
    """Look at the newest jobs on the model that trained on so many devices."""
    of_it = (Job.resolved["base_model"].as_string() == base_model, Job.devices == devices, Job.step >= LEAST_STEPS)
    query = select(Job.progress, Run.host).join(Run, and_(Run.job_id == Job.id, Run.attempt == Job.attempts)).where(*of_it)
    names = _names(session)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for progress, host in session.execute(query.order_by(Job.created_at.desc()).limit(LOOKED_AT)):
        kind, speed = str((progress or {}).get("device")), (progress or {}).get("tokens_per_second")
        if speed and (host, kind) in names:
            found[kind, names[host, kind]].append(speed)
    return {device: Speed(median(speeds), len(speeds)) for device, speeds in found.items()}


def _names(session: Session) -> dict[tuple[str, str], str]:
    """What the devices of a kind are on each host; left out where they differ, since a job does not tell which it had."""
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for host, kind, name in session.execute(select(Device.host, Device.kind, Device.name)):
        names[host, kind].add(name)
    return {at: next(iter(found)) for at, found in names.items() if len(found) == 1}

"""The mixture as it is planned at submit: entries of the log from the start."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from core.data.mixture import turns_of
from core.data.spec import MixtureEntry
from core.errors import DataError, InvalidValue, shown
from core.jobs.models import Job
from core.jobs.sources import find_source, first_weights, named_sources
from core.specs.job import ScheduledWeights
from core.steering.log import Asked, Change, entries
from core.steering.models import MixtureChange


def plan_mixture(session: Session, job: Job, schedule: Sequence[ScheduledWeights], *, now: datetime) -> None:
    """Write a submit's schedule into the log; raise InvalidValue for a name that is no source, or weights that do not mix."""
    changes = _changes(job, schedule)
    check_mixture(entries(first_weights(job), changes), param="mixture_schedule" if schedule else "datasets")
    session.add_all([MixtureChange(job_id=job.id, number=each.number, state="held", from_step=each.from_step,
                                   body=each.asked.to_json(), created_at=now, held_at=now) for each in changes])
    session.flush()


def planned_log(job: Job, schedule: Sequence[ScheduledWeights]) -> tuple[MixtureEntry, ...]:
    """The log that a submit would begin with; raises as `plan_mixture` does."""
    log = entries(first_weights(job), _changes(job, schedule))
    check_mixture(log, param="mixture_schedule" if schedule else "datasets")
    return log


def _changes(job: Job, schedule: Sequence[ScheduledWeights]) -> list[Change]:
    return [Change(number, entry.from_step, Asked({source_number(job, name, param=f"mixture_schedule.{number - 1}.weights"):
                                                   weight for name, weight in entry.weights.items()}))
            for number, entry in enumerate(schedule, 1)]


def source_number(job: Job, named: str, *, param: str) -> int:
    """Give a source's number by its name or its data set's id; raise InvalidValue, with the names, where there is none."""
    number = find_source(job, named)
    if number is None:
        names = ", ".join(shown(source["name"]) for source in named_sources(job)[:8])
        raise InvalidValue(f"{param} names {shown(named)}, which is no source of the job; its sources are {names}", param=param)
    return number


def check_mixture(log: Sequence[MixtureEntry], *, param: str) -> None:
    """Raise InvalidValue for a log whose weights make no mixture at some step."""
    try:
        turns_of(log)
    except DataError as error:
        at = next((entry.from_step for entry in log if not any(entry.weights)), None)
        where = f" from step {at:,} on" if at else ""
        raise InvalidValue(f"the weights make no mixture{where}: {error.message}", param=param) from None

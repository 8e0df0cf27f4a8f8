"""What a project, or one key of it, may use at most. Pure: numbers and calendars.

| Limit | Counts | Where it is met |
| --- | --- | --- |
| `running_jobs` | jobs that a run holds | the queue: further jobs wait |
| `queued_jobs` | jobs that are submitted and that no run holds, paused ones too | the submit is refused |
| `device_seconds` | seconds × devices that runs held in this period | the submit is refused; what never ran waits |
| `stored_bytes` | bytes of files and checkpoints | the upload, and the submit, is refused |

A run is never ended for a quota, and a job that has begun goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from core.errors import InvalidValue, shown
from core.settings import Settings

Name = Literal["running_jobs", "queued_jobs", "device_seconds", "stored_bytes"]
PeriodName = Literal["day", "week", "month"]
MOST = 2**53
"""Larger numbers are no limits, and JSON readers lose their digits."""


@dataclass(frozen=True)
class Limits:
    """None means no limit."""

    running_jobs: int | None = None
    queued_jobs: int | None = None
    device_seconds: int | None = None
    stored_bytes: int | None = None

    def changed(self, own: Mapping[str, Any]) -> Limits:
        """These limits, but for those that `own` names; null there takes a limit away."""
        return Limits(**{**vars(self), **own})


NAMES: tuple[Name, ...] = tuple(field.name for field in fields(Limits))  # pyright: ignore[reportAssignmentType]
NO_LIMITS = Limits()


@dataclass(frozen=True)
class Rules:
    """What the operator's settings say: the limits of a project that has none of its own, and how long a period is."""

    defaults: Limits = NO_LIMITS
    period: PeriodName = "month"

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        return cls(Limits(settings.max_running_jobs or None, settings.max_queued_jobs, settings.max_device_seconds or None,
                          settings.max_stored_bytes or None), settings.quota_period)


NO_RULES = Rules()


@dataclass(frozen=True)
class Period:
    """A day, a week from Monday, or a month, in UTC."""

    name: PeriodName
    started_at: datetime
    ends_at: datetime


def period_at(moment: datetime, name: PeriodName) -> Period:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if name == "day":
        return Period(name, day, day + timedelta(days=1))
    if name == "week":
        monday = day - timedelta(days=day.weekday())
        return Period(name, monday, monday + timedelta(days=7))
    first = day.replace(day=1)
    return Period(name, first, (first + timedelta(days=32)).replace(day=1))


def read_limits(told: Mapping[str, Any]) -> dict[str, int | None]:
    """Check limits as an operator gives them, by name; raise InvalidValue for a name or a number that makes none."""
    for name, value in told.items():
        if name not in NAMES:
            raise InvalidValue(f"there is no quota {shown(name)}; quotas are {', '.join(NAMES)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST):
            raise InvalidValue(f"quota {name} is {shown(value)}; a whole number from 0 on, or none, was expected")
    return dict(told)

"""Quotas at the claim of a job: whose jobs may not start now.

Decisions are made one after another (`core/scheduling/service.py`), so what one counts behind that lock no other changes before
it commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from core.quotas.limits import Rules
from core.quotas.standing import Standing, read_standing


@dataclass(frozen=True)
class Barred:
    """Projects and keys, by their ids, whose jobs may not start now, whatever is free."""

    all: frozenset[str] = frozenset()
    """None of their jobs."""
    fresh: frozenset[str] = frozenset()
    """None of their jobs that no run has begun yet."""


NOBODY = Barred()


def read_barred(session: Session, *, rules: Rules, now: datetime) -> Barred:
    return barred_by(read_standing(session, rules=rules, now=now))


def barred_by(standing: Standing) -> Barred:
    """Who runs as many jobs as it may, and who has no device-seconds left for jobs that have not begun."""
    return Barred(all=frozenset(standing.full()), fresh=frozenset(standing.spent()))

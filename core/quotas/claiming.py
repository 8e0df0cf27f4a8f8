"""Quotas at the claim of a job: whose jobs may not start now.

Decisions are made one after another (`core/scheduling/service.py`), so what one counts behind that lock no other changes before
it commits.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.quotas.limits import Rules
from core.quotas.standing import read_standing
from core.scheduling.reading import Barred


def read_barred(session: Session, *, rules: Rules, now: datetime) -> Barred:
    """Who runs as many jobs as it may, and who has no device-seconds left for jobs that have not begun."""
    standing = read_standing(session, rules=rules, now=now)
    return Barred(all=frozenset(standing.full()), fresh=frozenset(standing.spent()))

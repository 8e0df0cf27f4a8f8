"""Quotas at the claim of a job: whose jobs may not start now.

Claims are made one after another (`core/scheduling/service.py`), so what one counts no other changes before it commits.
"""

from __future__ import annotations

from core.quotas.standing import Standing
from core.scheduling.reading import Barred


def barred_by(standing: Standing) -> Barred:
    """Who runs as many jobs as it may, and who has no device-seconds left for jobs that have not begun."""
    return Barred(all=frozenset(standing.full()), fresh=frozenset(standing.spent()))

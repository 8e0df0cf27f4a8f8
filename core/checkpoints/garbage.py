"""Folders of checkpoints that no row names, and that none ever will: what a run wrote, or uploaded, that was cut off or had
lost its lease.

A checkpoint exists when its row does, and a row is made by a run that holds its job. So of a run that ended, what has no row is
garbage; it is left alone for an hour, which is more than anyone still takes who verifies or downloads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.jobs.models import Run

LEFT_AFTER = timedelta(hours=1)
PART = "/checkpoints/"


def unnamed(session: Session, keys: Sequence[str], *, now: datetime) -> list[str]:
    """Of the folders that a storage holds (keys, a few hundred at most), those that are garbage."""
    named = set(session.scalars(select(Checkpoint.folder_key).where(Checkpoint.folder_key.in_(keys))))
    runs = {key.partition(PART)[0] for key in keys}
    ended = set(session.scalars(select(Run.folder_key).where(
        Run.folder_key.in_(runs), Run.state == "ended", Run.ended_at < now - LEFT_AFTER)))
    return [key for key in keys if key not in named and key.partition(PART)[0] in ended]

"""Bytes of checkpoints that exist no more: removed first, their rows after them.

So a kill in between, or a store out of reach, leaves a row that says what is still to be removed. Whoever dropped it removes
it at once; upkeep looks for what was left.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, select
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.checkpoints.repository import is_unfreed
from core.db.session import Ledger
from core.logs import get_log
from core.storage.artifacts import Artifacts

log = get_log(__name__)

LEFT_AFTER = timedelta(minutes=10)
"""Whoever dropped a checkpoint so long ago is not about to remove it."""


def free(ledger: Ledger, artifacts: Artifacts, keys: Iterable[str]) -> None:
    """Remove the bytes under keys that `prune` or `drop` gave, then their rows. What fails is left to upkeep, and logged."""
    for key in keys:
        try:
            artifacts.delete(key)
            with ledger.write() as session:
                session.execute(delete(Checkpoint).where(Checkpoint.folder_key == key, Checkpoint.deleted_at.is_not(None)))
        except Exception as error:
            log.warning("checkpoint.unfreed", key=key, cause=str(error))


def left_behind(session: Session, *, now: datetime) -> list[str]:
    """Keys of checkpoints that were dropped a while ago and whose bytes nobody removed."""
    live = select(Checkpoint.folder_key).where(Checkpoint.deleted_at.is_(None))
    is_left = and_(is_unfreed(), Checkpoint.deleted_at < now - LEFT_AFTER, Checkpoint.folder_key.not_in(live))
    query = select(Checkpoint.folder_key).where(is_left)
    return list(session.scalars(query.distinct()))

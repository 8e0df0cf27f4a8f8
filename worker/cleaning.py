"""The rounds that drop what has had its time: expired files, old rows, what deletions and kills left in storage.

Each may run at any moment and twice: it looks at what is there, and takes nothing that a row still names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, delete, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.batches import batches
from core.checkpoints.freeing import free, left_behind
from core.checkpoints.garbage import unnamed as unnamed_checkpoints
from core.chores import service as chores
from core.chores.kinds import PURGES
from core.clock import Clock
from core.datasets.garbage import unnamed as unnamed_indexes
from core.db.session import Ledger
from core.files import service as files
from core.files.models import StoredFile
from core.forecast.speeds import forget_speeds
from core.jobs.models import IdempotencyKey, Run
from core.jobs.service import KEY_LIFE
from core.logs import get_log
from core.projects.usage import forget_use
from core.storage.artifacts import Artifacts, is_older, remove
from core.webhooks import outbox as webhooks
from core.workers import service as workers
from core.workers.equipment import forget_unfound
from worker.rounds import After, Round

log = get_log(__name__)

EXPIRY_SECONDS = 15.0
"""A file is gone so soon after its time."""
CLEAN_SECONDS = 600.0
FIRST_SECONDS = 60.0
DEBRIS_AGE = timedelta(days=1)
"""What no row names and nobody touched for so long has no writer any more."""
AT_ONCE = 500
"""Names that the ledger is asked about in one go: what lies in storage is never held in memory as a whole."""
OLD_ROWS = timedelta(days=7)
"""Of workers that stopped, chores that ended, and webhooks that were told."""
OLD_USE = timedelta(days=400)
"""Longer than any period of a quota."""


def rounds_of(ledger: Ledger, artifacts: Artifacts, clock: Clock) -> list[Round]:
    """All that upkeep does by the clock, beside the chores that rows ask for."""
    def cleaning(name: str, work: Callable[[Session], After | None]) -> Round:
        return Round(name, CLEAN_SECONDS, work, FIRST_SECONDS)

    return [
        Round("expired_files", EXPIRY_SECONDS, lambda session: _expire(session, clock())),
        cleaning("old_rows", lambda session: _forget(session, clock())),
        cleaning("dropped_checkpoints", lambda session: partial(_free_dropped, ledger, artifacts, clock())),
        cleaning("debris", lambda session: partial(_drop_debris, ledger, artifacts, clock())),
    ]


def _expire(session: Session, now: datetime) -> None:
    for file_id in files.expire_files(session, now=now, limit=1000):
        log.info("file.expired", file_id=file_id)


def _forget(session: Session, now: datetime) -> None:
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now - KEY_LIFE))
    workers.forget_stopped(session, before=now - OLD_ROWS)
    forget_unfound(session, now=now)
    chores.retry_failed(session, PURGES)  # before they would be forgotten
    chores.forget_ended(session, before=now - OLD_ROWS)
    forget_speeds(session, now=now)
    webhooks.forget_ended(session, before=now - OLD_ROWS)
    forget_use(session, before=now - OLD_USE)


def _free_dropped(ledger: Ledger, artifacts: Artifacts, now: datetime) -> None:
    """What is held is listed before the ledger is asked, so that nothing which came in between is taken for nobody's."""
    with ledger.read() as session:
        dropped = left_behind(session, now=now)
    free(ledger, artifacts, dropped)
    for held in batches(artifacts.iter_checkpoints(), AT_ONCE):
        with ledger.read() as session:
            garbage = unnamed_checkpoints(session, held, now=now)
        free(ledger, artifacts, garbage)


def _drop_debris(ledger: Ledger, artifacts: Artifacts, now: datetime) -> None:
    """Drop what a kill leaves and nobody will ever ask for: folders of runs that the ledger does not know, bytes of uploads
    that have no row, or one that says that they are gone, indexes and frames that no shard names.

    The storage is looked at outside of any transaction, since that may take a while."""
    artifacts.tidy()
    before, root = now - DEBRIS_AGE, artifacts.root
    runs = (path.relative_to(root).as_posix() for path in root.glob("jobs/*/runs/*") if is_older(path, before))
    _drop(ledger, runs, partial(_unnamed, Run.folder_key, true()), lambda key: remove(root / key))
    unnamed_files = partial(_unnamed, StoredFile.storage_key, StoredFile.purged_at.is_(None))
    for folder, garbage_of in (("files", unnamed_files), ("indexes", unnamed_indexes), ("frames", unnamed_indexes)):
        _drop(ledger, artifacts.iter_untouched(folder, before=before), garbage_of, artifacts.delete)


def _drop(ledger: Ledger, found: Iterator[str], garbage_of: Callable[[Session, Sequence[str]], list[str]],
          drop: Callable[[str], None]) -> None:
    for keys in batches(found, AT_ONCE):
        with ledger.read() as session:
            garbage = garbage_of(session, keys)
        for key in garbage:
            log.info("storage.dropped", path=key)
            drop(key)


def _unnamed(name: InstrumentedAttribute[str], counts: ColumnElement[bool], session: Session, keys: Sequence[str]) -> list[str]:
    """Those of the keys that no row names that counts."""
    named = set(session.scalars(select(name).where(name.in_(keys), counts)))
    return [key for key in keys if key not in named]

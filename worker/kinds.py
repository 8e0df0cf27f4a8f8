"""The kinds of chores: how each is done, and how its subject hears that it is given up."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.kinds import INDEX_VERSION, PREPARE_JOB, PURGE_DATASET, PURGE_FILE
from core.chores.models import Chore
from core.datasets import purging
from core.datasets.sources import fetch_indexes
from core.files import service as files
from core.jobs import preparation
from core.jobs.models import Job
from core.jobs.moves import move
from core.jobs.repository import lock_job
from core.steering.repository import versions_of
from worker.indexing import give_up_index, index_version
from worker.upkeep import Desk, Work

WAIT_SECONDS = 60.0
"""A job whose data is being indexed is looked at again by then; the end of the indexing wakes it at once."""


def prepare_job(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
    """Bring a job to queued, in one transaction with the end of the chore; then wake the train workers."""
    with desk.ledger.read() as session:
        job = session.get(Job, chore.subject)
        versions = list(versions_of(session, job).values()) if job is not None else []
    fetch_indexes(versions, desk.artifacts)
    with desk.ledger.write() as session:
        prepared = preparation.prepare(session, chore.subject, artifacts=desk.artifacts, now=desk.clock())
        if prepared == "waiting":
            chores.again(session, chore, WAIT_SECONDS)
        else:
            chores.finish(session, chore, desk.clock())
    if prepared == "queued":
        desk.wake()
    if prepared != "waiting":
        desk.ring(chore.subject)


def give_up_prepare(desk: Desk, session: Session, chore: Chore, cause: dict[str, Any]) -> None:
    """Fail the job in words, unless it moved on meanwhile."""
    job = lock_job(session, chore.subject)
    if job is not None and job.state == "validating_files":
        error = {"code": cause["code"], "message": f"the job could not be prepared: {cause['message']}", "param": None}
        move(session, job.id, "failed", code="job.failed", level="error", message=f"The job failed: {error['message']}",
             now=desk.clock(), data={"error": error}, error=error)


def purge_file(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
    """Free a deleted file's bytes, or look again later while something needs them."""
    with desk.ledger.write() as session:
        keys = files.purgeable_keys(session, chore.subject, now=desk.clock())
    _free(desk, chore, keys)


def purge_dataset(desk: Desk, chore: Chore, must_stop: threading.Event) -> None:
    """Free the indexes and frames of a deleted data set, or look again later while something needs them."""
    with desk.ledger.write() as session:
        keys = purging.purgeable_keys(session, chore.subject)
    _free(desk, chore, keys)


def _free(desk: Desk, chore: Chore, keys: list[str] | None) -> None:
    """Delete what lies under the keys, then end the chore: a kill in between deletes nothing twice and forgets nothing."""
    for key in keys or ():
        desk.artifacts.delete(key)
    with desk.ledger.write() as session:
        if keys is None:
            chores.again(session, chore, WAIT_SECONDS)
        else:
            chores.finish(session, chore, desk.clock())


def give_up_purge(desk: Desk, session: Session, chore: Chore, cause: dict[str, Any]) -> None:
    """The bytes stay for now, and the chore's row says why; a round of upkeep asks for them again (worker/cleaning.py)."""


KINDS: dict[str, Work] = {
    INDEX_VERSION: Work(index_version, give_up_index, is_long=True),
    PREPARE_JOB: Work(prepare_job, give_up_prepare),
    PURGE_FILE: Work(purge_file, give_up_purge),
    PURGE_DATASET: Work(purge_dataset, give_up_purge),
}

__all__ = ["KINDS"]

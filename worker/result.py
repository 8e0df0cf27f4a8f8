"""Settling a run: the result file first, then one transaction that ends the run and moves its job.

A run that finished leaves a CSV of its steps as a file of the project. Its bytes are published before its row exists, so a
kill in between leaves bytes without a row, and no row without bytes.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from core.checkpoints import service as checkpoints
from core.checkpoints.freeing import free
from core.db.session import Ledger
from core.files import service as files
from core.files.freeing import free_unrecorded
from core.jobs import claims
from core.jobs.models import Run
from core.jobs.results import result_csv, result_name
from core.scheduling.policy import DEFAULT, Policy
from core.storage.artifacts import Artifacts, file_key
from worker.outcome import Outcome, told

PURPOSE = "fine-tune-results"


def settle(ledger: Ledger, artifacts: Artifacts, run: Run, outcome: Outcome, *, file_id: str, keep_recovery: int, now: datetime,
           policy: Policy = DEFAULT) -> None:
    """End a run whose child is dead; the job's newest `keep_recovery` recovery points stay. Raise LeaseLost when it was ended
    by another. Safe to repeat with the same `file_id`."""
    outcome = checked(ledger, run, outcome)
    written = write_result(ledger, artifacts, run.job_id, file_id) if outcome.kind == "succeeded" else None
    try:
        with ledger.write() as session:
            job, _ = claims.hold(session, run.id, run.fence)
            if written is not None:
                files.record_file(session, project_id=job.project_id, file_id=file_id, filename=result_name(job.id),
                                  purpose=PURPOSE, bytes=written[0], sha256=written[1], storage_key=file_key(file_id), now=now,
                                  key_id=job.key_id)
            job = claims.settle(session, run.id, run.fence, outcome.kind, failure=outcome.failure, error=outcome.error,
                                result_file_id=file_id if written is not None else None, policy=policy)
            dropped = checkpoints.prune(session, job, keep=keep_recovery, now=now)
    except Exception:
        if written is not None:
            free_unrecorded(ledger, artifacts, file_id)
        raise
    free(ledger, artifacts, dropped)


def checked(ledger: Ledger, run: Run, outcome: Outcome) -> Outcome:
    """A run that says it finished and left no final checkpoint did not."""
    if outcome.kind != "succeeded":
        return outcome
    with ledger.read() as session:
        if checkpoints.final_of(session, run.job_id) is not None:
            return outcome
    return Outcome("interrupted", told("run_interrupted", "the training process finished without a final checkpoint"))


def write_result(ledger: Ledger, artifacts: Artifacts, job_id: str, file_id: str) -> tuple[int, str]:
    """Publish the CSV of a job's steps; give its size and SHA-256."""
    path, digest, size = artifacts.new_temporary(), hashlib.sha256(), 0
    with ledger.read() as session, path.open("wb") as out:
        for line in result_csv(session, job_id):
            out.write(line)
            digest.update(line)
            size += len(line)
    artifacts.publish(path, file_key(file_id))
    return size, digest.hexdigest()

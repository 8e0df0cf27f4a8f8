"""Checks over the whole history of a server that was killed in parts: from its ledger, its storage and the children's traces.

Nothing here is asked of the server. Every fault is told in words; the counts are of jobs, runs, steps or checkpoints at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bench.soak.trainer import WEIGHTS
from bench.soak.twins import Twin
from core.checkpoints.models import Checkpoint
from core.db.session import Ledger
from core.errors import HeadraceError
from core.events.models import Event
from core.jobs.models import Job, Run
from core.models.models import Model
from core.specs.run import RunSpec
from core.storage import manifest
from core.storage.artifacts import Artifacts

Undisturbed = Callable[[RunSpec], Twin]


@dataclass
class Findings:
    """What was found; all zeros but `jobs` and `runs` is what was promised."""

    jobs: int = 0
    runs: int = 0
    jobs_lost: int = 0
    jobs_doubled: int = 0
    runs_overlapping: int = 0
    steps_repeated: int = 0
    adapters_differing: int = 0
    torn_checkpoints_loaded: int = 0
    checkpoints_damaged: int = 0
    """Rows whose files do not agree with their manifest."""
    logs_with_gaps: int = 0
    steps_differing: int = 0
    """Steps that any run of a job, also one whose work was lost, ended with other weights than the undisturbed one."""
    words: list[str] = field(default_factory=list)
    """Each fault, in words."""

    @property
    def is_clean(self) -> bool:
        return not self.words

    def blame(self, count: str, words: str) -> None:
        setattr(self, count, getattr(self, count) + 1)
        self.words.append(f"{count}: {words}")


def check(ledger: Ledger, artifacts: Artifacts, submitted: Sequence[str], *, traces: Path | None, undisturbed: Undisturbed
          ) -> Findings:
    """Check the jobs of these ids, which a client was told, and that there are no others."""
    found = Findings(jobs=len(submitted))
    with ledger.read() as session:
        _check_rows(session, submitted, found)
        for job in session.scalars(select(Job).where(Job.id.in_(submitted))):
            runs = list(session.scalars(select(Run).where(Run.job_id == job.id).order_by(Run.fence)))
            found.runs += len(runs)
            _check_job(session, job, runs, found)
            _check_checkpoints(session, artifacts, job, found)
            if runs and job.state == "succeeded":
                _check_weights(session, artifacts, job, runs[-1], found, traces=traces, undisturbed=undisturbed)
    return found


def _check_rows(session: Session, submitted: Sequence[str], found: Findings) -> None:
    known = set(session.scalars(select(Job.id)))
    for job_id in set(submitted) - known:
        found.blame("jobs_lost", f"job {job_id} was acknowledged and is not in the ledger")
    for job_id in known - set(submitted):
        found.blame("jobs_doubled", f"job {job_id} is in the ledger, and no client was told of it")
    if len(set(submitted)) < len(submitted):
        found.blame("jobs_doubled", "one job was the answer to two submits")
    models = select(Model.job_id, func.count()).where(Model.job_id.is_not(None)).group_by(Model.job_id)
    for job_id, number in session.execute(models):
        if number > 1:
            found.blame("jobs_doubled", f"job {job_id} made {number} models")


def _check_job(session: Session, job: Job, runs: Sequence[Run], found: Findings) -> None:
    if job.state != "succeeded":
        found.blame("jobs_lost", f"job {job.id} is {job.state}: {(job.error or {}).get('message')}")
    if [run.outcome for run in runs].count("succeeded") > 1:
        found.blame("jobs_doubled", f"two runs of job {job.id} succeeded")
    for before, after in pairwise(runs):
        if before.ended_at is None or after.started_at < before.ended_at:
            found.blame("runs_overlapping", f"run {after.id} of job {job.id} began before run {before.id} had ended")
    steps = list(session.scalars(select(Event.step).where(Event.job_id == job.id, Event.step.is_not(None))
                                 .order_by(Event.number)))
    if repeated := len(steps) - len(set(steps)):
        found.steps_repeated += repeated - 1
        found.blame("steps_repeated", f"{repeated} steps of job {job.id} are told twice")
    if job.state == "succeeded" and steps != list(range(1, (job.total_steps or 0) + 1)):
        found.blame("jobs_lost", f"job {job.id} told {len(steps)} steps of {job.total_steps}, or in another order")
    numbers = list(session.scalars(select(Event.number).where(Event.job_id == job.id).order_by(Event.number)))
    if numbers != list(range(1, job.last_event + 1)):
        found.blame("logs_with_gaps", f"the log of job {job.id} has {len(numbers)} entries, the last is {job.last_event}")


def _check_checkpoints(session: Session, artifacts: Artifacts, job: Job, found: Findings) -> None:
    """Every checkpoint that has a row is whole, and none was ever found damaged."""
    for checkpoint in session.scalars(select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.deleted_at.is_(None))):
        try:
            manifest.verify(artifacts.path(checkpoint.folder_key), checkpoint.manifest_digest)
        except (HeadraceError, OSError) as error:
            found.blame("checkpoints_damaged", f"checkpoint of step {checkpoint.step} of job {job.id}: {error}")
    messages = session.scalars(select(Event).where(Event.job_id == job.id, Event.type == "message"))
    for event in messages:
        if (event.data or {}).get("code") == "checkpoint.damaged":
            found.blame("checkpoints_damaged", f"job {job.id} passed one over: {event.message}")


def _check_weights(session: Session, artifacts: Artifacts, job: Job, last: Run, found: Findings, *, traces: Path | None,
                   undisturbed: Undisturbed) -> None:
    twin = undisturbed(RunSpec.model_validate_json((artifacts.path(last.folder_key) / "spec.json").read_bytes()))
    final = session.scalars(select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.kind == "final",
                                                     Checkpoint.deleted_at.is_(None))).all()
    adapters = {(artifacts.path(checkpoint.folder_key) / WEIGHTS).read_bytes() for checkpoint in final}
    if adapters != {twin.adapter}:
        found.blame("adapters_differing", f"job {job.id} has {len(final)} final adapters, not the one of its undisturbed twin")
    if traces is not None:
        _check_trace(traces / f"{job.id}.jsonl", job, twin, found)


def _check_trace(file: Path, job: Job, twin: Twin, found: Findings) -> None:
    """What the children themselves wrote: one run after the other, each from weights that the twin had too."""
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    for before, after in pairwise(_stretches(lines)):
        if after["first"] < before["last"] or after["run"] < before["run"]:
            found.blame("runs_overlapping", f"child of run {after['run']} of job {job.id} began while that of "
                                            f"{before['run']} worked")
    for line in lines:
        if line["digest"] == twin.digests.get(line["step"]):
            continue
        count = "torn_checkpoints_loaded" if line["what"] == "start" else "steps_differing"
        found.blame(count, f"run {line['run']} of job {job.id} had other weights at step {line['step']} ({line['what']})")


def _stretches(lines: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The time from each run's first line to its last, by the first. Stretches that overlap are runs that did."""
    runs: dict[str, dict[str, Any]] = {}
    for line in lines:
        stretch = runs.setdefault(line["run"], {"run": line["run"], "first": line["at"], "last": line["at"]})
        stretch["last"] = max(stretch["last"], line["at"])
    yield from sorted(runs.values(), key=lambda stretch: stretch["first"])

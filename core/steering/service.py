"""Changing a job's mixture while it waits or runs.

A change is asked for by a client, and it holds from a step that nobody has trained on:

| the job | the step from which it holds |
| --- | --- |
| waits (queued, paused) | the one after its last step, at once |
| is held by a run | the one that the run proposes; until the ledger has written it, the change is *pending* |

`place` is the only writer of a step, under the job's row; a run calls it under its fence. What holds never changes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.data.spec import StreamSpec
from core.errors import IllegalMove, LimitReached, RequestError, number_of
from core.events.service import append_message
from core.jobs.models import Job
from core.jobs.repository import get_job, lock_job
from core.jobs.sources import first_weights, named_sources
from core.jobs.states import HELD, is_finished
from core.jobs.stream_spec import build_streams, describe_streams, spec_of
from core.models.models import Model
from core.models.service import resolve_base_of
from core.specs.mixture import MixtureUpdate
from core.steering.asking import count_rows, resolve
from core.steering.log import Asked, Change, Standing, fold
from core.steering.models import MixtureChange
from core.steering.repository import changes_of, first_pending, held_changes, last_asked_step, log_of, next_number, versions_of
from core.steering.schedule import check_mixture
from core.storage.artifacts import Artifacts

MOST_CHANGES = 1000


def ask(session: Session, project_id: str, job_id: str, update: MixtureUpdate, *, created_by: str | None, artifacts: Artifacts,
        now: datetime) -> MixtureChange:
    """Write a change down: held at once where nobody holds the job, pending where a run does.

    Raises IllegalMove for a job that is finished or not yet planned, NotFound and InvalidValue for what the change names and
    what would come of it."""
    get_job(session, project_id, job_id)
    job = lock_job(session, job_id)
    assert job is not None
    _check_state(job)
    _check_room(session, job)
    asked = resolve(session, job, update)
    _standing(session, job, Change(next_number(session, job.id), next_step(session, job), asked))
    if asked.added:
        count_rows(session, job, asked.added, artifacts=artifacts)
    change = MixtureChange(job_id=job.id, number=next_number(session, job.id), state="pending", body=asked.to_json(),
                           created_at=now, created_by=created_by)
    session.add(change)
    session.flush()
    if job.state not in HELD:
        place_pending(session, job, now=now)
    return change


def place_pending(session: Session, job: Job, *, now: datetime) -> None:
    """Let all pending changes hold from the step after the job's last; for a job that trains no step now, its row held."""
    for change in changes_of(session, job.id):
        if change.state == "pending":
            place(session, job, change.number, next_step(session, job), now=now)


def place(session: Session, job: Job, number: int, from_step: int, *, now: datetime) -> MixtureChange:
    """Let a pending change hold from a step, or refuse it when it fits no more; one that is settled stays as it is.

    A run that trains steps anew, which the one before it has told of, proposes one of these: the change waits until they are
    behind it. Call it with the job's row held, by its run's fence if a run holds it, before the step is trained."""
    change = session.get_one(MixtureChange, (job.id, number), populate_existing=True)
    if change.state != "pending":
        return change
    from_step = max(from_step, next_step(session, job))
    try:
        _check_left(job, from_step)
        standing = _standing(session, job, Change(number, from_step, Asked.from_json(change.body)))
    except RequestError as error:
        change.state, change.error = "refused", {"code": error.code, "message": error.message, "param": error.param}
        append_message(session, job, code="mixture.refused", level="warn", now=now, data={"number": number},
                       message=f"Change {number} of the mixture fits no more and is dropped: {error.message}")
    else:
        change.state, change.from_step, change.held_at = "held", from_step, now
        append_message(session, job, code="mixture.changed", now=now, message=_told(job, change, standing),
                       data={"number": number, "from_step": from_step, "weights": shares_of(job, standing)})
    session.flush()
    return change


def next_step(session: Session, job: Job) -> int:
    """The first step that no accepted history holds, and from which no change asked before is still to come: a checkpoint may
    be one step ahead of the log, which tells of that step when it was evaluated, and a change may hold from a step that a
    killed run never reached."""
    saved = select(func.max(Checkpoint.step)).where(Checkpoint.job_id == job.id, Checkpoint.deleted_at.is_(None))
    return max(job.step + 1, (session.scalar(saved) or 0) + 1, last_asked_step(session, job.id))


def training_stream(session: Session, job: Job, *, artifacts: Artifacts, micro_batch_tokens: int = 0) -> StreamSpec:
    """The stream that the job's runs read, with all changes that hold."""
    base = resolve_base_of(session, job).base
    return build_streams(job, versions_of(session, job), log=log_of(session, job), artifacts=artifacts, base=base,
                         micro_batch_tokens=micro_batch_tokens)[0]


def data_stream(session: Session, job: Job, *, artifacts: Artifacts) -> StreamSpec:
    """The same stream for whoever asks which rows it has: the base model may be gone from the list, and the data deleted."""
    return describe_streams(job, versions_of(session, job), log=log_of(session, job), artifacts=artifacts, base=Model())[0]


def standing_at(session: Session, job: Job, step: int) -> Standing:
    """What holds at a step."""
    standings = fold(first_weights(job), held_changes(session, job.id))
    return [standing for standing in standings if standing.entry.from_step <= step][-1]


def shares_of(job: Job, standing: Standing) -> dict[str, float]:
    """The weights of a standing by the sources' names."""
    weights = standing.entry.weights
    return {source["name"]: weights[number] if number < len(weights) else 0.0
            for number, source in enumerate(named_sources(job))}


def _check_state(job: Job) -> None:
    if is_finished(job.state):
        raise IllegalMove(f"job {job.id} is {job.state}; the mixture of an unfinished job can be changed; submit a new one")
    if job.state == "validating_files" or job.resolved is None:
        raise IllegalMove(f"job {job.id} is {job.state}; its mixture can be changed once its plan is made and it is queued")


def _check_room(session: Session, job: Job) -> None:
    if next_number(session, job.id) > MOST_CHANGES:
        raise LimitReached(f"the mixture of job {job.id} was changed {MOST_CHANGES} times, the most that is kept; go on with a "
                           "new job", code="too_many_changes", retry_after_seconds=3600.0)
    _check_left(job, next_step(session, job))


def _check_left(job: Job, from_step: int) -> None:
    if from_step > (job.total_steps or 0):
        raise IllegalMove(f"job {job.id} has done the last of its {number_of(job.total_steps or 0, 'step')}; no step is "
                          "left for a change")


def _standing(session: Session, job: Job, change: Change) -> Standing:
    """How things would stand behind a change; raise InvalidValue when some step would have no source."""
    changes = [*held_changes(session, job.id), change]
    standings = fold(first_weights(job), changes)
    check_mixture([standing.entry for standing in standings], param="weights")
    order = sorted(changes, key=lambda each: (each.from_step, each.number))
    return standings[1 + order.index(change)]


def _told(job: Job, change: MixtureChange, standing: Standing) -> str:
    """Say what becomes different, in words."""
    names = [source["name"] for source in named_sources(job)]
    asked = Asked.from_json(change.body)
    weights = ", ".join(f"{name} {weight:g}" for name, weight in shares_of(job, standing).items() if weight)
    said = [f"From step {change.from_step:,} on the mixture is {weights}"]
    said += [f"{names[source]} is {how}" for how, sources in (("dropped", asked.dropped), ("quarantined", asked.quarantined))
             for source in sources]
    said += [f"{number_of(len(rows), 'row is', 'rows are')} {how}"
             for how, rows in (("quarantined", asked.rows), ("let in again", asked.lifted)) if rows]
    if asked.added and spec_of(job).validation_split:
        said.append("evaluations from there on read its held-out rows too")
    return "; ".join(said)


__all__ = [
    "ask", "changes_of", "data_stream", "first_pending", "log_of", "next_step", "place", "place_pending", "shares_of",
    "standing_at", "training_stream", "versions_of",
]

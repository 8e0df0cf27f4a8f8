"""The estimate of a job before it is submitted: what it trains, what memory it takes, how long it runs, and where it fits.

Arithmetic alone. What is not known stays None, with the reason beside it: rows while their file is still looked at, time on a
device on which the model was never trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.data.spec import SourceSpec
from core.datasets.models import DatasetVersion
from core.datasets.sources import fetch_indexes, source_of
from core.devices.models import Device
from core.estimates.data import Tokens, drawn_rows, tokens_of
from core.estimates.fitting import Fit, Load, Planned, fit_on, groups_of, load_of, plan_on, way_on
from core.estimates.models import shape_of
from core.forecast.durations import Speed
from core.forecast.speeds import read_speeds
from core.jobs.models import Job
from core.jobs.preparation import check_template, check_version, longest_tokens, plan
from core.jobs.service import draft
from core.jobs.sources import named_sources, param_of
from core.jobs.stream_spec import max_length_of, options_of, version_ids
from core.models.models import Model
from core.models.service import resolve_base
from core.specs.job import JobSpec
from core.steering.schedule import planned_log
from core.storage.artifacts import Artifacts
from core.workers import service as workers

SAMPLED_ROWS = 300
"""Rows of each source that are measured in tokens, beside its longest."""

Measure = Callable[[SourceSpec, Model, int], dict[str, Any]]
"""Lengths of a source's rows in a model's tokens, for a `max_length`; told as core/data/preview/lengths.py does."""


@dataclass(frozen=True)
class Drafted:
    """A job that was never submitted."""

    job: Job
    spec: JobSpec
    base: Model


@dataclass(frozen=True)
class Plan:
    """What the data make of it."""

    resolved: dict[str, Any]
    """As a job's: rows, steps, and all that "auto" became."""
    tokens: Tokens


@dataclass(frozen=True)
class Where:
    """A group of devices, whether the job fits there, and how long it would take."""

    fit: Fit
    speed: Speed | None
    seconds: float | None


@dataclass(frozen=True)
class Estimate:
    drafted: Drafted
    load: Load | None
    """None where the sizes of the base model are not known."""
    plan: Plan | None
    places: tuple[Where, ...]
    planned: Planned | None
    """On the first device that it fits on, else on a GPU that has just enough."""
    notes: tuple[str, ...] = field(default=())
    """What is not known and why, and what was assumed."""

    @property
    def best(self) -> Where | None:
        """Where it fits, the soonest done first."""
        fitting = [where for where in self.places if where.fit.reason is None]
        return min(fitting, key=lambda where: float("inf") if where.seconds is None else where.seconds, default=None)


def draft_job(session: Session, project_id: str, spec: JobSpec, *, now: datetime) -> Drafted:
    """Look up what a spec names; raises as a submit does. A file's data set is made, so that it is looked at."""
    base = resolve_base(session, project_id, spec.model).base
    return Drafted(draft(session, project_id, spec, now=now), spec, base)


def versions_of(session: Session, drafted: Drafted) -> dict[str, DatasetVersion]:
    wanted = version_ids(drafted.job)
    query = select(DatasetVersion).where(DatasetVersion.id.in_(wanted)).execution_options(populate_existing=True)
    return {version.id: version for version in session.scalars(query)}


def is_indexing(versions: dict[str, DatasetVersion]) -> bool:
    return any(version.status == "indexing" for version in versions.values())


def plan_of(drafted: Drafted, versions: dict[str, DatasetVersion], *, artifacts: Artifacts, measure: Measure) -> Plan:
    """Count rows and steps from the indexes, and have rows measured; needs no transaction.

    Raises DataError where the data cannot be trained on, as the job would be told."""
    job, base = drafted.job, drafted.base
    for version_id, version in versions.items():
        check_version(job, version, param=param_of(job, version_id))
    check_template(versions, base)
    fetch_indexes(versions.values(), artifacts)
    log = planned_log(job, drafted.spec.mixture_schedule or ())
    resolved = plan(job, versions, log=log, artifacts=artifacts, base=base)
    sources = [source_of(versions[entry["version_id"]], artifacts, name=entry["name"]) for entry in named_sources(job)]
    drawn = drawn_rows(log, rows=[entry["rows"] for entry in job.sources], epochs=resolved["n_epochs"],
                       batch_size=resolved["batch_size"], total_steps=resolved["total_steps"])
    lengths = [measure(source, base, resolved["max_length"]) for source in sources]
    return Plan(resolved, tokens_of(drawn, lengths, overlong=options_of(job).overlong, max_length=resolved["max_length"]))


def estimate(session: Session, drafted: Drafted, versions: dict[str, DatasetVersion], made: Plan | None) -> Estimate:
    """Put it together; without a plan, what depends on the data is bounded or left open."""
    load = _load(drafted, versions, made)
    notes = () if made else (INDEXING,)
    if load is None:
        return Estimate(drafted, None, made, (), None, (*notes, NO_SIZES))
    speeds = read_speeds(session, model=drafted.base.name)
    speed_on = partial(speeds.of, drafted.base.name, devices=load.devices)
    places = _places(session, load, made, speed_on)
    at = next((where.fit.planned for where in places if where.fit.reason is None), None)
    more = () if at else (NOWHERE if places else NO_WORKER,)
    return Estimate(drafted, load, made, places, at or _assumed(load), (*notes, *more))


INDEXING = "the data are still being looked at, so rows, tokens, steps and time are not known yet; ask again in a moment"
NO_SIZES = ("the base model's files do not tell their sizes here, so parameters and memory are not known; add the model again "
            "with `headrace models add`")
NO_WORKER = "no train worker is alive, so the memory is that of a GPU which computes in 16 bits (or as options.precision says)"
NOWHERE = "the job fits on no device that is known; submitted, it waits for a worker that has what it needs"


def _load(drafted: Drafted, versions: dict[str, DatasetVersion], made: Plan | None) -> Load | None:
    """What the plan and the measured rows say; before they are known, what bounds them."""
    shape = shape_of(drafted.base)
    if shape is None:
        return None
    asked = drafted.spec.asked.batch_size
    most = max_length_of(drafted.job, drafted.base)
    longest = made.tokens.longest if made else min(most, longest_tokens(versions.values()) or most)
    batch_size = made.resolved["batch_size"] if made else asked if isinstance(asked, int) else 1
    return load_of(drafted.spec, shape, batch_size=batch_size, longest_tokens=max(1, longest))


def _places(session: Session, load: Load, made: Plan | None, speed_on: Callable[[str], Speed | None]
            ) -> tuple[Where, ...]:
    fits = [fit_on(load, group) for group in groups_of(_known_devices(session))]
    return tuple(Where(fit, speed, _seconds(made, speed)) for fit in fits
                 for speed in [speed_on(fit.group.name)])


def _known_devices(session: Session) -> Sequence[Device]:
    """Devices of the hosts on which a train worker is alive."""
    hosts = {worker.host for worker in workers.alive(session) if worker.queue == "train"}
    query = select(Device).where(Device.host.in_(hosts)).order_by(Device.host, Device.kind.desc(), Device.ordinal)
    return list(session.scalars(query))


def _seconds(made: Plan | None, speed: Speed | None) -> float | None:
    return speed.load_seconds + made.tokens.total / speed.tokens_per_second if made and speed else None


def _assumed(load: Load) -> Planned:
    """On a GPU that has just enough for the least micro-batch that is planned with."""
    way = way_on("cuda", load.precision)
    assert way is not None
    return plan_on(load, way, 0)

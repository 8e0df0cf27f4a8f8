"""What a client asks of a job's mixture, by names → a change, by numbers: checked against the job and its data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy.orm import Session

from core.data.spec import MixtureEntry, RowRef
from core.datasets import service as datasets
from core.errors import DataError, IllegalMove, InvalidValue, shown
from core.jobs.models import Job
from core.jobs.preparation import check_template, check_version
from core.jobs.sources import named_sources
from core.jobs.stream_spec import build_streams
from core.models.service import resolve_base_of
from core.specs.job import WeightedDataset
from core.specs.mixture import MixtureUpdate, Quarantine, QuarantinedRow
from core.steering.log import Asked
from core.steering.repository import changes_of, versions_of
from core.steering.schedule import source_number
from core.storage.artifacts import Artifacts

MOST_QUARANTINED_ROWS = 10_000
MOST_SOURCES = 64


def resolve(session: Session, job: Job, update: MixtureUpdate) -> Asked:
    """Turn names into the numbers of sources; new sources get theirs here, and the job needs them from now on.

    Raises InvalidValue and NotFound for what is named and is not there or does not fit, IllegalMove for rows not yet ready."""
    quarantine = update.quarantine or Quarantine()
    added = {_add(session, job, entry, param=f"add.{n}"): entry.weight for n, entry in enumerate(update.add or [])}
    weights = {source_number(job, name, param="weights"): weight for name, weight in (update.weights or {}).items()}
    dropped = [source_number(job, name, param="drop") for name in update.drop or []]
    out = [source_number(job, name, param="quarantine.sources") for name in quarantine.sources]
    twice = [n for n in {*weights, *dropped, *out, *added} if [*weights, *dropped, *out, *added].count(n) > 1]
    if twice:
        name = named_sources(job)[twice[0]]["name"]
        raise InvalidValue(f"the change names source {shown(name)} twice; give it a weight, drop it or quarantine it",
                           param="weights")
    rows = _refs(job, quarantine.rows, param="quarantine.rows")
    lifted = _refs(job, update.lift.rows if update.lift else (), param="lift.rows")
    _check_rows(session, job, rows)
    _check_lifted(session, job, rows, lifted)
    return Asked({**weights, **added}, tuple(added), tuple(dropped), tuple(out), rows, lifted, update.reason)


def _refs(job: Job, rows: Iterable[QuarantinedRow], *, param: str) -> tuple[RowRef, ...]:
    """Number the rows that are named, each once."""
    return tuple(dict.fromkeys(RowRef(source_number(job, row.source, param=param), row.row) for row in rows))


def _add(session: Session, job: Job, entry: WeightedDataset, *, param: str) -> int:
    dataset, version = datasets.usable_version(session, job.project_id, entry.dataset, entry.version, param=f"{param}.dataset")
    if version.status != "ready":
        raise IllegalMove(f"version {version.number} of data set {dataset.id} is {version.status}; it can join a job once it "
                          "is ready", code="dataset_not_ready")
    known = next((source for source in named_sources(job) if source["version_id"] == version.id), None)
    if known is not None:
        raise InvalidValue(f"{param} names version {version.number} of data set {dataset.id}, which is source "
                           f"{shown(known['name'])} already; give that one a weight", param=f"{param}.dataset")
    if len(job.sources) >= MOST_SOURCES:
        raise InvalidValue(f"the job has {len(job.sources)} sources, the most it may have; give a weight to one of them",
                           param="add")
    check_version(job, version, param=f"{param}.dataset")
    check_template({version.id: version}, resolve_base_of(session, job).base)
    job.sources = [*job.sources, {"version_id": version.id, "dataset_id": dataset.id, "number": version.number,
                                  "name": dataset.name, "weight": entry.weight, "is_added": True}]
    session.flush()
    return len(job.sources) - 1


def _check_rows(session: Session, job: Job, rows: tuple[RowRef, ...]) -> None:
    versions = versions_of(session, job)
    for ref in rows:
        source = named_sources(job)[ref.source]
        count = versions[source["version_id"]].rows or 0
        if ref.row >= count:
            raise InvalidValue(f"source {shown(source['name'])} has no row {ref.row:,}; its {count:,} rows are numbered from 0",
                               param="quarantine.rows")
    before = sum(len(row.body["rows"]) for row in changes_of(session, job.id))
    if rows and before + len(rows) > MOST_QUARANTINED_ROWS:
        raise InvalidValue(f"{before + len(rows):,} rows of the job would be quarantined, {MOST_QUARANTINED_ROWS:,} at most "
                           "can be; quarantine the source, or register a version without them", param="quarantine.rows")


def _check_lifted(session: Session, job: Job, rows: tuple[RowRef, ...], lifted: tuple[RowRef, ...]) -> None:
    """Raise InvalidValue for a row that is not quarantined by what was asked before, or is to be by the same change."""
    out: set[RowRef] = set()
    for change in changes_of(session, job.id) if lifted else ():
        if change.state != "refused":
            asked = Asked.from_json(change.body)
            out = (out | set(asked.rows)) - set(asked.lifted)
    wrong = next((ref for ref in lifted if ref not in out or ref in rows), None)
    if wrong is not None:
        name = named_sources(job)[wrong.source]["name"]
        reason = "is quarantined by the same change" if wrong in rows else "is not quarantined"
        raise InvalidValue(f"row {wrong.row:,} of source {shown(name)} {reason}; only a quarantine that was asked for before "
                           "can be lifted, see the job's mixture", param="lift.rows")


def count_rows(session: Session, job: Job, added: tuple[int, ...], *, artifacts: Artifacts) -> None:
    """Note how many rows a job's streams read of new sources, from their indexes; raise InvalidValue for one without any."""
    from core.data.pipeline import plan_stream

    base = resolve_base_of(session, job).base
    log = (MixtureEntry(1, (1.0,) * len(job.sources)),)
    try:
        stream = build_streams(job, versions_of(session, job), log=log, artifacts=artifacts, base=base)[0]
        plan = plan_stream(replace(stream, source_epochs=(), exhaustion="repeat"))
    except DataError as error:
        raise InvalidValue(error.message, param="add") from None
    job.sources = [{**entry, "rows": plan.rows[n]} if n in added else entry for n, entry in enumerate(job.sources)]
    session.flush()

"""From a job's row to the streams that its run reads: what to train on, and what to be validated on.

The same job gives the same streams at every attempt, so their fingerprints agree and a run goes on where another ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.data.spec import MixtureEntry, Part, SourceSpec, StreamSpec
from core.datasets.models import DatasetVersion
from core.datasets.shape import fields_of
from core.jobs.bad_rows import bad_rows_left
from core.jobs.models import Job
from core.models.models import Model
from core.specs.job import JobSpec, TrainingOptions
from core.storage.artifacts import Artifacts, file_key

DEFAULT_MAX_LENGTH = 2048
"""Tokens of an example at most, unless the job or a shorter context of the model says less."""


def build_streams(job: Job, versions: Mapping[str, DatasetVersion], *, artifacts: Artifacts, base: Model,
                  micro_batch_tokens: int = 0) -> tuple[StreamSpec, StreamSpec | None]:
    """Build the training stream, and the validation stream when the job asks for one.

    `versions` are the job's, by id, all ready. `job.resolved` gives epochs and batch size; a job without it gets 1 of each, to
    be counted. `micro_batch_tokens` 0 means as many as one example may have."""
    spec = spec_of(job)
    sources = tuple(_source(entry["name"], versions[entry["version_id"]], artifacts) for entry in named_sources(job))
    weights = tuple(float(entry["weight"]) for entry in job.sources)
    fraction = spec.validation_split or 0.0
    common = _common(job, spec, base, micro_batch_tokens)
    mixture = (MixtureEntry(1, weights),)
    used = [versions[entry["version_id"]] for entry in job.sources]
    train = StreamSpec(sources=sources, mixture=mixture, validation_fraction=fraction, part="train",
                       max_bad_rows=bad_rows_left(spec.options or TrainingOptions(), used), **common)
    if job.validation_version_id is not None:
        source = _source("validation_file", versions[job.validation_version_id], artifacts)
        return train, _validation((source,), (1.0,), "whole", 0.0, common)
    if fraction:
        return train, _validation(sources, weights, "validation", fraction, common)
    return train, None


def spec_of(job: Job) -> JobSpec:
    return JobSpec.model_validate(job.spec)


def options_of(job: Job) -> TrainingOptions:
    return spec_of(job).options or TrainingOptions()


def max_length_of(job: Job, base: Model) -> int:
    """Tokens of one example at most: what the job asks for, else 2,048, and never more than the model's context."""
    context = int((base.facts or {}).get("context_length") or DEFAULT_MAX_LENGTH)
    return min(context, options_of(job).max_length or DEFAULT_MAX_LENGTH)


def named_sources(job: Job) -> list[dict[str, Any]]:
    """The job's sources under names that differ: a name that comes again gets its number."""
    names = [entry["name"] for entry in job.sources]
    return [{**entry, "name": entry["name"] if names.count(entry["name"]) == 1 else f"{entry['name']} #{number}"}
            for number, entry in enumerate(job.sources, 1)]


def version_ids(job: Job) -> list[str]:
    """All data set versions that the job reads, the validation file's last."""
    return [entry["version_id"] for entry in job.sources] + ([job.validation_version_id] if job.validation_version_id else [])


def _common(job: Job, spec: JobSpec, base: Model, micro_batch_tokens: int) -> dict[str, Any]:
    options = spec.options or TrainingOptions()
    resolved = job.resolved or {}
    max_length = resolved.get("max_length") or max_length_of(job, base)
    return {
        "seed": job.seed,
        "epochs": resolved.get("n_epochs", 1),
        "batch_size": resolved.get("batch_size", 1),
        "tokenizer_path": base.folder or "",
        "tokenizer_digest": (base.facts or {}).get("tokenizer_digest") or base.digest or "",
        "max_length": max_length,
        "micro_batch_tokens": micro_batch_tokens or max_length,
        "overlong": options.overlong,
        "on_bad_row": options.on_bad_row,
    }


def _validation(sources: tuple[SourceSpec, ...], weights: tuple[float, ...], part: Part, fraction: float,
                common: dict[str, Any]) -> StreamSpec:
    once = {**common, "epochs": 1, "is_shuffled": False}
    return StreamSpec(sources=sources, mixture=(MixtureEntry(1, weights),), part=part, validation_fraction=fraction, **once)


def _source(name: str, version: DatasetVersion, artifacts: Artifacts) -> SourceSpec:
    assert version.index_key is not None
    source = SourceSpec.of_file(name, str(artifacts.path(file_key(version.file_id))), str(artifacts.path(version.index_key)),
                                version.row_format, version.digest or "")  # pyright: ignore[reportArgumentType]
    return replace(source, columns=fields_of(version))


__all__ = [
    "DEFAULT_MAX_LENGTH", "build_streams", "max_length_of", "named_sources", "options_of", "spec_of", "version_ids",
]

"""From a job's row to the streams that its run reads: what to train on, and what to be validated on.

The same job gives the same streams at every attempt, so their fingerprints agree and a run goes on where another ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.data.held_out import held_out_rows
from core.data.spec import MixtureEntry, SourceSpec, StreamSpec
from core.datasets.models import DatasetVersion
from core.datasets.sources import fetch_indexes, source_of
from core.jobs.bad_rows import bad_rows_left
from core.jobs.models import Job
from core.jobs.sources import named_sources, submitted
from core.models.folders import known_folder
from core.models.models import Model
from core.specs.job import JobSpec, TrainingOptions
from core.specs.versions import read_job_spec
from core.storage.artifacts import Artifacts

DEFAULT_MAX_LENGTH = 2048
"""Tokens of an example at most, unless the job or a shorter context of the model says less."""


def build_streams(job: Job, versions: Mapping[str, DatasetVersion], *, log: Sequence[MixtureEntry], artifacts: Artifacts,
                  base: Model, micro_batch_tokens: int = 0) -> tuple[StreamSpec, StreamSpec | None]:
    """Build the training stream, and the validation stream when the job asks for one, to be read on this host.

    `log` is the job's mixture log; `versions` are the job's, by id, all ready. `job.resolved` gives epochs and batch size; a
    job without it gets 1 of each, to be counted. `micro_batch_tokens` 0 means as many as one example may have."""
    fetch_indexes([versions[version_id] for version_id in version_ids(job)], artifacts)
    return describe_streams(job, versions, log=log, artifacts=artifacts, base=base, micro_batch_tokens=micro_batch_tokens)


def describe_streams(job: Job, versions: Mapping[str, DatasetVersion], *, log: Sequence[MixtureEntry], artifacts: Artifacts,
                     base: Model, micro_batch_tokens: int = 0) -> tuple[StreamSpec, StreamSpec | None]:
    """Say what the streams are, for whoever asks that alone: their data may be gone."""
    spec = spec_of(job)
    sources = tuple(source_of(versions[entry["version_id"]], artifacts, name=entry["name"]) for entry in named_sources(job))
    fraction = spec.validation_split or 0.0
    common = _common(job, spec, base, micro_batch_tokens, artifacts)
    used = [versions[entry["version_id"]] for entry in job.sources]
    train = StreamSpec(sources=sources, mixture=tuple(log), validation_fraction=fraction, part="train",
                       exhaustion=spec.exhaustion or "all", source_epochs=_source_epochs(job, common["epochs"]),
                       max_bad_rows=bad_rows_left(spec.options or TrainingOptions(), used), **common)
    if job.validation_version_id is not None:
        source = source_of(versions[job.validation_version_id], artifacts, name="validation_file")
        return train, _validation(source, common)
    return train, held_out_rows(train, 0) if fraction else None


def spec_of(job: Job) -> JobSpec:
    return read_job_spec(job.spec, job.spec_version)


def options_of(job: Job) -> TrainingOptions:
    return spec_of(job).options or TrainingOptions()


def max_length_of(job: Job, base: Model) -> int:
    """Tokens of one example at most: what the job asks for, else 2,048, and never more than the model's context."""
    context = int((base.facts or {}).get("context_length") or DEFAULT_MAX_LENGTH)
    return min(context, options_of(job).max_length or DEFAULT_MAX_LENGTH)


def tokenizer_digest_of(base: Model) -> str:
    return (base.facts or {}).get("tokenizer_digest") or base.digest or ""


def version_ids(job: Job) -> list[str]:
    """All data set versions that the job reads, the validation file's last."""
    return [entry["version_id"] for entry in job.sources] + ([job.validation_version_id] if job.validation_version_id else [])


def _common(job: Job, spec: JobSpec, base: Model, micro_batch_tokens: int, artifacts: Artifacts) -> dict[str, Any]:
    options = spec.options or TrainingOptions()
    resolved = job.resolved or {}
    max_length = resolved.get("max_length") or max_length_of(job, base)
    return {
        "seed": job.seed,
        "epochs": resolved.get("n_epochs", 1),
        "batch_size": resolved.get("batch_size", 1),
        "tokenizer_path": known_folder(base, artifacts),
        "tokenizer_digest": tokenizer_digest_of(base),
        "max_length": max_length,
        "micro_batch_tokens": micro_batch_tokens or max_length,
        "overlong": options.overlong,
        "on_bad_row": options.on_bad_row,
    }


def _source_epochs(job: Job, epochs: int) -> tuple[int, ...]:
    """The passes of each source of the submit; empty where they are the same for all."""
    asked = [entry.get("epochs") for entry in submitted(job)]
    return tuple(own or epochs for own in asked) if any(asked) else ()


def _validation(source: SourceSpec, common: dict[str, Any]) -> StreamSpec:
    """A validation file, whole."""
    once = {**common, "epochs": 1, "is_shuffled": False}
    return StreamSpec(sources=(source,), mixture=(MixtureEntry(1, (1.0,)),), part="whole", **once)


__all__ = [
    "DEFAULT_MAX_LENGTH", "build_streams", "describe_streams", "max_length_of", "options_of", "spec_of", "tokenizer_digest_of",
    "version_ids",
]

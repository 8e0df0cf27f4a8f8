"""What a checkpoint has seen, as one document: it says the same whenever it is asked for."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.jobs.models import Job
from core.jobs.sources import first_weights, named_sources
from core.jobs.stream_spec import spec_of
from core.steering.log import Asked, fold
from core.steering.models import MixtureChange
from core.steering.repository import changes_of, held_changes, versions_of
from core.steering.service import data_stream
from core.storage.artifacts import Artifacts

COUNTS = ("examples", "tokens", "trained_tokens")


def receipt(session: Session, job: Job, checkpoint: Checkpoint, *, artifacts: Artifacts) -> dict[str, Any]:
    """Tell the data, the mixture log up to the checkpoint, the counts by source, and the digests that stand for all of it."""
    resolved, seen = job.resolved or {}, checkpoint.seen or {}
    stream = data_stream(session, job, artifacts=artifacts)
    return {
        "object": "fine_tuning.job.checkpoint.receipt",
        "fine_tuning_job_id": job.id,
        "checkpoint_id": checkpoint.id,
        "step": checkpoint.step,
        "total_steps": job.total_steps,
        "adapter_digest": checkpoint.manifest_digest,
        "base_model": {"name": resolved.get("base_model"), "digest": resolved.get("base_digest")},
        "seed": job.seed,
        "batch_size": resolved.get("batch_size"),
        "n_epochs": resolved.get("n_epochs"),
        "exhaustion": spec_of(job).exhaustion or "all",
        "validation_split": spec_of(job).validation_split,
        "sources": _sources(session, job, checkpoint),
        "overlong": seen.get("overlong") or {},
        "untrained_rows": seen.get("untrained") or 0,
        "mixture": _log(session, job, checkpoint.step),
        "tokenizer_digest": resolved.get("tokenizer_digest"),
        "max_length": resolved.get("max_length"),
        "mixture_digest": stream.mixture_digest(checkpoint.step),
        "order_digest": seen.get("order"),
    }


def _sources(session: Session, job: Job, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Every source that was drawn from, or could have been."""
    versions, seen = versions_of(session, job), checkpoint.seen or {}
    drawn = checkpoint.position.get("drawn") or []
    later = [each.asked for each in held_changes(session, job.id) if each.from_step > checkpoint.step]
    joined = {source for asked in later for source in asked.added}
    told: list[dict[str, Any]] = []
    for number, source in enumerate(named_sources(job)):
        if number in joined or (source.get("is_added") and number >= len(drawn)):
            continue
        version, rows = versions[source["version_id"]], source.get("rows")
        count = drawn[number] if number < len(drawn) else 0
        told.append({
            "source": source["name"], "dataset": version.dataset_id, "version": version.number, "version_id": version.id,
            "digest": version.digest, "format": version.row_format, "rows": rows, "rows_drawn": count,
            "epochs": count / rows if rows else None,
            **{name: _of(seen, name, number) for name in COUNTS}, "faulty_rows": version.faulty_rows,
            "skipped_rows": _of(seen, "skipped", number)})
    return told


def _of(seen: dict[str, Any], name: str, source: int) -> int:
    numbers = seen.get(name) or []
    return numbers[source] if source < len(numbers) else 0


def _log(session: Session, job: Job, step: int) -> list[dict[str, Any]]:
    """All that held at some step up to this one, oldest first."""
    held = sorted(held_changes(session, job.id), key=lambda each: (each.from_step, each.number))
    rows: dict[int, MixtureChange] = {row.number: row for row in changes_of(session, job.id)}
    names = [source["name"] for source in named_sources(job)]
    standings = fold(first_weights(job), held)
    told: list[dict[str, Any]] = [{"from_step": 1, "weights": _weights(names, standings[0].entry.weights)}]
    for change, standing in zip(held, standings[1:], strict=True):
        if change.from_step > step:
            continue
        told.append({"number": change.number, "from_step": change.from_step,
                     "weights": _weights(names, standing.entry.weights), **_taken_out(names, change.asked),
                     "asked_at": int(rows[change.number].created_at.timestamp()), "asked_by": rows[change.number].created_by,
                     "reason": change.asked.reason})
    return told


def _weights(names: list[str], weights: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(names, weights, strict=False))


def _taken_out(names: list[str], asked: Asked) -> dict[str, Any]:
    return {"dropped": [names[n] for n in asked.dropped], "quarantined": [names[n] for n in asked.quarantined],
            "quarantined_rows": [{"source": names[row.source], "row": row.row} for row in asked.rows],
            "lifted_rows": [{"source": names[row.source], "row": row.row} for row in asked.lifted]}

"""From a claimed job to the spec of its run: every choice made, so that the child asks nothing and a resume repeats all.

What decides the numbers (streams, seed, optimizer, adapter) comes from the job's row alone and is the same at each attempt.
What decides only speed and memory (ranks, threads, micro-batch, precision) comes from the leased devices (worker/compute.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.data.spec import StreamSpec
from core.datasets.sources import fetch_indexes
from core.errors import ConfigurationError, DataError, RunInterrupted, RunRejected, Unavailable
from core.events import service as events
from core.jobs.memory import limit_of
from core.jobs.models import Job, Run
from core.jobs.stream_spec import build_streams, options_of, spec_of
from core.models.folders import fetch_folder, known_folder
from core.models.service import resolve_base_of
from core.places import readable
from core.settings import Settings
from core.specs.run import LoraSpec, OptimizerSpec, RunSpec
from core.steering.service import log_of, versions_of
from core.storage.artifacts import Artifacts, job_key
from core.storage.manifest import FolderDamaged
from worker.compute import SPEC_NAME, Compute
from worker.reports import Given


def build_run_spec(session: Session, job: Job, run: Run, *, compute: Compute, artifacts: Artifacts, settings: Settings,
                   restored: Checkpoint | None) -> RunSpec:
    """Build the spec; raise RunRejected or NotFound when the job names something that is gone."""
    if job.resolved is None:
        raise RunRejected(f"job {job.id} has no plan; it was queued before it was prepared")
    resolved, spec, options = job.resolved, spec_of(job), options_of(job)
    model = resolve_base_of(session, job)
    base_folder = known_folder(model.base, artifacts)
    if not Path(base_folder).is_dir():
        raise RunRejected(
            f"the folder of base model '{model.base.name}' ({base_folder}) is not there on this host; put it back, or "
            "add the model again", code="model_not_found", param="model")
    train, validation = build_streams(job, versions_of(session, job), log=log_of(session, job), artifacts=artifacts,
                                      base=model.base, micro_batch_tokens=compute.micro_batch_tokens)
    return RunSpec(
        folder=str(artifacts.path(run.folder_key)),
        base_model=base_folder,
        base_model_name=model.base.name,
        initial_adapter=str(artifacts.fetch(model.checkpoint.folder_key)) if model.checkpoint else None,
        seed=job.seed,
        device=compute.device,
        dtype=compute.dtype,
        threads=compute.threads,
        ranks=compute.ranks,
        loader_processes=0 if options.loader_processes == "auto" else options.loader_processes,
        stream=train.to_json(),
        validation=validation.to_json() if validation is not None else None,
        total_steps=resolved["total_steps"],
        epoch_ends=resolved["epoch_ends"],
        optimizer=OptimizerSpec(
            learning_rate=resolved["learning_rate"], weight_decay=options.weight_decay, max_grad_norm=options.max_grad_norm,
            schedule=options.schedule, warmup_steps=round(options.warmup_ratio * resolved["total_steps"]),
        ),
        lora=_lora(spec.lora),
        gradient_checkpointing=compute.device != "cpu",
        probes=compute.device != "cpu" and options.micro_batch_tokens == "auto",
        limit_tokens=limit_of(job, compute.device),
        eval_every_steps=options.eval_every_steps,
        checkpoint_every_steps=options.checkpoint_every_steps,
        recovery_every_seconds=settings.recovery_seconds,
        min_free_bytes=settings.min_free_bytes,
        sample_prompts=options.sample_prompts,
        sample_max_tokens=options.sample_max_tokens,
        resume_from=str(artifacts.path(restored.folder_key)) if restored is not None else None,
    )


def fetch_parts(session: Session, job: Job, artifacts: Artifacts) -> None:
    """Have on this host what the run reads whole (indexes, base model, the adapter it begins with); a bucket may take a while,
    so it is not done in the transaction that builds the spec. Raises RunInterrupted where the storage does not have one whole,
    which is no fault of the job's."""
    try:
        fetch_indexes(versions_of(session, job).values(), artifacts)
    except DataError as error:
        raise RunInterrupted(error.message, code=error.code) from error
    model = resolve_base_of(session, job)
    fetch_folder(model.base, artifacts)
    if model.checkpoint is not None:
        artifacts.fetch(model.checkpoint.folder_key)


Damaged = list[tuple[Checkpoint, str]]


def find_restorable(found: Sequence[Checkpoint], artifacts: Artifacts) -> tuple[Checkpoint | None, Damaged]:
    """Give the newest checkpoint whose files agree with the ledger, and the damaged ones passed over, with the reason.

    Raises Unavailable where it is this host that cannot read or keep one: no other is taken for it, since it may be whole. A
    folder without anything of the job is one that is not mounted here."""
    damaged: Damaged = []
    for checkpoint in found:
        try:
            artifacts.whole(checkpoint.folder_key, checkpoint.manifest_digest)
            return checkpoint, damaged
        except FolderDamaged as error:
            damaged.append((checkpoint, str(error)))
    if damaged and not artifacts.is_shared and not artifacts.path(job_key(damaged[0][0].job_id)).is_dir():
        raise Unavailable(f"nothing of job {damaged[0][0].job_id} lies in {artifacts.root} on this host, and the ledger knows "
                          "checkpoints of it; see that the folder of the storage is mounted", code="host_fault")
    return None, damaged


def tell_damaged(session: Session, job: Job, damaged: Damaged, *, now: datetime) -> None:
    """Log checkpoints that cannot be restored; their rows are marked, so that none is tried again."""
    for checkpoint, reason in damaged:
        row = session.get_one(Checkpoint, checkpoint.id)
        row.deleted_at = now
        message = f"The checkpoint of step {checkpoint.step} cannot be restored and is passed over: {reason}"
        events.append_message(session, job, code="checkpoint.damaged", level="warn", message=message,
                              data={"step": checkpoint.step}, now=now)


def places_for(streams: Sequence[dict[str, Any]], settings: Settings, *, project: str) -> Given | None:
    """What opens the places that streams read from, as the operator's file has it now; None where they read from none. A place
    that is not open to the project is left out, as one that is gone.

    Raises Unavailable when the file is at fault: that is no fault of the job's, and a later run finds it corrected."""
    names = {name for told in streams for name in StreamSpec.from_json(told).place_names}
    if not names:
        return None
    try:
        return Given(**readable(settings).of_project(project).only(names).to_json())
    except ConfigurationError as error:
        raise Unavailable(error.message, code=error.code) from error


def tell_chosen(session: Session, job: Job, compute: Compute, *, now: datetime) -> None:
    """Log in what a run computes and why, once for each choice."""
    if compute.chosen:
        events.append_message(session, job, code="compute.chosen", message=compute.chosen, now=now, data={
            "device": compute.device, "precision": compute.dtype, "ranks": compute.ranks,
            "micro_batch_tokens": compute.micro_batch_tokens})


def write_spec(spec: RunSpec) -> Path:
    """Write the spec into the run's folder, whole or not at all."""
    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    path, aside = folder / SPEC_NAME, folder / f".{SPEC_NAME}"
    aside.write_bytes(orjson.dumps(spec.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
    os.replace(aside, path)
    return path


def _lora(asked) -> LoraSpec:
    if asked is None:
        return LoraSpec()
    return LoraSpec(r=asked.r, alpha=asked.alpha if asked.alpha is not None else 2.0 * asked.r, dropout=asked.dropout,
                    target_modules=asked.target_modules, use_rslora=asked.use_rslora, use_dora=asked.use_dora)


__all__ = ["build_run_spec", "fetch_parts", "find_restorable", "places_for", "tell_chosen", "tell_damaged", "write_spec"]

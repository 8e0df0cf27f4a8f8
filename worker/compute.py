"""What the leased devices mean for a run: ranks, precision, threads, the token budget of a micro-batch.

Chosen once, at a job's first attempt, and repeated by the later ones on the same kind of device, so that a run that goes on
computes as it did. What a later attempt's devices cannot do, or have no memory for, is chosen anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson
from sqlalchemy.orm import Session

from core.devices.discovery import Capability, capability_of, cpu_multiplies_bf16
from core.devices.models import Device
from core.estimates.memory import CPU_MICRO_BATCH_TOKENS, Way, adapter_of, micro_batch_tokens
from core.estimates.models import shape_of
from core.estimates.shape import ModelShape
from core.jobs.models import Job
from core.jobs.repository import runs_of
from core.jobs.stream_spec import options_of, spec_of
from core.models.service import resolve_base_of
from core.settings import Settings
from core.specs.job import Lora, TrainingOptions
from core.storage.artifacts import Artifacts
from worker.precision import Dtype, can_multiply, choose
from worker.ranks import own_threads

SPEC_NAME = "spec.json"
CUDA_MICRO_BATCH_TOKENS = 8192
"""Where the model's shape is not known."""


@dataclass(frozen=True)
class Compute:
    """What the leased devices mean for the child."""

    device: str
    dtype: Dtype
    micro_batch_tokens: int
    threads: int
    """Of each rank."""
    visible: str | None
    """CUDA_VISIBLE_DEVICES of the ranks; None leaves them without a GPU."""
    ranks: int = 1
    chosen: str = ""
    """A sentence on what was chosen and why; empty when an earlier attempt's choices are repeated."""


def compute_for(session: Session, job: Job, devices: Sequence[Device], *, settings: Settings, artifacts: Artifacts) -> Compute:
    """Choose for a job and the devices that its run holds; raises RunRejected when they lack what the job asks for."""
    base = resolve_base_of(session, job).base
    chosen = compute_of(devices, settings, options_of(job), shape=shape_of(base), lora=spec_of(job).lora or Lora())
    return as_before(session, job, chosen, devices, artifacts)


def compute_of(devices: Sequence[Device], settings: Settings, options: TrainingOptions, *, shape: ModelShape | None = None,
               lora: Lora | None = None, has_bf16: bool | None = None) -> Compute:
    """Choose from the devices alone: one rank for each of them. `has_bf16` tells what the CPU multiplies; it is asked."""
    ranks = max(1, len(devices))
    threads = own_threads(settings.threads or len(os.sched_getaffinity(0)), ranks)
    gpus = [d for d in devices if d.kind == "cuda"]
    asked = None if options.micro_batch_tokens == "auto" else options.micro_batch_tokens
    chosen = choose(options.precision, _abilities(gpus), has_bf16=cpu_multiplies_bf16() if has_bf16 is None else has_bf16)
    told = chosen.sentence() + (f"; {ranks} ranks share the rows of each step" if ranks > 1 else "")
    if not gpus:
        return Compute("cpu", chosen.dtype, asked or CPU_MICRO_BATCH_TOKENS, threads, None, ranks, told)
    tokens = asked or CUDA_MICRO_BATCH_TOKENS
    if shape is not None and asked is None:
        tokens = micro_batch_tokens(shape, adapter_of(shape, lora or Lora()), Way(chosen.dtype, is_cuda=True),
                                    memory_bytes=min(gpu.memory_bytes for gpu in gpus))
    return Compute("cuda", chosen.dtype, tokens, threads, ",".join(str(gpu.ordinal) for gpu in gpus), ranks, told)


def as_before(session: Session, job: Job, compute: Compute, devices: Sequence[Device], artifacts: Artifacts) -> Compute:
    """Keep the choices of the job's first attempt on this kind of device, as far as these devices can."""
    for run in runs_of(session, job.id):
        try:
            path = artifacts.bring(f"{run.folder_key}/{SPEC_NAME}")
            if path is None:
                continue
            told = orjson.loads(path.read_bytes())
            device, dtype, tokens = told["device"], told["dtype"], told["stream"]["micro_batch_tokens"]
            ranks, threads = told.get("ranks", 1), told["threads"]
        except (OSError, orjson.JSONDecodeError, KeyError):
            continue
        if device == compute.device and dtype in can_multiply(_abilities(devices), has_bf16=cpu_multiplies_bf16()):
            is_same = ranks == compute.ranks
            return replace(compute, dtype=dtype, micro_batch_tokens=min(tokens, compute.micro_batch_tokens),
                           threads=threads if is_same else compute.threads, chosen="" if is_same else compute.chosen)
    return compute


def _abilities(devices: Sequence[Device]) -> list[tuple[str, Capability | None]]:
    return [(d.name, capability_of(d.ordinal)) for d in devices if d.kind == "cuda"]


__all__ = ["SPEC_NAME", "Compute", "as_before", "compute_for", "compute_of"]

"""Factories for the training tests: batches made by hand, and one run of the loop in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.data.spec import Batch, MicroBatch, Position, RowRef
from core.specs.run import LoraSpec, OptimizerSpec, RunSpec
from tests.tiny_model import tiny_base
from worker.held_out import HeldOut
from worker.reports import Line
from worker.training.around import Surroundings
from worker.training.checkpointing import Saver, restore
from worker.training.device import open_device
from worker.training.group import Group
from worker.training.loop import Training
from worker.training.model import Model, build_model
from worker.training.optimizer import build_optimizer
from worker.training.probe import Probing
from worker.training.sampling import Sampler
from worker.training.state import Origin, State, read_state

FINGERPRINT = "0f" * 16
ORIGIN = Origin(FINGERPRINT, lambda step: f"up to {step}", {"total_steps": 6})
SOURCES = ["river", "mill"]
BUILDING = threading.Lock()
"""The seed that an adapter begins with is the process's, and ranks that are threads share it."""


def run_spec(folder: Path, **changes: Any) -> RunSpec:
    told: dict[str, Any] = {
        "folder": str(folder), "base_model": str(tiny_base()), "base_model_name": "tiny", "seed": 11, "stream": {},
        "total_steps": 6, "epoch_ends": [3, 6], "optimizer": OptimizerSpec(learning_rate=5e-3, warmup_steps=1),
        "lora": LoraSpec(r=4, alpha=8, dropout=0.1), "recovery_every_seconds": 1e9}
    return RunSpec(**{**told, **changes})


def micro(lengths: Sequence[int], *, seed: int = 0, sources: Sequence[int] | None = None) -> MicroBatch:
    """Random tokens; the second half of each example is trained on."""
    numbers = np.random.default_rng(seed)
    mask = np.concatenate([np.arange(n) >= max(1, n // 2) for n in lengths])
    return MicroBatch(ids=numbers.integers(3, 600, sum(lengths)).astype(np.int32), loss_mask=mask,
                      boundaries=np.cumsum([0, *lengths], dtype=np.int32),
                      sources=np.array(sources if sources is not None else [0] * len(lengths), np.int32))


def batch(step: int, *micros: MicroBatch, total_steps: int = 6, **changes: Any) -> Batch:
    rows = tuple(RowRef(int(s), step) for m in micros for s in m.sources)
    examples = [counts(m, k) for m in micros for k in range(len(m.sources))]
    slots = changes.get("slots", tuple(range(len(examples))))
    slot_count = changes.get("slot_count", len(examples))
    told: dict[str, Any] = {
        "slots": slots, "slot_count": slot_count,
        "counts": tuple(of_slot([each for slot, each in zip(slots, examples, strict=True) if slot == number])
                        for number in range(slot_count)),
        "step": step, "epoch": 2 * step / total_steps, "micro_batches": micros, "rows": rows,
        "trained_tokens": int(sum(m.loss_mask.sum() for m in micros)), "position": Position(step, (4 * step,), 0)}
    return Batch(**{**told, **changes})


def counts(of: MicroBatch, example: int) -> tuple[int, int, int, int]:
    start, end = of.boundaries[example:example + 2].tolist()
    return int(of.sources[example]), 1, end - start, int(of.loss_mask[start:end].sum())


def of_slot(examples: Sequence[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    """A row's counts: those of its examples together; a hole has none."""
    if not examples:
        return 0, 0, 0, 0
    _, number, tokens, trained = map(sum, zip(*examples, strict=True))
    return examples[0][0], number, tokens, trained


def batches(after: int, total_steps: int = 6) -> Iterator[Batch]:
    """The steps after one: two micro-batches of examples from two sources each, the same for every call."""
    for step in range(after + 1, total_steps + 1):
        yield batch(step, micro([9, 14], seed=step, sources=[0, 1]), micro([7, 5, 12], seed=100 + step, sources=[1, 0, 0]),
                    total_steps=total_steps)


def tiny(*, seed: int = 11, lora: LoraSpec | None = None, **changes: Any) -> Model:
    device = open_device("cpu", "fp32", threads=1, seed=seed)
    return build_model(tiny_base(), device=device, lora=lora or LoraSpec(r=4, alpha=8), base_model_name="tiny", **changes)


def train(spec: RunSpec, *, report: Callable[[Line], None], is_stopping: Callable[[], bool] = lambda: False,
          stream: Callable[[int], Iterator[Batch]] = batches, validation: Sequence[Batch] | None = None,
          before_micro_batch: Callable[[MicroBatch], None] = lambda micro: None,
          clock: Callable[[], float] = time.monotonic, group: Group | None = None, probing: Probing | None = None) -> None:
    """Do what `worker.run` does, in this process, on batches made by hand."""
    where = Path(spec.resume_from) if spec.resume_from else None
    state = read_state(where, ORIGIN) if where else State(limit_tokens=spec.limit_tokens)
    group = group or Group()
    with BUILDING:
        device = open_device("cpu", spec.dtype, threads=1, seed=spec.seed)
        model = build_model(Path(spec.base_model), device=device, lora=spec.lora, base_model_name=spec.base_model_name,
                            gradient_checkpointing=spec.gradient_checkpointing)
    optimizer = build_optimizer(model.parameters, spec.optimizer, total_steps=spec.total_steps)
    restored = restore(where, model, optimizer) if where else None
    torch.rand(7)  # whatever happens between building and training must not matter to a resumed run
    if where is None:
        torch.manual_seed(spec.seed)
    saver = Saver(Path(spec.folder), base_model=Path(spec.base_model), origin=ORIGIN, report=report)
    sampler = Sampler(Path(spec.base_model), spec.sample_prompts, spec.sample_max_tokens) if spec.sample_prompts else None
    loop = Training(spec, state, model=model, optimizer=optimizer, saver=saver, names=lambda: SOURCES,
                    validation=(lambda step: HeldOut(tuple(SOURCES), iter(validation))) if validation is not None else None,
                    sampler=sampler,
                    around=Surroundings(report, is_stopping, before_micro_batch, clock, group), probing=probing)
    loop.run(stream(state.step), wait_seconds=lambda: 0.0, random_state=restored)

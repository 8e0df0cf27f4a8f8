"""What a step costs beside the model: our loop and a bare torch loop on the same batches of the tiny model.

The bare loop does what a step needs and nothing else: forward with logits at the trained positions, cross entropy, backward,
clipping, AdamW, and reading the loss. Ours adds reports, per-source losses, accuracy, the border's state, and recovery points
written in the background. Both run in this process, one thread, in turns; the figure is a ratio of medians.

    python bench/training/run.py [--steps 150] [--runs 5] [--out bench/training/results.json]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import orjson
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from core.data.spec import Batch, MicroBatch, Position, RowRef
from core.specs.run import LoraSpec, OptimizerSpec, RunSpec
from worker.reports import StepDone
from worker.tiny_base import make_tiny_base
from worker.training.around import Surroundings
from worker.training.checkpointing import Saver
from worker.training.device import open_device
from worker.training.loop import Training
from worker.training.model import build_model
from worker.training.optimizer import build_optimizer
from worker.training.state import Origin, State

ROWS, LENGTH, ROWS_A_MICRO_BATCH, WARM = 8, 66, 4, 10
CASES = {"no saves": 1e9, "a recovery point every second": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench/training/results.json"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "tiny"
        make_tiny_base(base)
        rows = [row for case, seconds in CASES.items() for row in compare(base, case, seconds, asked.steps, asked.runs)]
    asked.out.write_bytes(orjson.dumps({
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip(),
        "machine": f"{_processor()}, {os.cpu_count()} cores of which one is used, Python {platform.python_version()}; "
                   f"load average {os.getloadavg()[0]:.1f} at the end",
        "command": " ".join(["python bench/training/run.py", *sys.argv[1:]]), "rows": rows}, option=orjson.OPT_INDENT_2))
    for row in rows:
        print(f"{row['system']:40} {row['case']:50} {row['metric']:24} {row['value']:.4g} {row['unit']}")


def compare(base: Path, case: str, recovery_seconds: float, steps: int, runs: int) -> list[dict]:
    ours: list[list[float]] = []
    bare: list[list[float]] = []
    for _ in range(runs):
        bare.append(bare_loop(base, steps))
        ours.append(headrace(base, steps, recovery_seconds))
    medians = [[statistics.median(run[WARM:]) for run in each] for each in (ours, bare)]
    ratio = statistics.median(medians[0]) / statistics.median(medians[1])
    named = f"tiny model, {ROWS} rows of {LENGTH} tokens, 2 micro-batches, 1 thread, {case}"
    peer = f"torch {version('torch')} + peft {version('peft')} loop"
    return [_row("headrace", "seconds a step", named, statistics.median(medians[0]), "s", runs),
            _row(peer, "seconds a step", named, statistics.median(medians[1]), "s", runs),
            _row("headrace", "step time beside the bare loop", named, ratio, "ratio", runs)]


def batches(steps: int) -> Iterator[Batch]:
    for step in range(1, steps + 1):
        micros = tuple(_micro(step * 10 + part) for part in range(ROWS // ROWS_A_MICRO_BATCH))
        trained = int(sum(m.loss_mask.sum() for m in micros))
        yield Batch(step, step / steps, micros, tuple(RowRef(0, r) for r in range(ROWS)), trained, Position(step, (step,)),
                    slots=tuple(range(ROWS)), slot_count=ROWS, counts=((0, 1, LENGTH, trained // ROWS),) * ROWS)


def headrace(base: Path, steps: int, recovery_seconds: float) -> list[float]:
    """Train with our loop; the seconds from report to report, as a supervisor would see them."""
    seen: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        spec = RunSpec(folder=folder, base_model=str(base), base_model_name="tiny", seed=1, stream={}, total_steps=steps,
                       epoch_ends=[steps], optimizer=OptimizerSpec(learning_rate=1e-3), lora=LoraSpec(r=8, alpha=16),
                       recovery_every_seconds=recovery_seconds)
        device = open_device("cpu", "fp32", threads=1, seed=1)
        model = build_model(base, device=device, lora=spec.lora, base_model_name="tiny")
        optimizer = build_optimizer(model.parameters, spec.optimizer, total_steps=steps)

        def report(line: object) -> None:
            if isinstance(line, StepDone):
                line.to_line()
                seen.append(time.perf_counter())

        saver = Saver(Path(folder), base_model=base, origin=Origin("bench", lambda step: "", {}), report=report)
        training = Training(spec, State(), model=model, optimizer=optimizer, saver=saver, names=lambda: ["rows"],
                            validation=None, sampler=None, around=Surroundings(report, lambda: False))
        training.run(iter(list(batches(steps))), wait_seconds=lambda: 0.0, random_state=None)
    return np.diff(seen).tolist()


def bare_loop(base: Path, steps: int) -> list[float]:
    """Train with the least that a step needs."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
                           LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear"))
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
    seen: list[float] = []
    for batch in list(batches(steps)):
        for micro in batch.micro_batches:
            trained = np.flatnonzero(micro.loss_mask)
            logits = model(input_ids=torch.from_numpy(micro.ids.astype(np.int64))[None], use_cache=False,
                           position_ids=torch.from_numpy(micro.position_ids.astype(np.int64))[None],
                           logits_to_keep=torch.from_numpy(trained - 1)).logits[0]
            labels = torch.from_numpy(micro.ids[trained].astype(np.int64))
            loss = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum") / batch.trained_tokens
            loss.backward()
            loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
        seen.append(time.perf_counter())
    return np.diff(seen).tolist()


def _micro(seed: int) -> MicroBatch:
    numbers = np.random.default_rng(seed)
    tokens = ROWS_A_MICRO_BATCH * LENGTH
    return MicroBatch(ids=numbers.integers(3, 600, tokens).astype(np.int32), loss_mask=np.arange(tokens) % LENGTH > LENGTH // 2,
                      boundaries=np.arange(0, tokens + 1, LENGTH, dtype=np.int32),
                      sources=np.zeros(ROWS_A_MICRO_BATCH, np.int32))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _row(system: str, metric: str, case: str, value: float, unit: str, runs: int) -> dict:
    return {"system": system, "metric": metric, "case": case, "value": value, "unit": unit, "runs": runs}


if __name__ == "__main__":
    main()

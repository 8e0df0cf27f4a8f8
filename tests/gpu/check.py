"""`make gpu-check`: what only a machine with an NVIDIA GPU can show, on the tiny model, in about a minute.

    precision   a short training in each of bf16, fp16 and fp32 that the GPU multiplies; the loss falls
    transfer    copies on the side stream and in the computing stream give the same losses
    memory      a step that runs out of memory is repeated with the same rows; peak memory beside the estimate
    ranks       two ranks by NCCL, where there are two GPUs

Exit code 0 when all held, 1 when one did not, 2 on a machine without a GPU: nothing was checked there.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import torch

from core.data.spec import Batch, MicroBatch
from core.devices.discovery import Capability, capability_of, find_gpus
from core.estimates.memory import Way, activation_bytes, adapter_of
from core.estimates.shape import ModelShape
from core.specs.job import Lora
from core.specs.run import LoraSpec, OptimizerSpec
from tests.tiny_model import tiny_base
from tests.worker.making import ORIGIN, SOURCES, batch, micro, run_spec
from worker.precision import can_multiply
from worker.reports import Finished, Line, MemoryRecovered, StepDone
from worker.training.around import Surroundings
from worker.training.checkpointing import Saver
from worker.training.device import Device, open_device
from worker.training.loop import Training
from worker.training.model import build_model
from worker.training.optimizer import build_optimizer
from worker.training.state import State
from worker.training.tensors import to_tensors
from worker.training.transfer import Transfer

STEPS = 20
NO_GPU = 2


def main() -> int:
    gpus = find_gpus()
    if not gpus or not torch.cuda.is_available():
        print("no NVIDIA GPU that torch can use is on this machine: nothing was checked")
        return NO_GPU
    abilities: list[tuple[str, Capability | None]] = [(gpu.name, capability_of(gpu.ordinal)) for gpu in gpus]
    print(f"{len(gpus)} × {gpus[0].name}, torch {torch.__version__}")
    checks: list[tuple[str, Callable[[], str]]] = [
        *[(f"training in {dtype}", lambda dtype=dtype: loss_falls(dtype)) for dtype in can_multiply(abilities[:1])],
        ("side stream", streams_agree), ("out of memory", memory_recovers), ("memory of a token", estimate_is_near)]
    if len(gpus) > 1:
        checks.append(("two ranks", ranks_agree))
    failed = sum(not holds(name, check) for name, check in checks)
    print(f"{len(checks) - failed} of {len(checks)} held" + ("" if len(gpus) > 1 else "; ranks need a second GPU"))
    return 1 if failed else 0


def holds(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"  {name:20} {check()}", flush=True)
    except Exception:
        print(f"  {name:20} FAILED", flush=True)
        traceback.print_exc()
        return False
    return True


def loss_falls(dtype: str) -> str:
    losses = losses_of(train(dtype))
    assert losses[-1] < losses[0] - 0.2, losses
    return f"loss {losses[0]:.3f} → {losses[-1]:.3f}"


def streams_agree() -> str:
    aside = losses_of(train("fp32"))
    plain = losses_of(train("fp32", change=lambda device: dataclasses.replace(
        device, transfer=Transfer(device.place, is_aside=False))))
    apart = max(abs(one - other) for one, other in zip(aside, plain, strict=True))
    assert apart < 1e-4, (aside, plain)
    return f"losses apart by at most {apart:.1e}"


def memory_recovers() -> str:
    calm = losses_of(train("fp32"))

    def tight(part: MicroBatch) -> None:
        if len(part.ids) > 400:
            raise torch.OutOfMemoryError("as if")

    heard = train("fp32", before_micro_batch=tight)
    assert any(isinstance(line, MemoryRecovered) for line in heard)
    apart = max(abs(one - other) for one, other in zip(calm, losses_of(heard), strict=True))
    assert apart < 1e-3, apart
    return f"repeated in smaller pieces, losses apart by at most {apart:.1e}"


def estimate_is_near() -> str:
    """The growth of peak memory from 2,048 to 8,192 tokens, beside what is estimated for a token."""
    device = open_device("cuda", "fp32", threads=1, seed=1)
    model = build_model(tiny_base(), device=device, lora=LoraSpec(r=8, alpha=16), base_model_name="tiny",
                        gradient_checkpointing=True)
    peaks = []
    for tokens in (2048, 8192):
        torch.cuda.reset_peak_memory_stats()
        losses, _ = model.token_losses(to_tensors(micro([256] * (tokens // 256)), device))
        losses.sum().backward()
        peaks.append(torch.cuda.max_memory_allocated())
    shape = ModelShape.from_config(orjson.loads((tiny_base() / "config.json").read_bytes()), model.base_parameters)
    adapter, way = adapter_of(shape, Lora(r=8)), Way("fp32", is_cuda=True)
    parts = [activation_bytes(shape, adapter, way, tokens=tokens, is_packed=True) for tokens in (2048, 8192)]
    measured, estimated = (peaks[1] - peaks[0]) / 6144, (parts[1] - parts[0]) // 6144
    assert 0.3 * measured < estimated < 3 * measured, (measured, estimated)
    return f"{measured:,.0f} bytes measured, {estimated:,} estimated"


def ranks_agree() -> str:
    from tests.worker import runs
    from tests.worker.test_ranks import CALM, go, steps

    def losses(folder: Path, ranks: int) -> list[float]:
        folder.mkdir()
        spec = runs.run_spec(folder, lora=CALM, ranks=ranks, device="cuda", gradient_checkpointing=True)
        return [step.train_loss for step in steps(go(folder, spec)).values()]

    with tempfile.TemporaryDirectory() as folder:
        one, two = (losses(Path(folder, str(ranks)), ranks) for ranks in (1, 2))
    apart = max(abs(a - b) for a, b in zip(one, two, strict=True))
    assert apart < 1e-3, (one, two)
    return f"losses apart from those of one rank by at most {apart:.1e}"


def train(dtype: str, *, change: Callable[[Device], Device] = lambda device: device,
          before_micro_batch: Callable[[MicroBatch], None] = lambda micro: None) -> list[Line]:
    """A short training on the GPU, on the same rows each time; what it said."""
    heard: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        spec = run_spec(Path(folder), device="cuda", dtype=dtype, total_steps=STEPS, epoch_ends=[STEPS],
                        lora=LoraSpec(r=8, alpha=16), optimizer=OptimizerSpec(learning_rate=1e-2))
        device = change(open_device("cuda", dtype, threads=1, seed=spec.seed))
        model = build_model(tiny_base(), device=device, lora=spec.lora, base_model_name="tiny", gradient_checkpointing=True)
        optimizer = build_optimizer(model.parameters, spec.optimizer, total_steps=STEPS, is_scaled=dtype == "fp16")
        saver = Saver(Path(folder), base_model=tiny_base(), origin=ORIGIN, report=heard.append)
        Training(spec, State(), model=model, optimizer=optimizer, saver=saver, names=lambda: SOURCES, validation=None,
                 sampler=None, around=Surroundings(heard.append, lambda: False, before_micro_batch)
                 ).run(batches(), wait_seconds=lambda: 0.0, random_state=None)
    assert isinstance(heard[-1], Finished)
    return heard


def batches() -> Iterator[Batch]:
    """Every step the same rows in two micro-batches, which can be learned by heart."""
    for step in range(1, STEPS + 1):
        yield batch(step, micro([120, 200, 180], seed=1), micro([90, 300, 250], seed=2), total_steps=STEPS)


def losses_of(heard: list[Line]) -> list[float]:
    return [line.train_loss for line in heard if isinstance(line, StepDone)]


if __name__ == "__main__":
    sys.exit(main())

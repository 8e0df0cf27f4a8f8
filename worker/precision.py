"""In which numbers a run multiplies: what the job asks for, held against what its devices really have.

| device | auto | can be asked for |
| --- | --- | --- |
| NVIDIA GPU from compute capability 8.0 on | bf16 | bf16, fp16, fp32 |
| 7.0 and 7.5, and 6.0 | fp16, with a loss scaler | fp16, fp32 |
| other NVIDIA GPUs, which multiply halves slower than whole numbers | fp32 | fp32 |
| CPU with instructions for bf16 (AVX512-BF16, AMX, ARM's BF16) | bf16 | bf16, fp32 |
| other CPUs | fp32, whatever the base model's files are stored in | fp32 |

It is chosen before the child starts, from what the driver or the kernel says, and stands in the run's spec. Adapter, moments
and loss are fp32 everywhere; the choice is that of the base weights and of the products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.devices.discovery import Capability
from core.errors import RunRejected
from core.specs.job import Precision

Dtype = Literal["fp32", "bf16", "fp16"]
BF16_FROM: Capability = (8, 0)
FP16_FROM: Capability = (7, 0)
FAST_HALVES: Capability = (6, 0)
"""The one GPU before 7.0 in servers that multiplies fp16 faster than fp32."""
MEANS = {"bf16": "bfloat16", "fp16": "float16 with a loss scaler", "fp32": "float32"}

CPU_REASONS = {"bf16": "this CPU has instructions for it", "fp32": "this CPU multiplies the shorter kinds only by detours"}


@dataclass(frozen=True)
class Chosen:
    dtype: Dtype
    reason: str

    def sentence(self) -> str:
        return f"Training computes in {self.dtype} ({MEANS[self.dtype]}): {self.reason}"


def choose(asked: Precision, devices: Sequence[tuple[str, Capability | None]], *, has_bf16: bool = False) -> Chosen:
    """Choose for GPUs given as (name, compute capability), all of them; for the CPU where there is none: `has_bf16` tells
    whether that one multiplies bf16.

    Raises RunRejected where they lack what is asked for.
    """
    can = can_multiply(devices, has_bf16=has_bf16)
    if asked == "auto":
        return Chosen(can[0], _why(can[0], devices))
    if asked not in can:
        raise RunRejected(
            f"options.precision is '{asked}', and {_names(devices)} does not multiply it; ask for 'auto' or "
            f"{_either(can)}, or run it where another device is", code="precision_unavailable", param="options.precision")
    return Chosen(asked, "options.precision asks for it")


def can_multiply(devices: Sequence[tuple[str, Capability | None]], *, has_bf16: bool = False) -> list[Dtype]:
    """What all of the GPUs multiply at full speed, the best first; without one, what the CPU does."""
    if not devices:
        return ["bf16", "fp32"] if has_bf16 else ["fp32"]
    weakest = min((capability for _, capability in devices if capability is not None), default=None)
    if weakest is None or any(capability is None for _, capability in devices):
        return ["fp16", "fp32"]
    if weakest >= BF16_FROM:
        return ["bf16", "fp16", "fp32"]
    return ["fp16", "fp32"] if weakest >= FP16_FROM or weakest == FAST_HALVES else ["fp32"]


def _why(dtype: Dtype, devices: Sequence[tuple[str, Capability | None]]) -> str:
    if not devices:
        return CPU_REASONS[dtype]
    name, capability = min(devices, key=lambda device: device[1] or (0, 0))
    if capability is None:
        return f"the driver does not say what {name} multiplies, and every GPU that this build of torch runs on has it"
    what = f"{name} has compute capability {capability[0]}.{capability[1]}"
    if dtype == "bf16":
        return f"{what} and multiplies it"
    return f"{what}, and bf16 begins at {BF16_FROM[0]}.{BF16_FROM[1]}" + (
        "" if dtype == "fp16" else f" and fast fp16 at {FP16_FROM[0]}.{FP16_FROM[1]}")


def _names(devices: Sequence[tuple[str, Capability | None]]) -> str:
    return " and ".join(sorted({name for name, _ in devices})) or "the CPU of this worker"


def _either(dtypes: Sequence[str]) -> str:
    return " or ".join(f"'{dtype}'" for dtype in dtypes)

"""Whether a run fits on a device, with which micro-batch, and if not, why.

What must fit is the longest example alone: a step that runs out of memory is repeated in smaller micro-batches, down to single
examples. What is planned with is the whole token budget of the device.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.devices.models import Device
from core.estimates.memory import Adapter, Memory, Way, adapter_of, memory_of, micro_batch_tokens
from core.estimates.shape import ModelShape
from core.specs.job import JobSpec, Lora, Precision, TrainingOptions

GIB = 1 << 30


@dataclass(frozen=True)
class Load:
    """What a run brings along, whatever devices it gets."""

    shape: ModelShape
    adapter: Adapter
    precision: Precision
    micro_batch_tokens: int | None
    """As the job asks for it; None takes what the device has memory for."""
    longest_tokens: int
    """Of one example."""
    batch_size: int
    devices: int

    @property
    def share_tokens(self) -> int:
        """What one device can have of a step, at most."""
        return math.ceil(self.batch_size / self.devices) * self.longest_tokens


def load_of(spec: JobSpec, shape: ModelShape, *, batch_size: int, longest_tokens: int) -> Load:
    options = spec.options or TrainingOptions()
    asked = options.micro_batch_tokens
    return Load(shape, adapter_of(shape, spec.lora or Lora()), options.precision, None if asked == "auto" else asked,
                longest_tokens, batch_size, options.devices)


@dataclass(frozen=True)
class Group:
    """Devices of one host that are alike."""

    host: str
    kind: str
    name: str
    memory_bytes: int
    count: int
    memories: tuple[int, ...]
    """Of all devices of its host and kind: a run may take some that are larger than others."""

    def many(self, needed_bytes: float) -> int:
        """How many devices with so much memory a run on its host would find."""
        return sum(memory >= needed_bytes for memory in self.memories)

    @property
    def label(self) -> str:
        return f"{self.count} × {self.name}" if self.count > 1 else self.name


@dataclass(frozen=True)
class Planned:
    """How a run would lie on a device."""

    way: Way
    micro_batch_tokens: int
    memory: Memory
    needed_bytes: int
    """The memory that a device must have, for the longest example alone."""


@dataclass(frozen=True)
class Fit:
    group: Group
    planned: Planned | None
    """None where the device cannot compute in what was asked for."""
    reason: str | None
    """Why it does not fit; None where it does."""


def groups_of(devices: Sequence[Device]) -> list[Group]:
    found = Counter((device.host, device.kind, device.name, device.memory_bytes) for device in devices)
    memories: dict[tuple[str, str], tuple[int, ...]] = {}
    for device in devices:
        memories[device.host, device.kind] = (*memories.get((device.host, device.kind), ()), device.memory_bytes)
    return [Group(*key, count, memories[key[0], key[1]]) for key, count in found.items()]


def way_on(kind: str, precision: Precision) -> Way | None:
    """How a device of this kind computes it; None for a CPU that is asked for fp16. One that chooses itself is reckoned with in
    16 bits if it is a GPU, whichever of the two kinds it has, and in fp32 if it is a CPU, of which some have bf16."""
    if kind == "cuda":
        return Way("bf16" if precision == "auto" else precision, is_cuda=True)
    return None if precision == "fp16" else Way("fp32" if precision == "auto" else precision, is_cuda=False)


def plan_on(load: Load, way: Way, memory_bytes: int) -> Planned:
    """Lay the run out on a device of so much memory."""
    budget = load.micro_batch_tokens or micro_batch_tokens(load.shape, load.adapter, way, memory_bytes=memory_bytes)
    largest = max(load.longest_tokens, min(budget, load.share_tokens))
    usual = memory_of(load.shape, load.adapter, way, tokens=largest, is_packed=largest > load.longest_tokens)
    return Planned(way, budget, usual, need_of(load, way))


def need_of(load: Load, way: Way) -> int:
    """The memory that a device must have, so that the longest example fits by itself."""
    return memory_of(load.shape, load.adapter, way, tokens=load.longest_tokens, is_packed=False).needed


def needs_of(load: Load) -> dict[str, int]:
    """The same for each kind of device that can compute the run."""
    ways = {kind: way_on(kind, load.precision) for kind in ("cuda", "cpu")}
    return {kind: need_of(load, way) for kind, way in ways.items() if way is not None}


def fit_on(load: Load, group: Group) -> Fit:
    way = way_on(group.kind, load.precision)
    if way is None:
        return Fit(group, None, f"options.precision is '{load.precision}', and no CPU computes in it; ask for 'auto'")
    planned = plan_on(load, way, group.memory_bytes)
    if planned.needed_bytes > group.memory_bytes:
        return Fit(group, planned, f"it has {gib(group.memory_bytes)} of memory, and the longest example alone takes a device "
                                   f"of {gib(planned.needed_bytes)}; lower options.max_length or lora.r, or take a smaller "
                                   "model")
    if (many := group.many(planned.needed_bytes)) < load.devices:
        return Fit(group, planned, f"the host has {many} that would do, and options.devices asks for {load.devices}")
    return Fit(group, planned, None)


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"

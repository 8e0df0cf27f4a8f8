"""The device a run computes on: placement, precision, determinism, random state, and what memory it holds.

A CPU is deterministic: the same spec and seed give the same bytes. Below fp32 (bf16; on CUDA fp16 too) base weights are kept
so and computed under autocast, while the adapter stays fp32; fp16 trains with a loss scaler. Of several ranks on one host each
has the GPU of its number, and draws of its own.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
from dataclasses import dataclass

import torch

from worker.training.transfer import Transfer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
GIB = 1 << 30


@dataclass(frozen=True)
class Device:
    place: torch.device
    dtype: torch.dtype
    """Of the frozen base weights; anything below fp32 is computed under autocast."""
    transfer: Transfer
    """The way that batches take to it."""

    @property
    def is_cuda(self) -> bool:
        return self.place.type == "cuda"

    @property
    def dtype_name(self) -> str:
        return next(name for name, dtype in DTYPES.items() if dtype is self.dtype)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.place.type, dtype=self.dtype)

    def memory_bytes(self) -> int:
        """Peak of allocated device memory on CUDA (no synchronisation), resident memory of this process on a CPU."""
        if self.is_cuda:
            return torch.cuda.max_memory_allocated(self.place)
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * PAGE_BYTES

    def room(self) -> str:
        """How its memory stands, in words."""
        if self.is_cuda:
            free, whole = torch.cuda.mem_get_info(self.place)
            held = torch.cuda.memory_allocated(self.place)
            return f"{free / GIB:.1f} GiB of {whole / GIB:.1f} GiB are free, {held / GIB:.1f} GiB are held by the run"
        whole = PAGE_BYTES * os.sysconf("SC_PHYS_PAGES")
        return f"the run's process holds {self.memory_bytes() / GIB:.1f} GiB of the host's {whole / GIB:.1f} GiB"

    def free_caches(self) -> None:
        gc.collect()
        if self.is_cuda:
            torch.cuda.empty_cache()

    def random_state(self) -> dict[str, torch.Tensor]:
        """The states of the generators that training draws from (dropout), as uint8 tensors."""
        state = {"cpu": torch.get_rng_state()}
        if self.is_cuda:
            state["cuda"] = torch.cuda.get_rng_state(self.place)
        return state

    def restore_random_state(self, state: dict[str, torch.Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if self.is_cuda and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.place)

    def fresh_random_state(self, seed: int, *, rank: int, step: int) -> dict[str, torch.Tensor]:
        """The state that a rank starts with at a border whose checkpoint knows none of it: the same for the same three."""
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {rank} {step}".encode()).digest()[:8], "big") >> 1)
        return self.random_state()


def open_device(name: str, dtype: str, *, threads: int, seed: int, rank: int = 0) -> Device:
    """Set this process up for one run: threads, its GPU, determinism where the device has it, and the seed."""
    torch.set_num_threads(threads)
    place = torch.device(name, rank) if name == "cuda" else torch.device(name)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    is_lacking = place.type == "cpu" and dtype == "fp16"
    device = Device(place, torch.float32 if is_lacking else DTYPES[dtype], Transfer(place))
    if not device.is_cuda:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.manual_seed(seed)
    return device

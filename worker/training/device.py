"""The device a run computes on: placement, precision, determinism, random state, and what memory it holds.

On a CPU everything is fp32 and deterministic: the same spec and seed give the same bytes. On CUDA the base weights are kept in
bf16 (or fp16) and computed under autocast, while the adapter stays fp32; fp16 trains with a loss scaler.
"""

from __future__ import annotations

import contextlib
import gc
import os
from dataclasses import dataclass

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Device:
    place: torch.device
    dtype: torch.dtype
    """Of the frozen base weights; anything below fp32 is computed under autocast."""

    @property
    def is_cuda(self) -> bool:
        return self.place.type == "cuda"

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


def open_device(name: str, dtype: str, *, threads: int, seed: int) -> Device:
    """Set this process up for one run: threads, determinism where the device has it, and the seed."""
    torch.set_num_threads(threads)
    device = Device(torch.device(name), DTYPES[dtype])
    if not device.is_cuda:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.manual_seed(seed)
    return device

"""Numbers from the host to the device, while the device works on what came before.

On CUDA a page-locked buffer is filled and copied on a stream of its own, beside the one that computes; an event tells the
computing stream when the numbers are there. Two buffers take turns: the one that is filled waits, on the host, until its last
copy has left. The allocator is told which stream reads the copy (`record_stream`), so that its memory is not given away too
early. On a CPU it is the same code without streams: a buffer, a copy.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import torch

BUFFERS = 2
SMALLEST = 4096
"""Numbers that a buffer holds at least; it doubles when more are sent."""


@dataclass(frozen=True)
class Sent:
    """Numbers on their way: int32, on the device once `copied` is passed."""

    numbers: torch.Tensor
    copied: torch.cuda.Event | None


class Transfer:
    """The way to one device. Not for several threads at once."""

    def __init__(self, place: torch.device, *, is_aside: bool = True) -> None:
        """With `is_aside` False the copies wait in the computing stream for their turn: slower, and the same numbers."""
        self._place, self._is_cuda = place, place.type == "cuda"
        self._stream = torch.cuda.Stream(place) if self._is_cuda and is_aside else None
        self._buffers = [_Buffer(is_pinned=self._is_cuda) for _ in range(BUFFERS)]
        self._next = 0

    def send(self, parts: list[np.ndarray]) -> Sent:
        """Begin to copy int32 arrays, laid end to end."""
        buffer = self._buffers[self._next]
        self._next = (self._next + 1) % len(self._buffers)
        filled = buffer.fill(parts)
        with torch.cuda.stream(self._stream) if self._stream is not None else contextlib.nullcontext():
            there = filled.to(self._place, non_blocking=True, copy=True)
            if self._is_cuda:
                buffer.left = torch.cuda.Event()
                buffer.left.record(torch.cuda.current_stream(self._place))
        return Sent(there, buffer.left)

    def take(self, sent: Sent) -> torch.Tensor:
        """Give the numbers to the stream that computes: what it does from here on comes after the copy."""
        if self._stream is not None and sent.copied is not None:
            computing = torch.cuda.current_stream(self._place)
            computing.wait_event(sent.copied)
            sent.numbers.record_stream(computing)
        return sent.numbers


class _Buffer:
    """Memory of the host that copies start from."""

    def __init__(self, *, is_pinned: bool) -> None:
        self._is_pinned = is_pinned
        self._memory = torch.empty(0, dtype=torch.int32)
        self.left: torch.cuda.Event | None = None
        """Passed when the last copy has left."""

    def fill(self, parts: list[np.ndarray]) -> torch.Tensor:
        size = sum(len(part) for part in parts)
        if self.left is not None:
            self.left.synchronize()
        if size > len(self._memory):
            room = max(SMALLEST, 1 << (size - 1).bit_length())
            self._memory = torch.empty(room, dtype=torch.int32, pin_memory=self._is_pinned)
        filled = self._memory[:size]
        if parts:
            np.concatenate(parts, out=filled.numpy(), casting="unsafe")
        return filled

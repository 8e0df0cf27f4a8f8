"""MicroBatches → tensors on the device, with the positions to predict from picked out.

Token t is trained on where its mask is True, and it is predicted from the hidden state at t - 1: only those states meet the
vocabulary. There is no padding and no attention mask; position ids restart at each example, from which the model derives that
examples do not see each other.

A micro-batch crosses as one block of int32 and is taken apart there: half the bytes of int64, and one copy. While the device
works on one, the next is on its way (worker/training/transfer.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.data.spec import MicroBatch
from worker.training.device import Device
from worker.training.transfer import Sent


@dataclass(frozen=True, eq=False)
class MicroTensors:
    ids: torch.Tensor
    """int32, shape (1, tokens)."""
    position_ids: torch.Tensor
    """int32, shape (1, tokens)."""
    predict_from: torch.Tensor
    """int64, shape (trained,): positions whose next token is trained on."""
    labels: torch.Tensor
    """int64, shape (trained,): those next tokens."""
    slots: torch.Tensor
    """int64, shape (trained,): the slot of the step that each of them belongs to."""


@dataclass(frozen=True)
class _OnItsWay:
    sent: Sent
    tokens: int
    trained: int


def to_tensors(micro: MicroBatch, device: Device, slots: np.ndarray | None = None) -> MicroTensors:
    """Bring one micro-batch over. `slots` are those of its examples; without them, they are counted from 0."""
    return _take(_send(micro, device, np.arange(len(micro.sources)) if slots is None else slots), device)


def arriving(micro_batches: Iterable[MicroBatch], device: Device, slots: Sequence[int]
             ) -> Iterator[tuple[MicroBatch, MicroTensors]]:
    """Give micro-batches with their tensors, one copy ahead; `slots` are those of all their examples, in order."""
    numbers = np.asarray(slots, np.int64)
    before: tuple[MicroBatch, _OnItsWay] | None = None
    done = 0
    for micro in micro_batches:
        first, done = done, done + len(micro.sources)
        sent = _send(micro, device, numbers[first:done])
        if before is not None:
            yield before[0], _take(before[1], device)
        before = micro, sent
    if before is not None:
        yield before[0], _take(before[1], device)


def _send(micro: MicroBatch, device: Device, slots: np.ndarray) -> _OnItsWay:
    trained = np.flatnonzero(micro.loss_mask)
    of_tokens = np.repeat(slots, np.diff(micro.boundaries))
    parts = [micro.ids, micro.position_ids, trained - 1, micro.ids[trained], of_tokens[trained]]
    return _OnItsWay(device.transfer.send(parts), len(micro.ids), len(trained))


def _take(way: _OnItsWay, device: Device) -> MicroTensors:
    """Take the block apart. Tokens and positions stay int32, which embeddings read; what indexes becomes int64 here."""
    numbers = device.transfer.take(way.sent)
    ids, position_ids, predict_from, labels, slots = numbers.split(
        [way.tokens, way.tokens, way.trained, way.trained, way.trained])
    return MicroTensors(ids[None], position_ids[None], predict_from.long(), labels.long(), slots.long())

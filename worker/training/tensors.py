"""MicroBatch → tensors on the device, with the positions to predict from picked out.

Token t is trained on where its mask is True, and it is predicted from the hidden state at t - 1: only those states meet the
vocabulary. There is no padding and no attention mask; position ids restart at each example, from which the model derives that
examples do not see each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from core.data.spec import MicroBatch
from worker.training.device import Device


@dataclass(frozen=True, eq=False)
class MicroTensors:
    ids: torch.Tensor
    """int64, shape (1, tokens)."""
    position_ids: torch.Tensor
    """int64, shape (1, tokens)."""
    predict_from: torch.Tensor
    """int64, shape (trained,): positions whose next token is trained on."""
    labels: torch.Tensor
    """int64, shape (trained,): those next tokens."""
    examples: torch.Tensor
    """int64, shape (trained,): the example that each of them belongs to, counted from 0 within the micro-batch."""


def to_tensors(micro: MicroBatch, device: Device) -> MicroTensors:
    trained = np.flatnonzero(micro.loss_mask)
    examples = np.repeat(np.arange(len(micro.sources)), np.diff(micro.boundaries))[trained]
    return MicroTensors(
        ids=_place(micro.ids, device)[None],
        position_ids=_place(micro.position_ids, device)[None],
        predict_from=_place(trained - 1, device),
        labels=_place(micro.ids[trained], device),
        examples=_place(examples, device),
    )


def _place(numbers: np.ndarray, device: Device) -> torch.Tensor:
    tensor = torch.from_numpy(numbers.astype(np.int64))
    return tensor.pin_memory().to(device.place, non_blocking=True) if device.is_cuda else tensor

"""Hidden states and labels → the loss of each token, without keeping the logits.

A vocabulary of 50,000 makes the logits the largest tensor of a step. The head is frozen, so its only gradient is the one
towards the hidden states, and that one is known as soon as the logits are: (softmax - onehot) @ weight. `FrozenHeadLoss`
computes both in one visit, a chunk of rows at a time, and keeps a tensor of the hidden states' size: no second forward as with
checkpointing, and one chunk of logits in memory. Loss and softmax are fp32 whatever the weights are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

CHUNK_NUMBERS = 1 << 24
"""Logits of one chunk: 64 MiB in fp32."""


class FrozenHeadLoss(torch.autograd.Function):
    """hidden (trained, width), weight (vocabulary, width), bias or None, labels (trained,) → losses and matches (trained,)."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
                labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        losses = hidden.new_empty(len(labels), dtype=torch.float32)
        matches = torch.empty_like(labels, dtype=torch.bool)
        towards_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for rows in _chunks(len(labels), weight.shape[0]):
            logits = F.linear(hidden[rows], weight, bias).float()
            matches[rows] = logits.argmax(-1) == labels[rows]
            logs = torch.log_softmax(logits, -1)
            del logits
            wanted = labels[rows, None]
            losses[rows] = -logs.gather(1, wanted)[:, 0]
            if towards_hidden is not None:
                slope = logs.exp_()
                slope.scatter_(1, wanted, slope.gather(1, wanted) - 1)
                towards_hidden[rows] = (slope.to(weight.dtype) @ weight).to(hidden.dtype)
        if towards_hidden is not None:
            ctx.save_for_backward(towards_hidden)
        ctx.mark_non_differentiable(matches)
        return losses, matches

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (towards_hidden,) = ctx.saved_tensors
        return (towards_hidden * slopes[0][:, None]).to(towards_hidden.dtype), None, None, None


def loss_of_logits(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from a model's own logits (trained, vocabulary), for heads that are more than one matrix."""
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    return losses, logits.detach().argmax(-1) == labels


def _chunks(rows: int, vocabulary: int) -> list[slice]:
    size = max(1, CHUNK_NUMBERS // vocabulary)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]

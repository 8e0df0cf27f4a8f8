from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from worker.training import loss
from worker.training.loss import FrozenHeadLoss, loss_of_logits


def parts(rows: int = 7, width: int = 5, vocabulary: int = 11) -> tuple[torch.Tensor, ...]:
    numbers = torch.Generator().manual_seed(3)
    return (torch.randn(rows, width, generator=numbers), torch.randn(vocabulary, width, generator=numbers),
            torch.randn(vocabulary, generator=numbers), torch.randint(0, vocabulary, (rows,), generator=numbers))


@pytest.mark.parametrize("with_bias", [True, False])
def test_losses_matches_and_slopes_are_those_of_cross_entropy(with_bias: bool) -> None:
    hidden, weight, bias, labels = parts()
    told = bias if with_bias else None
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    losses, matches = FrozenHeadLoss.apply(ours, weight, told, labels)  # pyright: ignore
    logits = F.linear(theirs, weight, told)
    expected = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(losses, expected)
    assert torch.equal(matches, logits.argmax(-1) == labels)
    factors = torch.arange(7.0)
    (losses * factors).sum().backward()
    (expected * factors).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_chunks_cover_every_row_once() -> None:
    assert loss._chunks(5, loss.CHUNK_NUMBERS // 2) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert loss._chunks(3, loss.CHUNK_NUMBERS * 2) == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_logits_are_not_kept_for_the_backward() -> None:
    hidden, weight, _, labels = parts(rows=64, width=4, vocabulary=500)
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        FrozenHeadLoss.apply(hidden.requires_grad_(), weight, None, labels)
    assert sum(kept) <= hidden.numel()


def test_whole_logits_give_the_same() -> None:
    hidden, weight, _, labels = parts()
    expected = FrozenHeadLoss.apply(hidden, weight, None, labels)
    found = loss_of_logits(hidden @ weight.T, labels)
    assert all(torch.allclose(*pair) for pair in zip(found, expected, strict=True))  # pyright: ignore

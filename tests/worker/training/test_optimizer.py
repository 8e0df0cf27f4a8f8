from __future__ import annotations

import pytest
import torch

from core.specs.run import OptimizerSpec
from worker.training.optimizer import Optimizer, build_optimizer, learning_rate_at


def rates(total_steps: int = 10, **changes) -> list[float]:
    spec = OptimizerSpec(learning_rate=1.0, **changes)
    return [learning_rate_at(step, total_steps, spec) for step in range(1, total_steps + 1)]


def test_constant_stays() -> None:
    assert rates(3, schedule="constant") == [1, 1, 1]


def test_linear_falls_evenly_and_trains_in_the_last_step() -> None:
    assert rates(4, schedule="linear") == [1, 0.75, 0.5, 0.25]


def test_cosine_falls_from_the_whole_rate() -> None:
    found = rates(4, schedule="cosine")
    assert found[0] == 1
    assert found[2] == pytest.approx(0.5)
    assert found == sorted(found, reverse=True)
    assert found[-1] > 0


def test_warm_up_rises_to_the_whole_rate() -> None:
    assert rates(6, schedule="linear", warmup_steps=4) == [0.25, 0.5, 0.75, 1, 1, 0.5]


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
    assert rates(2, warmup_steps=4) == [0.25, 0.5]


def test_moments_restored_give_the_same_next_update() -> None:
    def made() -> tuple[torch.nn.Parameter, object]:
        parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
        return parameter, build_optimizer({"w": parameter}, OptimizerSpec(learning_rate=0.1, weight_decay=0.01), total_steps=9)

    def step(parameter, optimizer, number: int) -> None:
        (parameter * torch.tensor([1.0, 2.0, number])).sum().backward()
        optimizer.update(number)

    first, one = made()
    for number in (1, 2):
        step(first, one, number)
    second, other = made()
    other.restore({name: tensor.clone() for name, tensor in one.tensors().items()})  # pyright: ignore
    second.data.copy_(first.data)
    step(first, one, 3)
    step(second, other, 3)
    assert torch.equal(first, second)


def test_gradients_are_clipped_and_their_norm_told() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = build_optimizer({"w": parameter}, OptimizerSpec(learning_rate=1.0, max_grad_norm=0.5), total_steps=1)
    (parameter * torch.tensor([3.0, 4.0])).sum().backward()
    assert float(optimizer.update(1)) == 5
    assert parameter.grad is None


def scaled() -> tuple[torch.nn.Parameter, Optimizer]:
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    spec = OptimizerSpec(learning_rate=0.1, max_grad_norm=100)
    return parameter, build_optimizer({"w": parameter}, spec, total_steps=9, is_scaled=True)


def test_a_scaled_loss_gives_the_gradient_of_the_plain_one() -> None:
    parameter, optimizer = scaled()
    optimizer.scale((parameter * torch.tensor([3.0, 4.0])).sum()).backward()
    assert parameter.grad is not None
    assert float(parameter.grad.norm()) > 1000
    assert float(optimizer.update(1)) == pytest.approx(5)
    assert parameter.tolist() != [1.0, -2.0]


def test_an_update_that_overflows_is_left_out_and_the_scale_falls() -> None:
    parameter, optimizer = scaled()
    assert optimizer.scaler is not None
    before = optimizer.scaler.get_scale()
    optimizer.scale((parameter * torch.tensor([1.0, float("inf")])).sum()).backward()
    optimizer.update(1)
    assert parameter.tolist() == [1.0, -2.0]
    assert optimizer.scaler.get_scale() < before


def test_a_rank_that_scaled_nothing_makes_the_update_of_the_others() -> None:
    """It gets their gradients, which are scaled, by the reduction."""
    theirs, other = scaled()
    other.scale((theirs * torch.tensor([3.0, 4.0])).sum()).backward()
    mine, own = scaled()
    assert theirs.grad is not None
    mine.grad = theirs.grad.clone()
    assert float(other.update(1)) == float(own.update(1))
    assert torch.equal(mine, theirs)


def test_the_scale_of_a_checkpoint_is_taken_up_again() -> None:
    _, first = scaled()
    _, second = scaled()
    assert first.scaler is not None
    assert second.scaler is not None
    first.scaler.update(1024.0)
    second.scaler.load_state_dict(first.scaler.state_dict())
    assert second.scaler.get_scale() == 1024.0

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.worker.making import micro
from worker.training.device import open_device
from worker.training.tensors import arriving
from worker.training.transfer import SMALLEST, Transfer

CPU = torch.device("cpu")


def numbers(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 30, size).astype(np.int32)


def test_what_was_sent_stays_while_more_is_sent() -> None:
    transfer = Transfer(CPU)
    given = [numbers(size, size) for size in (5, 1, 0, SMALLEST + 3, 7, 5000)]
    sent = [transfer.send([each]) for each in given]
    assert all(np.array_equal(transfer.take(way).numpy(), each) for way, each in zip(sent, given, strict=True))


def test_parts_lie_end_to_end_as_int32() -> None:
    transfer = Transfer(CPU)
    taken = transfer.take(transfer.send([numbers(3, 1), np.arange(2, dtype=np.int64), numbers(0, 1)]))
    assert (taken.dtype, taken.tolist()) == (torch.int32, [*numbers(3, 1).tolist(), 0, 1])
    assert transfer.take(transfer.send([])).tolist() == []


def test_micro_batches_arrive_in_order_with_the_slots_of_their_rows() -> None:
    device = open_device("cpu", "fp32", threads=1, seed=1)
    micros = [micro([9, 14], seed=1), micro([7], seed=2), micro([5, 6, 4], seed=3)]
    slots = [3, 0, 8, 2, 2, 5]
    arrived = list(arriving(micros, device, slots))
    assert [each for each, _ in arrived] == micros
    for (one, tensors), own in zip(arrived, (slots[:2], slots[2:3], slots[3:]), strict=True):
        trained = np.flatnonzero(one.loss_mask)
        assert np.array_equal(tensors.ids[0].numpy(), one.ids)
        assert np.array_equal(tensors.position_ids[0].numpy(), one.position_ids)
        assert np.array_equal(tensors.predict_from.numpy(), trained - 1)
        assert np.array_equal(tensors.labels.numpy(), one.ids[trained])
        assert np.array_equal(tensors.slots.numpy(), np.repeat(own, np.diff(one.boundaries))[trained])


def test_the_next_copy_has_begun_before_a_micro_batch_is_given() -> None:
    device = open_device("cpu", "fp32", threads=1, seed=1)
    asked: list[int] = []

    def giving():
        for number in range(3):
            asked.append(number)
            yield micro([4 + number])

    seen = [list(asked) for _ in arriving(giving(), device, range(3))]
    assert seen == [[0, 1], [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize(("told", "kept"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float32)])
def test_a_cpu_computes_as_its_spec_says_but_never_in_fp16(told: str, kept: torch.dtype) -> None:
    assert open_device("cpu", told, threads=1, seed=1).dtype is kept


def test_ranks_draw_different_numbers_and_the_same_again() -> None:
    device = open_device("cpu", "fp32", threads=1, seed=1)
    states = [device.fresh_random_state(7, rank=rank, step=step)["cpu"] for rank, step in ((1, 0), (2, 0), (1, 4), (1, 0))]
    assert torch.equal(states[0], states[3])
    assert not any(torch.equal(states[0], other) for other in states[1:3])

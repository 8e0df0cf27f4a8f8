from __future__ import annotations

import dataclasses

import pytest

from core.estimates.memory import (
    CHUNK_LOGITS,
    CPU_MICRO_BATCH_TOKENS,
    LEAST_TOKENS,
    MOST_TOKENS,
    Way,
    adapter_of,
    logits_bytes,
    memory_of,
    micro_batch_tokens,
    token_bytes,
)
from core.estimates.shape import ModelShape
from core.specs.job import Lora

EIGHT_B = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256}
SHAPE = ModelShape.from_config(EIGHT_B, 8_030_000_000)
GPU, CPU = Way("bf16", is_cuda=True), Way("fp32", is_cuda=False)


def tokens(shape: ModelShape = SHAPE, *, dtype: str = "bf16", gigabytes: float = 24, r: int = 16) -> int:
    return micro_batch_tokens(shape, adapter_of(shape, Lora(r=r)), Way(dtype, is_cuda=True),
                              memory_bytes=int(gigabytes * 2**30))


def test_more_memory_never_means_fewer_tokens() -> None:
    found = [tokens(gigabytes=size) for size in (1, 18, 20, 22, 24, 40, 80, 1000)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (LEAST_TOKENS, MOST_TOKENS)
    assert len(set(found)) > 3


@pytest.mark.parametrize("size", ["hidden", "layers", "intermediate", "queries", "keys", "parameters"])
def test_a_larger_model_takes_more_memory_and_never_has_more_tokens(size: str) -> None:
    larger = dataclasses.replace(SHAPE, **{size: 2 * getattr(SHAPE, size)})
    assert tokens(larger) <= tokens()
    totals = [memory_of(shape, adapter_of(shape, Lora()), GPU, tokens=512).total for shape in (SHAPE, larger)]
    assert totals[0] < totals[1]


def test_longer_numbers_a_higher_rank_dropout_and_kept_layers_cost_tokens() -> None:
    def costs(lora: Lora, way: Way = GPU) -> int:
        return token_bytes(SHAPE, adapter_of(SHAPE, lora), way)

    assert costs(Lora()) < costs(Lora(r=64))
    assert costs(Lora()) < costs(Lora(dropout=0.1))
    assert costs(Lora()) < costs(Lora(), Way("fp32", is_cuda=True)) < costs(Lora(), CPU)


def test_a_budget_keeps_within_the_memory() -> None:
    for gigabytes in (20, 24, 40):
        budget = tokens(gigabytes=gigabytes)
        assert memory_of(SHAPE, adapter_of(SHAPE, Lora()), GPU, tokens=budget).needed <= gigabytes * 2**30


def test_a_cpu_takes_small_micro_batches_whatever_its_memory() -> None:
    assert micro_batch_tokens(SHAPE, adapter_of(SHAPE, Lora()), CPU, memory_bytes=1 << 40) == CPU_MICRO_BATCH_TOKENS


def test_examples_that_share_a_micro_batch_cost_a_mask_that_grows_with_its_square() -> None:
    def mask(count: int, way: Way) -> int:
        one, several = (memory_of(SHAPE, adapter_of(SHAPE, Lora()), way, tokens=count, is_packed=packed).activations
                        for packed in (False, True))
        return several - one

    assert mask(1024, GPU) == 1024**2 * 3
    assert mask(2048, GPU) == 4 * mask(1024, GPU)
    assert mask(1024, CPU) == 1024**2 * (1 + 4 * SHAPE.layers)


def test_logits_are_visited_in_chunks_unless_the_head_is_more_than_one_matrix() -> None:
    scaled = dataclasses.replace(SHAPE, has_plain_head=False)
    assert logits_bytes(SHAPE, 10) == 8 * 10 * SHAPE.vocabulary
    assert logits_bytes(SHAPE, 10_000) == 8 * CHUNK_LOGITS
    assert logits_bytes(scaled, 10_000) == 8 * 10_000 * SHAPE.vocabulary


def test_the_parts_of_a_known_model_are_those_that_are_told_everywhere() -> None:
    """Llama 3.1 8B with rank 16 on every linear layer: 8.03 billion parameters, 41.9 million of them new."""
    memory = memory_of(SHAPE, adapter := adapter_of(SHAPE, Lora(r=16)), GPU, tokens=1024)
    assert adapter.parameters == 41_943_040
    assert (memory.weights, memory.adapter, memory.gradients) == (16_060_000_000, 167_772_160, 167_772_160)
    assert memory.optimizer == 8 * 41_943_040 + 4 * 2 * 7 * 32
    assert memory.total == sum(vars(memory).values())

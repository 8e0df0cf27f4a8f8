from __future__ import annotations

import dataclasses

import pytest

from core.jobs.memory import (
    LEAST_TOKENS,
    MOST_TOKENS,
    ModelShape,
    fixed_bytes,
    micro_batch_tokens,
    token_bytes,
)

EIGHT_B = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256}
SHAPE = ModelShape.from_config(EIGHT_B, 8_030_000_000)


def tokens(shape: ModelShape = SHAPE, dtype: str = "bf16", *, gigabytes: float = 24, is_checkpointed: bool = True) -> int:
    return micro_batch_tokens(shape, dtype, r=16, memory_bytes=int(gigabytes * 2**30), is_checkpointed=is_checkpointed)


def test_sizes_are_read_under_the_names_of_each_architecture() -> None:
    assert (SHAPE.queries, SHAPE.keys) == (4096, 1024)
    told = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None, "vocab_size": 50257}
    gpt = ModelShape.from_config(told, 124_000_000)
    assert (gpt.hidden, gpt.layers, gpt.intermediate, gpt.keys) == (768, 12, 3072, 768)
    assert ModelShape.from_config({"text_config": EIGHT_B}, 1).layers == 32


def test_more_memory_never_means_fewer_tokens() -> None:
    found = [tokens(gigabytes=size) for size in (1, 16, 18, 20, 24, 40, 80, 1000)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (LEAST_TOKENS, MOST_TOKENS)
    assert len(set(found)) > 3


@pytest.mark.parametrize("size", ["hidden", "layers", "intermediate", "queries", "keys", "parameters"])
def test_a_larger_model_never_has_more_tokens(size: str) -> None:
    larger = dataclasses.replace(SHAPE, **{size: 2 * getattr(SHAPE, size)})
    assert tokens(larger) <= tokens()
    costs = [token_bytes(s, "bf16", r=16, is_checkpointed=True) + fixed_bytes(s, "bf16", r=16) for s in (SHAPE, larger)]
    assert costs[0] < costs[1]


def test_longer_numbers_and_kept_layers_cost_tokens() -> None:
    assert tokens(dtype="fp32", gigabytes=80) <= tokens(dtype="bf16", gigabytes=80)
    assert tokens(is_checkpointed=False, gigabytes=80) < tokens(is_checkpointed=True, gigabytes=80)
    assert token_bytes(SHAPE, "fp32", r=16, is_checkpointed=True) > token_bytes(SHAPE, "bf16", r=16, is_checkpointed=True)
    assert token_bytes(SHAPE, "bf16", r=64, is_checkpointed=True) > token_bytes(SHAPE, "bf16", r=16, is_checkpointed=True)


def test_a_budget_keeps_within_the_memory() -> None:
    for gigabytes in (20, 24, 40):
        used = fixed_bytes(SHAPE, "bf16", r=16) + tokens(gigabytes=gigabytes) * token_bytes(
            SHAPE, "bf16", r=16, is_checkpointed=True)
        assert used <= gigabytes * 2**30

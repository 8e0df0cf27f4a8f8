"""How many tokens a micro-batch may have: the shape of a model, the numbers it computes in, the device's memory → a budget.

What lies on the device while a step runs:

    fixed       the base weights; the adapter four times over (itself, its gradient, two moments, fp32);
                the chunk of logits that the loss visits; what the driver and the libraries take
    each token  what the backward pass needs of the forward pass. With checkpointing, the input of every layer and all of one
                layer; without, all of every layer.

Counted for decoders as most are built (two norms, attention, a gated MLP, an adapter on every linear layer). It is a guess on
purpose a little too large: too few tokens cost some speed, too many cost a step that is repeated in smaller pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
LIBRARIES_BYTES = 1 << 30
"""CUDA's context, kernels, cuBLAS and NCCL workspaces."""
LOGITS_BYTES = 3 * (1 << 24) * 4
"""A chunk of the loss: logits, their logarithms, and the slope, fp32 (worker/training/loss.py)."""
USABLE = 0.9
"""Share of the memory that is planned with; the rest goes to fragments."""
MARGIN = 1.25
"""What passes by within a layer, over what stays of it."""
LEAST_TOKENS, MOST_TOKENS = 512, 32768
"""Beyond so many tokens a GPU is busy anyhow."""
ROUND_TOKENS = 256


@dataclass(frozen=True)
class ModelShape:
    """The sizes that memory depends on."""

    parameters: int
    hidden: int
    layers: int
    intermediate: int
    queries: int
    """Heads times their width."""
    keys: int
    """Key heads times their width; as many values."""
    vocabulary: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any], parameters: int) -> ModelShape:
        """Read a config.json, under the names that architectures use; what is not told is guessed from the width."""
        told = {**config, **config["text_config"]} if isinstance(config.get("text_config"), Mapping) else config
        hidden = _number(told, "hidden_size", "n_embd", "d_model") or 1024
        heads = _number(told, "num_attention_heads", "n_head") or max(1, hidden // 64)
        width = _number(told, "head_dim") or hidden // heads
        return cls(
            parameters=parameters, hidden=hidden, layers=_number(told, "num_hidden_layers", "n_layer") or 12,
            intermediate=_number(told, "intermediate_size", "n_inner", "ffn_dim") or 4 * hidden, queries=heads * width,
            keys=(_number(told, "num_key_value_heads") or heads) * width, vocabulary=_number(told, "vocab_size") or 32000)

    def adapter_parameters(self, r: int) -> int:
        """Parameters of an adapter of rank r on every linear layer."""
        attention = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys)
        return r * self.layers * (attention + 3 * (self.hidden + self.intermediate))


def layer_bytes(shape: ModelShape, dtype: str, r: int) -> int:
    """What one layer keeps of one token for its backward pass."""
    size = BYTES[dtype]
    norms = 2 * shape.hidden * (4 + size)
    attention = (2 * shape.queries + 2 * shape.keys) * size
    mlp = 4 * shape.intermediate * size
    rotary = 2 * (shape.queries + shape.keys)
    adapter = 7 * r * size
    return norms + attention + mlp + rotary + adapter


def token_bytes(shape: ModelShape, dtype: str, *, r: int, is_checkpointed: bool) -> int:
    """What one token of a micro-batch takes while a step runs."""
    size = BYTES[dtype]
    layer = layer_bytes(shape, dtype, r)
    kept = shape.layers * shape.hidden * size + layer if is_checkpointed else shape.layers * layer
    ends = shape.hidden * (4 + 3 * size)  # the embedding, the last norm, the slope towards the hidden states
    return int(MARGIN * (kept + ends))


def fixed_bytes(shape: ModelShape, dtype: str, *, r: int) -> int:
    """What lies on the device whatever the micro-batch."""
    chunk = min(LOGITS_BYTES, 3 * 4 * shape.vocabulary * MOST_TOKENS)
    return shape.parameters * BYTES[dtype] + 16 * shape.adapter_parameters(r) + chunk + LIBRARIES_BYTES


def micro_batch_tokens(shape: ModelShape, dtype: str, *, r: int, memory_bytes: int, is_checkpointed: bool = True) -> int:
    """The token budget of a micro-batch on a device of so much memory; the least one where hardly anything is left."""
    left = USABLE * memory_bytes - fixed_bytes(shape, dtype, r=r)
    tokens = int(left / token_bytes(shape, dtype, r=r, is_checkpointed=is_checkpointed)) if left > 0 else 0
    return max(LEAST_TOKENS, min(MOST_TOKENS, tokens // ROUND_TOKENS * ROUND_TOKENS))


def _number(told: Mapping[str, Any], *names: str) -> int | None:
    return next((told[name] for name in names if isinstance(told.get(name), int)), None)

"""What lies on a device while a step runs, by part; and how many tokens a micro-batch may have there.

    weights      the base weights, in the numbers that the run multiplies
    adapter      its parameters in fp32; its gradients, as many; the optimizer's two moments, as many each
    activations  what the backward pass needs of the forward pass, for each token of a micro-batch: with checkpointing the input
                 of every layer and all of one layer, without it all of every layer; and the mask that keeps the examples of a
                 micro-batch from each other, which grows with the square of its tokens
    logits       the chunk that the loss visits (worker/training/loss.py); all of them where the head is more than one matrix
    libraries    what the driver, the libraries and the process itself take

Parameters, adapter and moments are counted. Activations are reckoned for decoders as most are built (two norms, attention, a
gated MLP), on purpose a little too large: too few tokens cost some speed, too many cost a step that is repeated in smaller
pieces.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from core.estimates.shape import ModelShape
from core.specs.job import Lora

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
CUDA_BYTES = 1 << 30
"""CUDA's context, kernels, cuBLAS and NCCL workspaces."""
CPU_BYTES = 600 << 20
"""A training process and its read-ahead process, before the weights come."""
CHUNK_LOGITS = 1 << 24
"""As the loss cuts them. Two such tensors of fp32 live at once: the logits and their logarithms."""
USABLE = 0.9
"""Share of the memory that is planned with; the rest goes to fragments."""
MARGIN = 1.2
"""What passes by within a layer, over what stays of it."""
LEAST_TOKENS, MOST_TOKENS = 512, 32768
"""Beyond so many tokens a GPU is busy anyhow."""
ROUND_TOKENS = 256
CPU_MICRO_BATCH_TOKENS = 512
"""On a CPU small packs cost no speed and spare memory."""


@dataclass(frozen=True)
class Adapter:
    """What is trained."""

    parameters: int
    tensors: int
    layers: int
    """Linear layers that it is put around."""
    r: int
    dropped: int = 0
    """Inputs of those layers, where dropout makes a copy of each."""


def adapter_of(shape: ModelShape, lora: Lora) -> Adapter:
    """Count what an adapter of this shape has; layers are told by the last part of their names."""
    targets = None if lora.target_modules == "all-linear" else {name.rpartition(".")[2] for name in lora.target_modules}
    layers = [each for each in shape.adapted if targets is None or each.name in targets]
    count = sum(each.count for each in layers)
    magnitudes = sum(each.sizes[0] * each.count for each in layers) if lora.use_dora else 0
    return Adapter(lora.r * sum(sum(each.sizes) * each.count for each in layers) + magnitudes,
                   count * (3 if lora.use_dora else 2), count, lora.r,
                   sum(each.sizes[1] * each.count for each in layers) if lora.dropout else 0)


@dataclass(frozen=True)
class Way:
    """How a device computes a run, as far as memory depends on it."""

    dtype: str
    is_cuda: bool

    @property
    def is_checkpointed(self) -> bool:
        """On a GPU a layer is computed twice rather than kept; on a CPU time is dearer than memory."""
        return self.is_cuda

    @property
    def size(self) -> int:
        return BYTES[self.dtype]


@dataclass(frozen=True)
class Memory:
    """Bytes, by part."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    libraries: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())

    @property
    def needed(self) -> int:
        """The memory that a device must have, for as much of it to be usable."""
        return math.ceil(self.total / USABLE)


def memory_of(shape: ModelShape, adapter: Adapter, way: Way, *, tokens: int, is_packed: bool = True) -> Memory:
    """What a step takes whose largest micro-batch has so many tokens, of several examples or of one."""
    return Memory(
        weights=shape.parameters * way.size, adapter=4 * adapter.parameters, gradients=4 * adapter.parameters,
        optimizer=8 * adapter.parameters + 4 * adapter.tensors, logits=logits_bytes(shape, tokens),
        activations=activation_bytes(shape, adapter, way, tokens=tokens, is_packed=is_packed),
        libraries=CUDA_BYTES if way.is_cuda else CPU_BYTES)


def activation_bytes(shape: ModelShape, adapter: Adapter, way: Way, *, tokens: int, is_packed: bool) -> int:
    """Of each layer that is kept, attention keeps the mask as numbers to add."""
    masks = 1 + way.size * (1 if way.is_checkpointed else shape.layers) if is_packed else 0
    return tokens * token_bytes(shape, adapter, way) + tokens * tokens * masks


def token_bytes(shape: ModelShape, adapter: Adapter, way: Way) -> int:
    """What one token of a micro-batch takes while a step runs, but for its share of the mask."""
    layer = layer_bytes(shape, adapter, way.size)
    kept = shape.layers * shape.hidden * way.size + layer if way.is_checkpointed else shape.layers * layer
    ends = shape.hidden * (4 + 3 * way.size)  # the embedding, the last norm, the slope towards the hidden states
    return int(MARGIN * (kept + ends))


def layer_bytes(shape: ModelShape, adapter: Adapter, size: int) -> int:
    """What one layer keeps of one token for its backward pass."""
    norms = 2 * shape.hidden * (4 + size)
    attention = (2 * shape.queries + 2 * shape.keys) * size
    mlp = 4 * shape.intermediate * size
    rotary = 2 * (shape.queries + shape.keys)
    trained = adapter.layers * adapter.r * size + adapter.dropped * (size + 1)
    return norms + attention + mlp + rotary + math.ceil(trained / shape.layers)


def logits_bytes(shape: ModelShape, tokens: int) -> int:
    logits = shape.vocabulary * tokens
    return 2 * 4 * (min(logits, max(CHUNK_LOGITS, shape.vocabulary)) if shape.has_plain_head else logits)


def micro_batch_tokens(shape: ModelShape, adapter: Adapter, way: Way, *, memory_bytes: int) -> int:
    """The token budget of a micro-batch on a device of so much memory; the least one where hardly anything is left."""
    if not way.is_cuda:
        return CPU_MICRO_BATCH_TOKENS
    fits = [tokens for tokens in range(LEAST_TOKENS, MOST_TOKENS + 1, ROUND_TOKENS)
            if memory_of(shape, adapter, way, tokens=tokens).needed <= memory_bytes]
    return max(fits, default=LEAST_TOKENS)

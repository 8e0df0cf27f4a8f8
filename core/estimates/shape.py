"""A base model's sizes, as far as memory depends on them: from its config.json and the headers of its *.safetensors.

No tensor is read, and no library of models is asked. The names of tensors tell the linear layers, which adapters are put
around, so the parameters of an adapter are counted, not guessed. Where no tensors are at hand, the layers are those of a
decoder as most are built: four of attention, three of a gated MLP.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

HEADER_LIMIT_BYTES = 100 << 20
EMBEDDINGS = ("embed", "wte", "wpe", "lm_head")
"""Parts of the names of tables that are looked up in, and of the head: none of them gets an adapter."""
SCALED_HEADS = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0, "lm_head_multiplier": 1.0}
"""Settings of heads that are more than one matrix, with the value that leaves them one."""


@dataclass(frozen=True)
class Linear:
    """Linear layers of one name and size."""

    name: str
    """Last part of their name: q_proj."""
    sizes: tuple[int, int]
    """Outputs and inputs, as the weight's tensor has them."""
    count: int


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
    has_plain_head: bool = True
    """Logits are one matrix product, so that a loss can visit them in chunks."""
    linears: tuple[Linear, ...] = ()
    """From the names of tensors; empty where only the config was at hand."""

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
            keys=(_number(told, "num_key_value_heads") or heads) * width, vocabulary=_number(told, "vocab_size") or 32000,
            has_plain_head=all(told.get(name) in (None, plain) for name, plain in SCALED_HEADS.items()))

    def with_tensors(self, tensors: Mapping[str, Sequence[int]]) -> ModelShape:
        """The same with its parameters and linear layers counted from the names and shapes of all tensors."""
        return replace(self, parameters=sum(map(math.prod, tensors.values())), linears=tuple(_linears(tensors)))

    @property
    def adapted(self) -> tuple[Linear, ...]:
        """The layers that an adapter on every linear layer is put around."""
        return self.linears or self._usual_linears()

    def _usual_linears(self) -> tuple[Linear, ...]:
        sizes = {"q_proj": (self.queries, self.hidden), "k_proj": (self.keys, self.hidden), "v_proj": (self.keys, self.hidden),
                 "o_proj": (self.hidden, self.queries), "gate_proj": (self.intermediate, self.hidden),
                 "up_proj": (self.intermediate, self.hidden), "down_proj": (self.hidden, self.intermediate)}
        return tuple(Linear(name, size, self.layers) for name, size in sizes.items())

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "linears": [[each.name, *each.sizes, each.count] for each in self.linears]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> ModelShape:
        linears = tuple(Linear(name, (outputs, inputs), count) for name, outputs, inputs, count in told["linears"])
        return cls(**{**told, "linears": linears})


def read_shape(folder: Path) -> ModelShape | None:
    """Read a base model's folder; None where it does not tell its sizes."""
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
        tensors = {name: shape for path in sorted(folder.glob("*.safetensors")) for name, shape in read_header(path).items()}
    except (OSError, ValueError):
        return None
    return ModelShape.from_config(config, 0).with_tensors(tensors) if isinstance(config, dict) and tensors else None


def read_header(path: Path) -> dict[str, list[int]]:
    """The shape of each tensor of a safetensors file: 8 bytes of length, then JSON. Raises ValueError for another file."""
    with open(path, "rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else HEADER_LIMIT_BYTES + 1
        if length > HEADER_LIMIT_BYTES:
            raise ValueError("the file does not start with a safetensors header")
        header = orjson.loads(file.read(length))
    try:
        return {name: told["shape"] for name, told in header.items() if name != "__metadata__"}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the safetensors header does not tell the shapes of tensors ({error!r})") from error


def _linears(tensors: Mapping[str, Sequence[int]]) -> Iterable[Linear]:
    found = Counter((name.split(".")[-2], *shape) for name, shape in tensors.items() if _is_adapted(name, shape))
    return (Linear(name, (outputs, inputs), count) for (name, outputs, inputs), count in sorted(found.items()))


def _is_adapted(name: str, shape: Sequence[int]) -> bool:
    """Experts are stacked into one tensor when a model is loaded, and are no linear layers then; nor is their router."""
    parts = name.split(".")
    if len(parts) < 2 or parts[-1] != "weight" or len(shape) != 2 or "experts" in parts or parts[-2] in ("gate", "router"):
        return False
    return not any(word in parts[-2] for word in EMBEDDINGS)


def _number(told: Mapping[str, Any], *names: str) -> int | None:
    return next((told[name] for name in names if isinstance(told.get(name), int)), None)

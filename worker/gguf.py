"""GGUF file → a model's folder: the weights dequantised once, the tokenizer and its chat template turned once.

transformers reads most GGUF architectures through `load_gguf_checkpoint`, and its way to a saved model takes some 30 s for 135
million parameters, nearly all of it spent on reading the same metadata four times and on building the table of tensor names
once a submodule (400 times); besides, the model it loads cannot be saved. So the pieces are used one by one, each once: about
8 s for the same bytes.

The weights are written as fp16: a quantised value is a small integer times an fp16 scale, which fp16 holds to 2^-11 (bf16 to
2^-8 only), in half the space of fp32. A weight beyond fp16's range makes the whole file fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer, get_gguf_tokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from core.errors import ConfigurationError

Progress = Callable[[str, int, int], None]
"""(phase, done, of)."""


def convert_gguf(file: Path, folder: Path, report: Progress) -> None:
    """Write `file`'s model into `folder`.

    Raises ConfigurationError for an architecture that transformers does not read from GGUF.
    """
    report("reading metadata", 0, 4)
    config = _config(file)
    report("turning the tokenizer", 1, 4)
    tokenizer = read_tokenizer(file)
    tokenizer.save_pretrained(folder)
    report("reading weights", 2, 4)
    weights = _weights(file, config)
    report("writing weights", 3, 4)
    _save_weights(weights, config, folder)
    _save_configuration(config, tokenizer, folder)
    report("writing weights", 4, 4)


def _config(file: Path) -> Any:
    try:
        told = load_gguf_checkpoint(str(file), return_tensors=False)["config"]
    except (ValueError, NotImplementedError) as error:
        raise ConfigurationError(f"{file} cannot be converted: {error}; convert it to safetensors elsewhere and use "
                                 "--path") from error
    told.pop("_model_name_or_path", None)
    return AutoConfig.for_model(**told)


def read_tokenizer(file: Path) -> PreTrainedTokenizerFast:
    architecture, told, settings = get_gguf_tokenizer(str(file))
    backend, more = convert_gguf_tokenizer(architecture, told)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{**settings, **more})


def _weights(file: Path, config: Any) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config.architectures = [type(model).__name__]
    names = _Names(config, list(model.state_dict()), model.base_model_prefix)
    found = load_gguf_checkpoint(str(file), return_tensors=True, model_to_load=names)["tensors"]
    tied = set(model.all_tied_weights_keys)
    missing = sorted(set(dict(model.named_parameters())) - set(found) - tied)
    if missing:
        raise ConfigurationError(f"{file} has no weights for {missing[0]} ({len(missing)} names in all are missing); "
                                 "convert it to safetensors elsewhere and use --path")
    return {name: tensor for name, tensor in found.items() if name not in tied}


class _Names:
    """The names of a model's weights, and of those below its base model, as `load_gguf_checkpoint` asks a module for them."""

    def __init__(self, config: Any, names: list[str], prefix: str) -> None:
        self.config = config
        self._names, self._prefix = names, prefix

    def state_dict(self) -> dict[str, None]:
        return dict.fromkeys(self._names)

    def named_children(self) -> Iterator[tuple[str, _Names]]:
        start = self._prefix + "."
        below = [name.removeprefix(start) for name in self._names if self._prefix and name.startswith(start)]
        if below:
            yield self._prefix, _Names(self.config, below, "")


def _save_weights(weights: dict[str, torch.Tensor], config: Any, folder: Path) -> None:
    largest = max(float(t.abs().max()) for t in weights.values())
    config.dtype = torch.float16 if largest < torch.finfo(torch.float16).max else torch.float32
    path = folder / "model.safetensors"
    save_file({name: t.to(config.dtype).contiguous() for name, t in weights.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _save_configuration(config: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
               "pad_token_id": tokenizer.pad_token_id}
    for name, value in special.items():
        setattr(config, name, value)
    config.save_pretrained(folder)
    GenerationConfig(**special).save_pretrained(folder)

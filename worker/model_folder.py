"""What a base model's folder may hold: configuration, safetensors, tokenizer. Data, never code.

`check_model_folder` refuses anything that could run when a model is loaded: Python files, pickles under any of their usual
names, and an `auto_map` that names classes to fetch. `describe` tells what the operator's list shows, from the headers of the
files alone: no tensor is read, and neither torch nor transformers is imported.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.errors import ConfigurationError, shown
from core.estimates.shape import ModelShape, read_header
from core.storage.manifest import file_digest

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack")
CODE = (".py", ".pyc", ".so", ".sh")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
KEPT = ("config.json", "generation_config.json", "model.safetensors.index.json", *TOKENIZER_FILES)
"""Beside *.safetensors, all that a base model's folder needs."""


@dataclass(frozen=True)
class ModelFacts:
    architecture: str
    parameters: int
    context_length: int
    has_chat_template: bool
    digest: str
    """SHA-256 over the names and digests of the folder's files: the same content has the same digest anywhere."""
    bytes: int
    shape: dict[str, Any]
    """The sizes that memory depends on (`core.estimates.shape.ModelShape` as JSON)."""


def check_model_folder(folder: Path) -> None:
    """Raise ConfigurationError unless `folder` is a whole base model without anything that runs."""
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder; name one that holds config.json and *.safetensors")
    for path in sorted(folder.rglob("*")):
        _refuse_what_runs(path)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise ConfigurationError(f"{folder} has no {name}; save the model again with its tokenizer "
                                     "(save_pretrained of both into one folder)")
    if not any(folder.glob("*.safetensors")):
        raise ConfigurationError(f"{folder} has no *.safetensors; save the model again with save_pretrained")
    for name in ("config.json", "tokenizer_config.json"):
        if "auto_map" in _read_object(folder / name):
            raise ConfigurationError(f"{folder / name} has an auto_map, which loads code of the model's own; only models "
                                     "that transformers knows by itself are taken: remove auto_map if this is one")
    _architecture(folder)


def describe(folder: Path) -> ModelFacts:
    """Read the facts of a checked folder."""
    config = _read_object(folder / "config.json")
    shape = _shape(folder, config)
    digest = hashlib.sha256()
    files = sorted(p for p in folder.iterdir() if p.is_file())
    for path in files:
        digest.update(f"{path.name}\0{file_digest(path)}\n".encode())
    return ModelFacts(
        architecture=_architecture(folder),
        parameters=shape.parameters,
        context_length=context_length(config),
        has_chat_template=has_chat_template(folder),
        digest=digest.hexdigest(),
        bytes=sum(p.stat().st_size for p in files),
        shape=shape.to_json(),
    )


def context_length(config: dict[str, Any]) -> int:
    """The longest input, under whichever name the architecture gives it; 2,048 where it gives none."""
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx"):
        if isinstance(config.get(name), int):
            return config[name]
    nested = config.get("text_config")
    return context_length(nested) if isinstance(nested, dict) else 2048


def has_chat_template(folder: Path) -> bool:
    return (folder / "chat_template.jinja").is_file() or bool(
        _read_object(folder / "tokenizer_config.json").get("chat_template"))


def _refuse_what_runs(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in CODE:
        raise ConfigurationError(f"{path} is code; a base model is configuration, safetensors and a tokenizer: "
                                 "remove it, or choose a model that needs none")
    if suffix in PICKLES:
        raise ConfigurationError(f"{path} can hold a pickle, which runs code when it is read; convert the weights to "
                                 "*.safetensors and remove it")


def _architecture(folder: Path) -> str:
    named = _read_object(folder / "config.json").get("architectures")
    if not isinstance(named, list) or not named or not isinstance(named[0], str):
        raise ConfigurationError(f"{folder / 'config.json'} has architectures {shown(named)}; a list with one causal "
                                 "language model's class was expected: save the model again with save_pretrained")
    return named[0]


def _shape(folder: Path, config: dict[str, Any]) -> ModelShape:
    tensors: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            tensors |= read_header(path)
        except ValueError as error:
            raise ConfigurationError(f"{path} has no safetensors header that can be read ({error}); copy the file again"
                                     ) from error
    return ModelShape.from_config(config, 0).with_tensors(tensors)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        told = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); copy the file again") from error
    if not isinstance(told, dict):
        raise ConfigurationError(f"{path} holds {shown(told)}; a JSON object was expected: copy the file again")
    return told

"""Words of a command line → the body of a job's request.

A body begins with a file (`--spec`), named options are laid over it, and `--set` over both: so any field of a request can be
given, with or without an option of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from cli.client import Client
from cli.datasets import find_dataset
from cli.errors import CommandRefused


def given(**fields: Any) -> dict[str, Any]:
    """Keep what was said."""
    return {name: value for name, value in fields.items() if value is not None}


def read_spec(path: Path | None) -> dict[str, Any]:
    """Read a request from a JSON file, `-` for standard input; nothing for no file."""
    if path is None:
        return {}
    try:
        told = orjson.loads(sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes())
    except OSError as error:
        raise CommandRefused(f"--spec {str(path)!r} cannot be read ({error.strerror}); name a JSON file") from None
    except orjson.JSONDecodeError as error:
        raise CommandRefused(f"--spec {str(path)!r} holds no JSON ({error.msg}, line {error.lineno})") from None
    if not isinstance(told, dict):
        raise CommandRefused(f"--spec {str(path)!r} holds no JSON object; write the body of POST /v1/fine_tuning/jobs")
    return told


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay fields over others, objects field by field."""
    joined = dict(below)
    for name, value in above.items():
        under = joined.get(name)
        joined[name] = laid_over(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return joined


def assigned(text: str) -> dict[str, Any]:
    """Read FIELD=VALUE, where a dot leads into an object and the value is JSON, or else a text."""
    path, is_there, value = text.partition("=")
    if not is_there or not all(path.split(".")):
        raise CommandRefused(f"--set is {text!r}; FIELD=VALUE was expected, such as options.warmup_ratio=0.1")
    *objects, field = path.split(".")
    try:
        told: dict[str, Any] = {field: orjson.loads(value)}
    except orjson.JSONDecodeError:
        told = {field: value}
    for name in reversed(objects):
        told = {name: told}
    return told


def weighted(client: Client, text: str, *, option: str = "--dataset") -> dict[str, Any]:
    """Read NAME[@VERSION][:WEIGHT[:EPOCHS]]."""
    named, weight, epochs, *more = [*text.split(":"), "", ""]
    name, _, version = named.partition("@")
    try:
        if any(more):
            raise ValueError(text)
        numbers = given(version=int(version) if version else None, weight=float(weight) if weight else None,
                        epochs=int(epochs) if epochs else None)
    except ValueError:
        raise CommandRefused(f"{option} is {text!r}; NAME, NAME@VERSION, NAME:WEIGHT or NAME@VERSION:WEIGHT:EPOCHS was "
                             "expected, such as wiki@2:0.3") from None
    return {"dataset": find_dataset(client, name)["id"], **numbers}


def scheduled(text: str) -> dict[str, Any]:
    """Read STEP:NAME=WEIGHT,NAME=WEIGHT…: weights that hold from a step on."""
    step, _, weights = text.partition(":")
    try:
        return {"from_step": int(step), "weights": {name: float(weight) for name, weight in map(_pair, weights.split(","))}}
    except ValueError:
        raise CommandRefused(f"--schedule is {text!r}; STEP:NAME=WEIGHT,NAME=WEIGHT was expected, such as "
                             "300:wiki=0.5,web=0.5") from None


def labelled(text: str) -> tuple[str, str]:
    """Read KEY=VALUE."""
    try:
        return _pair(text)
    except ValueError:
        raise CommandRefused(f"--metadata is {text!r}; KEY=VALUE was expected, such as owner=ada") from None


def _pair(text: str) -> tuple[str, str]:
    name, is_there, value = text.rpartition("=")
    if not is_there or not name:
        raise ValueError(text)
    return name, value

"""How long a job will hold its devices, from what it did itself or from what others of its kind did. Pure.

A job that has trained a step goes on at its own pace: its seconds per step, stretched by what came between its steps. One that
never ran has a plan (rows, passes, bytes of a row) and, if its model was trained before on that kind of device, a measured
speed: its tokens are the bytes that it will read, at the tokens that the model made of a byte, and its time is those at the
tokens per second of those runs. Loading is added to both. Without a measurement nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Speed:
    """What runs of one model on one kind of device did."""

    tokens_per_second: float
    """By the clock, evaluations and saves included."""
    tokens_per_byte: float
    load_seconds: float
    """From the claim to the first step."""
    runs: int
    """How many runs it was measured on."""


def plan_bytes(resolved: Mapping[str, Any] | None) -> float | None:
    """Bytes of stored rows that a whole job reads, by its plan; None for a plan that does not tell."""
    told = resolved or {}
    rows, size = (told.get("total_steps") or 0) * (told.get("batch_size") or 0), told.get("row_bytes")
    passes = (told.get("rows") or 0) * (told.get("n_epochs") or 0)
    rows = min(rows, passes) or rows  # the last step of an epoch may be short
    return rows * size if rows and size else None


def plan_tokens(resolved: Mapping[str, Any] | None, speed: Speed) -> float | None:
    """Tokens that a whole job trains on, as far as its plan and its model tell."""
    size = plan_bytes(resolved)
    return size * speed.tokens_per_byte if size is not None else None


def by_speed(resolved: Mapping[str, Any] | None, speed: Speed | None) -> float | None:
    """Seconds of a job that never ran."""
    tokens = plan_tokens(resolved, speed) if speed is not None else None
    if speed is None or tokens is None or speed.tokens_per_second <= 0:
        return None
    return speed.load_seconds + tokens / speed.tokens_per_second


def by_itself(seconds_left: float | None, speed: Speed | None) -> float | None:
    """Seconds of a job that trains again, with its loading."""
    return None if seconds_left is None else seconds_left + (speed.load_seconds if speed is not None else 0.0)

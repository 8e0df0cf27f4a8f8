"""The tests' base model: the built-in tiny one, made once a test run and copied never."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from worker.tiny_base import make_tiny_base


@functools.cache
def tiny_base() -> Path:
    """A folder with the tiny base model; it is the same for all tests, so none may write into it."""
    folder = Path(_kept().name) / "tiny"
    make_tiny_base(folder)
    return folder


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="headrace-tiny-")

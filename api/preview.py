"""What a model will see of some rows: a short process of `core.data`, few at a time, with a short queue before them, so that
waiting previews never hold the threads that other requests need."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.data.preview import preview_rows as ask
from core.data.spec import SourceSpec
from core.errors import DataError, LimitReached, shown
from core.models.models import Model

AT_ONCE = 2
WAITING = 6
WAIT_SECONDS = 10.0
TIMEOUT_SECONDS = 10.0

_places = threading.BoundedSemaphore(AT_ONCE)
_queue = threading.BoundedSemaphore(AT_ONCE + WAITING)


def preview_rows(source: SourceSpec, base: Model, *, first_row: int, rows: int, max_length: int) -> dict[str, Any]:
    """Render and encode rows with the base model's own template and tokenizer; raise LimitReached when too many ask."""
    with _held(_queue, 0.0), _held(_places, WAIT_SECONDS):
        return _preview(source, base, first_row=first_row, rows=rows, max_length=max_length)


@contextmanager
def _held(places: threading.BoundedSemaphore, wait_seconds: float) -> Iterator[None]:
    if not places.acquire(timeout=wait_seconds):
        raise LimitReached(f"{AT_ONCE} previews are being made, the most at a time, and others wait; try again in a moment",
                           retry_after_seconds=2)
    try:
        yield
    finally:
        places.release()


def _preview(source: SourceSpec, base: Model, *, first_row: int, rows: int, max_length: int) -> dict[str, Any]:
    try:
        return ask({"source": dataclasses.asdict(source), "tokenizer_path": base.folder, "max_length": max_length,
                    "first": first_row, "count": rows, "sample": 0}, timeout_seconds=TIMEOUT_SECONDS)
    except DataError as error:  # which names the model by the operator's folder
        raise DataError(error.message.replace(str(base.folder), shown(base.name)), code=error.code) from None

"""What a model will see of some rows: a short process of `core.data`, few at a time, with a short queue before them, so that
waiting previews never hold the threads that other requests need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from core.data.preview import measure_lengths as ask_lengths
from core.data.preview import preview_rows as ask_preview
from core.data.spec import Places, SourceSpec
from core.errors import DataError, LimitReached, shown
from core.jobs.stream_spec import DEFAULT_MAX_LENGTH
from core.models.models import Model

AT_ONCE = 2
WAITING = 6
WAIT_SECONDS = 10.0
TIMEOUT_SECONDS = 10.0
LENGTHS_SECONDS = 25.0
MOST_SAMPLED = 2000

_at_once = threading.BoundedSemaphore(AT_ONCE)
_queue = threading.BoundedSemaphore(AT_ONCE + WAITING)


def preview_rows(source: SourceSpec, base: Model, *, folder: str, first_row: int, rows: int, max_length: int, places: Places
                 ) -> dict[str, Any]:
    """Render and encode rows with the base model's own template and tokenizer; raise LimitReached when too many ask."""
    asked = {"max_length": max_length, "first": first_row, "count": rows}
    return _asked(ask_preview, source, base, folder, asked, places, timeout_seconds=TIMEOUT_SECONDS)


def measure_lengths(source: SourceSpec, base: Model, *, folder: str, max_length: int | None, sample: int, places: Places
                    ) -> dict[str, Any]:
    """Measure rows in the base model's tokens; raise LimitReached when too many ask.

    Without `max_length`, too long is what a job that names none would cut."""
    context = int((base.facts or {}).get("context_length") or DEFAULT_MAX_LENGTH)
    asked = {"max_length": max_length or min(context, DEFAULT_MAX_LENGTH), "sample": sample}
    told = _asked(ask_lengths, source, base, folder, asked, places, timeout_seconds=LENGTHS_SECONDS)
    return {"object": "dataset.lengths", "model": base.name, "context_length": context, **told}


def _asked(ask: Callable[..., dict[str, Any]], source: SourceSpec, base: Model, folder: str, asked: dict[str, Any],
           places: Places, *, timeout_seconds: float) -> dict[str, Any]:
    with _held(_queue, 0.0), _held(_at_once, WAIT_SECONDS):
        try:
            told = {"source": source.to_json(), "tokenizer_path": folder, **asked}
            return ask({**told, "places": places.to_json()} if places.by_name else told, timeout_seconds=timeout_seconds)
        except DataError as error:  # which names the model by the operator's folder
            raise DataError(error.message.replace(folder, shown(base.name)), code=error.code) from None


@contextmanager
def _held(places: threading.BoundedSemaphore, wait_seconds: float) -> Iterator[None]:
    if not places.acquire(timeout=wait_seconds):
        raise LimitReached(f"{AT_ONCE} previews are being made, the most at a time, and others wait; try again in a moment",
                           retry_after_seconds=2)
    try:
        yield
    finally:
        places.release()

"""What a model will see of some rows: a short process of `core.data`, few at a time."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

from core.data.preview import preview_rows as ask
from core.data.spec import SourceSpec
from core.errors import DataError, LimitReached, shown
from core.models.models import Model

AT_ONCE = 2
WAIT_SECONDS = 10.0
TIMEOUT_SECONDS = 10.0

_places = threading.BoundedSemaphore(AT_ONCE)


def preview_rows(source: SourceSpec, base: Model, *, first_row: int, rows: int, max_length: int) -> dict[str, Any]:
    """Render and encode rows with the base model's own template and tokenizer; raise LimitReached when too many ask."""
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise LimitReached(f"{AT_ONCE} previews are being made, the most at a time; try again in a moment",
                           retry_after_seconds=2)
    try:
        return ask({"source": dataclasses.asdict(source), "tokenizer_path": base.folder, "max_length": max_length,
                    "first": first_row, "count": rows, "sample": 0}, timeout_seconds=TIMEOUT_SECONDS)
    except DataError as error:  # which names the model by the operator's folder
        raise DataError(error.message.replace(str(base.folder), shown(base.name)), code=error.code) from None
    finally:
        _places.release()

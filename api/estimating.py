"""The lengths behind an estimate: measured by the preview's short processes, and remembered, since versions never change."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import orjson
from xxhash import xxh3_64_intdigest

from api.preview import measure_lengths
from core.data.spec import Places, SourceSpec
from core.estimates.service import SAMPLED_ROWS
from core.models.folders import fetch_folder
from core.models.models import Model
from core.storage.artifacts import Artifacts

REMEMBERED = 256


class Lengths:
    """Called with a source, a base model and a `max_length`; raises LimitReached while too many are being measured."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._known: OrderedDict[tuple[int, str, int], dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, source: SourceSpec, base: Model, max_length: int, *, places: Places) -> dict[str, Any]:
        key = xxh3_64_intdigest(orjson.dumps(source.to_json())), base.digest or base.name, max_length
        with self._lock:
            if key in self._known:
                return self._known[key]
        told = measure_lengths(source, base, folder=fetch_folder(base, self._artifacts), max_length=max_length,
                               sample=SAMPLED_ROWS, places=places)
        with self._lock:
            self._known[key] = told
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return told

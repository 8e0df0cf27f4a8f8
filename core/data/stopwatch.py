"""Where the seconds of a step go, stage by stage: two looks at the clock for each stage of a step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from core.data.spec import Loading


class CountsParsing(Protocol):
    parsing_seconds: float
    """Spent on parsing and checking rows, of the seconds that reading them took."""
    place: str


class CountsReference(Protocol):
    by_reference: int


class Stopwatch:
    def __init__(self, reader: CountsParsing, encoder: CountsReference) -> None:
        self._reader = reader
        self._encoder = encoder
        self.start()

    def start(self) -> None:
        """Begin a step."""
        self._seconds = {"reading": 0.0, "rendering": 0.0, "tokenising": 0.0}
        self._parsing, self._by_reference = self._reader.parsing_seconds, self._encoder.by_reference

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - started

    def read(self) -> Loading:
        parsing = self._reader.parsing_seconds - self._parsing
        seconds = self._seconds | {"reading": self._seconds["reading"] - parsing, "parsing": parsing}
        return Loading(**seconds, place=self._reader.place, by_reference=self._encoder.by_reference - self._by_reference)

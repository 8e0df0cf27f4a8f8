"""Rows at fault that are skipped while training: counted in the order of the steps, each once, up to the limit; those that were
skipped before a resume or a change of the mixture count too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.data.row_set import RowSet
from core.data.spec import Hole, SourceSpec
from core.errors import DataError


class BadRows:
    """Those that a job has skipped; `most` is how many it may, None any number."""

    def __init__(self, most: int | None, sources: Sequence[SourceSpec], skipped: RowSet | None = None) -> None:
        self._most = most
        self._sources = sources
        self._seen = skipped or RowSet()

    def check(self, faults: Iterable[Hole]) -> None:
        """Count the rows at fault of a step; raises DataError for the first that is one too many."""
        if self._most is None:
            return
        for hole in faults:
            self._seen = self._seen.with_rows([hole.ref])
            if len(self._seen) > self._most:
                raise _one_too_many(hole, self._most, self._sources)


def refusal(hole: Hole, sources: Sequence[SourceSpec]) -> DataError:
    """What is said of a row at fault where none may be skipped."""
    return DataError(f"line {hole.line:,} of {_place(hole, sources)} cannot be trained on: {hole.reason}; correct the "
                     "row and register the data again, or submit with on_bad_row 'skip'")


def _one_too_many(hole: Hole, most: int, sources: Sequence[SourceSpec]) -> DataError:
    return DataError(f"more rows than the {most:,} that may be skipped cannot be trained on; the last "
                     f"one is line {hole.line:,} of {_place(hole, sources)}: {hole.reason}; correct the rows and register the "
                     "data again, or raise options.max_bad_rows", code="too_many_bad_rows")


def _place(hole: Hole, sources: Sequence[SourceSpec]) -> str:
    name = sources[hole.ref.source].name
    return f"source '{name}'" + (f", file '{hole.file}'," if hole.file != name else "")

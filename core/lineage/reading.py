"""The rows behind a step: recomputed from the stream, read again, and held against the digest of those trained on.

A step has at most a few hundred slots. Those asked for are read and given; to check the digest, all others are read too, one at
a time, while they stay under `MOST_CHECKED_BYTES`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.data.asking import ask, must_ask, serve
from core.data.proof import step_digest
from core.data.rows import BadRow, RowReader
from core.data.spec import Due, Places, RowRef, StreamSpec
from core.errors import DataError, NotFound

MOST_CHECKED_BYTES = 256 * 1024 * 1024
PAGE_BYTES = 4 * 1024 * 1024
"""A page ends early rather than hold more than this, but for a single row."""


@dataclass(frozen=True)
class SlotRow:
    """What a step drew in one of its slots."""

    slot: int
    source: str
    row: int
    file: str
    line: int
    is_trained: bool
    """False for a hole: a row that the step did without."""
    loss: float | None
    """Mean over the row's trained tokens, before the update that the step made."""
    content: dict[str, Any] | None
    error: str | None
    """Why the row cannot be read now."""


@dataclass(frozen=True)
class StepView:
    epoch: float
    slot_count: int
    verified: bool | None
    """Whether the rows, read now, are those that were trained on, by their digest; None when they are too large to read all."""
    rows: list[SlotRow]
    has_more: bool


def show_step(stream: StreamSpec, step: int, *, digest: str, losses: bytes, after: int | None, limit: int, places: Places,
              timeout_seconds: float) -> StepView:
    """Read the slots behind number `after`, at most `limit` of them, here or in a short process; raise NotFound when the data
    are there no more, Unavailable when reading them took too long."""
    if not any(map(must_ask, stream.sources)):
        return read_step(stream, step, digest=digest, losses=losses, after=after, limit=limit)
    told = {"stream": stream.to_json(), "step": step, "digest": digest, "losses": losses.hex(), "after": after, "limit": limit,
            "places": places.to_json()}
    try:
        view = ask("core.lineage.reading", told, timeout_seconds=timeout_seconds)
    except DataError as error:
        raise NotFound(error.message, code="rows_gone") from None
    return StepView(**{**view, "rows": [SlotRow(**row) for row in view["rows"]]})


def read_step(stream: StreamSpec, step: int, *, digest: str, losses: bytes, after: int | None, limit: int,
              places: Places | None = None) -> StepView:
    """Read them here; raise NotFound when the data are there no more."""
    # imported late: whoever asks for no rows needs no indexes
    from core.data.pipeline.timetable import Timetable

    found = np.frombuffer(losses, "<f4")
    try:
        with RowReader(stream.sources, places) as reader:
            due = Timetable(stream, reader.indexes).due(step)
            page = _Page(stream, reader, found)
            rows, has_more = page.read(due, 0 if after is None else after + 1, limit)
            return StepView(due.epoch, len(due.rows), _is_proved(reader, due, found, digest), rows, has_more)
    except (DataError, OSError) as error:
        raise NotFound(f"the rows behind step {step:,} cannot be read: {error}", code="rows_gone") from None


class _Page:
    def __init__(self, stream: StreamSpec, reader: RowReader, losses: np.ndarray) -> None:
        self._names = [source.name for source in stream.sources]
        self._reader, self._losses = reader, losses

    def read(self, due: Due, first: int, limit: int) -> tuple[list[SlotRow], bool]:
        rows: list[SlotRow] = []
        taken = 0
        for slot in range(first, min(first + limit, len(due.rows))):
            taken += self._reader.size(due.rows[slot])
            if rows and taken > PAGE_BYTES:
                break
            rows.append(self._row(slot, due.rows[slot]))
        return rows, first + len(rows) < len(due.rows)

    def _row(self, slot: int, ref: RowRef) -> SlotRow:
        file, line = self._reader.where(ref)
        loss = float(self._losses[slot]) if slot < len(self._losses) else float("nan")
        read = self._reader.read_many([ref])[0]
        is_bad = isinstance(read, BadRow)
        return SlotRow(slot, self._names[ref.source], ref.row, file, line, loss == loss, loss if loss == loss else None,
                       None if is_bad else read.value, read.message if is_bad else None)


def _is_proved(reader: RowReader, due: Due, losses: np.ndarray, digest: str) -> bool | None:
    if len(losses) != len(due.rows):
        return False
    trained = [ref for ref, loss in zip(due.rows, losses, strict=True) if loss == loss]
    if sum(reader.size(ref) for ref in trained) > MOST_CHECKED_BYTES:
        return None
    try:
        return f"{step_digest((ref, reader.read(ref).digest) for ref in trained):016x}" == digest
    except BadRow:
        return False



def _shown(told: dict[str, Any]) -> dict[str, Any]:
    view = read_step(StreamSpec.from_json(told["stream"]), told["step"], digest=told["digest"],
                     losses=bytes.fromhex(told["losses"]), after=told["after"], limit=told["limit"],
                     places=Places.from_json(told["places"]))
    return asdict(view)


if __name__ == "__main__":
    sys.exit(serve(_shown))

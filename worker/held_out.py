"""The rows to evaluate on, after each step those of the sources that have joined by then.

A run of one rank opens local files once, and anew when a source has joined, and reads them in its own process: batches are
small beside a forward pass. Another process reads them anew in each evaluation where they lie in places, since the training
process is to wait for no network while it computes and to import nothing that speaks to one; and where several ranks share
them, which are read and tokenised once for all ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.data.ahead import ReadAhead
from core.data.held_out import held_out_rows, joined_by
from core.data.row_set import RowSet
from core.data.spec import Batch, Position, StreamSpec
from worker.feed import Open

if TYPE_CHECKING:
    from core.data.pipeline.stream import Stream


@dataclass(frozen=True)
class HeldOut:
    """What one evaluation reads; batches number the sources as `sources` names them."""

    sources: tuple[str, ...]
    batches: Iterator[Batch]


class HeldOutRows:
    """Call it for what is evaluated on after a step. Not for several evaluations at once; `interrupt` from any thread.

    `share` gives the stream of a rank's own share, for what this process reads itself."""

    def __init__(self, stream_at: Callable[[int], StreamSpec], open_ahead: Open, *, is_read_elsewhere: bool,
                 share: Callable[[StreamSpec], StreamSpec] = lambda stream: stream) -> None:
        self._stream_at, self._open_ahead, self._share = stream_at, open_ahead, share
        self._is_read_elsewhere = is_read_elsewhere
        self._told: StreamSpec | None = None
        self._near: Stream | None = None
        self._ahead: ReadAhead | None = None

    def __call__(self, step: int) -> HeldOut:
        """Raises DataError for what cannot be opened."""
        told = self._stream_at(step)
        batches = self._far(told) if self._is_far(told) else self._opened(told).batches(Position())
        return HeldOut(tuple(source.name for source in told.sources), batches)

    def open(self, step: int) -> None:
        """Open what this process reads beforehand, so that a run which cannot evaluate says so at its start."""
        if not self._is_far(told := self._stream_at(step)):
            self._opened(told)

    def interrupt(self) -> None:
        """Let nobody wait for a batch; harmless when there is none."""
        if (ahead := self._ahead) is not None:
            ahead.interrupt()

    def close(self) -> None:
        if self._near is not None:
            self._near.close()

    def _is_far(self, told: StreamSpec) -> bool:
        return self._is_read_elsewhere or bool(told.place_names)

    def _opened(self, told: StreamSpec) -> Stream:
        """The stream that this process reads, opened anew where it is another one than before."""
        from core.data.pipeline import open_stream

        if self._near is None or told != self._told:
            self.close()
            self._told, self._near = told, open_stream(self._share(told))
        return self._near

    def _far(self, told: StreamSpec) -> Iterator[Batch]:
        with self._open_ahead(told, Position(), RowSet()) as ahead:
            self._ahead = ahead
            try:
                yield from ahead
            finally:
                self._ahead = None


def stream_after(told: StreamSpec, train: StreamSpec, step: int) -> StreamSpec:
    """What is evaluated on after a step: as it was told at the start, or the split of more sources, once some have joined."""
    if told.part == "whole" or len(joined_by(train, step)) == len(told.sources):
        return told
    return held_out_rows(train, step)

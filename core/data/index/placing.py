"""Where each row lies, packed into 64 bits: blocks come in, the arrays `offsets`, `blanks` and `gaps` are written.

A word holds where the row starts (48 bits: files up to 256 TB) and how many bytes lie between its end and the start of
the next row (16 bits): the line ending, and blank lines. So the end of a row is known without looking into the file.
"""

from __future__ import annotations

import numpy as np

from core.data.index.files import OFFSET_BITS, SATURATED, IndexWriter
from core.data.index.lines import Block

_NONE = np.zeros(0, np.int64)


class RowPlacer:
    """Holds back the last row of each block, whose gap only the next block tells."""

    def __init__(self, writer: IndexWriter) -> None:
        self._writer = writer
        self._placed = 0
        self._has_blanks = False
        self._start = self._end = self._blanks = _NONE
        self._line = np.array([-1])

    def place(self, block: Block) -> None:
        starts = np.concatenate([self._start, block.starts])
        ends = np.concatenate([self._end, block.ends])
        blanks = np.concatenate([self._blanks, np.diff(block.lines, prepend=self._line) - 1])
        self._write(starts[:-1], starts[1:] - ends[:-1], blanks[:-1])
        self._start, self._end, self._blanks, self._line = starts[-1:], ends[-1:], blanks[-1:], block.lines[-1:]

    def finish(self, file_bytes: int) -> None:
        """Write the row held back, which ends before the end of the file."""
        self._write(self._start, file_bytes - self._end, self._blanks)

    def _write(self, starts: np.ndarray, gaps: np.ndarray, blanks: np.ndarray) -> None:
        words = starts.astype(np.uint64) | (np.minimum(gaps, SATURATED).astype(np.uint64) << np.uint64(OFFSET_BITS))
        self._writer.append("offsets", words)
        wide = np.flatnonzero((gaps >= SATURATED) | (blanks >= SATURATED))
        self._writer.append("gaps", np.stack([wide + self._placed, gaps[wide], blanks[wide]], axis=1))
        self._write_blanks(np.minimum(blanks, SATURATED))
        self._placed += len(starts)

    def _write_blanks(self, blanks: np.ndarray) -> None:
        """Write nothing as long as no row has a blank line before it."""
        if not self._has_blanks and blanks.any():
            self._has_blanks = True
            for start in range(0, self._placed, 1 << 20):
                self._writer.append("blanks", np.zeros(min(1 << 20, self._placed - start), np.uint16))
        if self._has_blanks:
            self._writer.append("blanks", blanks)

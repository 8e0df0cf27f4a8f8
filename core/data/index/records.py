"""Where CSV records end: RFC 4180, read as Python's own `csv` module reads it.

A line feed ends a record unless it stands in quotes. Quotes are counted, not walked through: inside is where their number so
far is odd. That is right as long as each quote that opens stands behind a delimiter or a line feed, and each that closes before
one; where a piece of the file has others (`5" disk`), it is walked through field by field.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

_QUOTE, _FEED, _RETURN = b'"\n\r'
State = Literal["start", "plain", "quoted", "closing"]
"""Of a field: before its first byte, in one without quotes, inside quotes, just behind a quote that may close it."""


class RecordEnds:
    """Finds ends piece by piece; what one piece leaves open is known to the next."""

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter[0]
        self._border = re.compile(rb"[\n" + re.escape(delimiter) + rb"]")
        self._state: State = "start"
        self._lines = 0

    def __call__(self, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the line feeds in the piece that end records, and for each how many lines have ended with it: int64 both."""
        feeds = np.flatnonzero(piece == _FEED)
        quotes = np.flatnonzero(piece == _QUOTE)
        if len(quotes) or self._state != "start":
            ends = self._counted(piece, quotes, feeds) if self._is_regular(piece, quotes) else self._walked(piece.tobytes())
        else:
            ends = feeds
            self._state = self._last(piece)
        lines = self._lines + np.searchsorted(feeds, ends, side="right")
        self._lines += len(feeds)
        return ends, lines

    def _is_regular(self, piece: np.ndarray, quotes: np.ndarray) -> bool:
        """Tell whether counting the quotes of the piece finds what walking would."""
        opens = (np.arange(len(quotes)) + (self._state == "quoted")) % 2 == 0
        opening, closing = quotes[opens], quotes[~opens]
        before = piece[np.maximum(opening - 1, 0)]
        fits_before = (before == self._delimiter) | (before == _FEED) | (before == _QUOTE)
        if len(opening) and opening[0] == 0:
            fits_before[0] = self._state in ("start", "closing")
        after = piece[np.minimum(closing + 1, len(piece) - 1)]
        fits_after = (after == self._delimiter) | (after == _FEED) | (after == _RETURN) | (after == _QUOTE)
        fits_after |= closing == len(piece) - 1
        return bool(fits_before.all() and fits_after.all())

    def _counted(self, piece: np.ndarray, quotes: np.ndarray, feeds: np.ndarray) -> np.ndarray:
        was_quoted = self._state == "quoted"
        outside = (np.searchsorted(quotes, feeds) + was_quoted) % 2 == 0
        self._state = "quoted" if (len(quotes) + was_quoted) % 2 else self._last(piece)
        return feeds[outside]

    def _last(self, piece: np.ndarray) -> State:
        """The state behind the piece's last byte, which is not inside quotes."""
        last = piece[-1]
        return "start" if last in (self._delimiter, _FEED) else "closing" if last == _QUOTE else "plain"

    def _walked(self, text: bytes) -> np.ndarray:
        ends: list[int] = []
        at, state = 0, self._state
        while at < len(text):
            if state == "quoted":
                found = text.find(b'"', at)
                at, state = (len(text), "quoted") if found < 0 else (found + 1, "closing")
            elif state in ("start", "closing") and text[at] == _QUOTE:
                at, state = at + 1, "quoted"
            else:
                border = self._border.search(text, at)
                if border is None:
                    at, state = len(text), "plain"
                    continue
                if text[border.start()] == _FEED:
                    ends.append(border.start())
                at, state = border.end(), "start"
        self._state = state
        return np.array(ends, np.int64)


class LineEnds:
    """Every line feed ends a row."""

    def __init__(self) -> None:
        self._lines = 0

    def __call__(self, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends = np.flatnonzero(piece == _FEED)
        lines = np.arange(self._lines + 1, self._lines + 1 + len(ends))
        self._lines += len(ends)
        return ends, lines

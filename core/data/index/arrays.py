"""A list of JSON objects as JSON Lines: the same bytes, with line feeds between the elements and nowhere else.

The comma between two elements of the list becomes a line feed; the list's own brackets and all line feeds between tokens
become spaces. So nothing is parsed, no element is held, and what is wrong inside an element is found where rows are checked.
A raw line feed inside a string, which JSON does not allow, becomes another character that JSON does not allow there.

One pass of numpy over the structural bytes: quotes that no backslash takes away tell what is inside a string, a running sum
over brackets tells how deep it is. Cost: about 3 s for 1 GB.
"""

from __future__ import annotations

import numpy as np

from core.data.index.detecting import BYTE_ORDER_MARK
from core.data.index.unpacking import BrokenFile
from core.data.sources.readable import Readable, fill

_QUOTE, _BACKSLASH, _COMMA, _FEED, _RETURN, _SPACE = b'"\\,\n\r '
_FORBIDDEN = 0x1F
_DELTA = np.zeros(256, np.int32)
_DELTA[list(b"[{")] = 1
_DELTA[list(b"]}")] = -1
_IS_STRUCTURAL = np.isin(np.arange(256), list(b'"\\[]{},\n\r'))
_IS_WHITE = np.isin(np.arange(256), list(b" \t\n\r"))


class ArrayLines:
    """The elements of one list, one a line; raises BrokenFile where the list is cut, or followed by something else."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._read = 0
        self._depth = 0
        self._is_in_string = self._is_escaped = False
        self._has_begun = self._has_ended = False

    def readinto(self, buffer: memoryview, /) -> int:
        count = fill(self._file, buffer)
        if count:
            self._turn(np.frombuffer(buffer[:count], np.uint8), is_first=not self._read)
            self._read += count
        elif not self._has_ended:
            raise BrokenFile(f"its list is cut: the file ends after {self._read:,} bytes, before the list is closed by ']'; "
                             "upload it again, whole")
        return count

    def _turn(self, text: np.ndarray, *, is_first: bool) -> None:
        if is_first and text[:3].tobytes() == BYTE_ORDER_MARK:
            text[:3] = _SPACE
        places = np.flatnonzero(_IS_STRUCTURAL[text])
        marks = text[places]
        is_quote = (marks == _QUOTE) & ~np.isin(places, self._escaped(text, places[marks == _BACKSLASH]))
        is_inside = (np.cumsum(is_quote) + self._is_in_string) % 2 == 1
        depth = self._depth + np.cumsum(np.where(is_inside, 0, _DELTA[marks]))
        self._check_border(text, places, depth, is_inside)
        is_feed = (marks == _FEED) | (marks == _RETURN)
        text[places[is_feed]] = np.where(is_inside[is_feed], _FORBIDDEN, _SPACE)
        text[places[(marks == _COMMA) & (depth == 1) & ~is_inside]] = _FEED
        if len(places):
            self._depth, self._is_in_string = int(depth[-1]), bool(is_inside[-1])

    def _escaped(self, text: np.ndarray, backslashes: np.ndarray) -> np.ndarray:
        """Give the places that stand behind an odd number of backslashes; remember it for the next piece."""
        was_escaped, self._is_escaped = self._is_escaped, False
        carried = np.zeros(1 if was_escaped else 0, np.int64)
        if was_escaped and len(backslashes) and backslashes[0] == 0:
            backslashes = backslashes[1:]
        if not len(backslashes):
            return carried
        cuts = np.flatnonzero(np.diff(backslashes) != 1)
        starts = backslashes[np.concatenate([[0], cuts + 1])]
        ends = backslashes[np.concatenate([cuts, [len(backslashes) - 1]])]
        behind = ends[(ends - starts) % 2 == 0] + 1
        self._is_escaped = bool(len(behind)) and int(behind[-1]) == len(text)
        return np.concatenate([carried, behind])

    def _check_border(self, text: np.ndarray, places: np.ndarray, depth: np.ndarray, is_inside: np.ndarray) -> None:
        """Blank the list's own brackets; raise BrokenFile for anything else around it."""
        first = 0
        if not self._has_begun:
            first = int(np.argmin(_IS_WHITE[text])) if not _IS_WHITE[text].all() else len(text)
            if first == len(text):
                return
            if text[first] != ord("["):
                raise BrokenFile("it is no list of JSON objects: something stands before its '['")
            self._has_begun = True
            text[first] = _SPACE
        ends = [] if self._has_ended else np.flatnonzero((depth == 0) & (places >= first) & ~is_inside)
        if len(ends):
            end = int(places[ends[0]])
            if text[end] != ord("]"):
                raise BrokenFile(f"its list is closed by {chr(text[end])!r} instead of ']' at byte {self._read + end + 1:,}")
            self._has_ended = True
            text[end] = _SPACE
            first = end
        if self._has_ended and not _IS_WHITE[text[first:]].all():
            at = self._read + first + int(np.argmin(_IS_WHITE[text[first:]])) + 1
            raise BrokenFile(f"something follows its list at byte {at:,}; a file holds one list: write one JSON object a line "
                             "instead, or put all into one list")

"""A rendered text, what of it is trained on, and which parts are control tokens → pieces, in order, nothing left out.

Spans are (start, end) in characters, end exclusive. A control token is never cut: it is trained on as a whole when a
trained span touches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from core.data.spec import Piece

Span = tuple[int, int]


def cut(text: str, *, trained: Sequence[Span], controls: Iterable[Span]) -> tuple[Piece, ...]:
    """Cut a text at its control tokens and at the borders of its trained spans; both sorted, neither overlapping."""
    pieces: list[Piece] = []
    at = 0
    for start, end in controls:
        pieces += _cut_plain(text, (at, start), trained)
        pieces.append(Piece(text[start:end], _touches((start, end), trained), is_control=True))
        at = end
    pieces += _cut_plain(text, (at, len(text)), trained)
    return tuple(pieces)


def _cut_plain(text: str, within: Span, trained: Sequence[Span]) -> Iterator[Piece]:
    at, stop = within
    for start, end in trained:
        start, end = max(start, at), min(end, stop)
        if start < end:
            if at < start:
                yield Piece(text[at:start], False)
            yield Piece(text[start:end], True)
            at = end
    if at < stop:
        yield Piece(text[at:stop], False)


def _touches(span: Span, trained: Sequence[Span]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in trained)

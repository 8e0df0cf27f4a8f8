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
    at = first = 0  # `first` is the first trained span that ends behind `at`
    for start, end in controls:
        pieces += _cut_plain(text, (at, start), trained, first)
        first = _skip(trained, first, start)
        is_trained = first < len(trained) and trained[first][0] < end
        pieces.append(Piece(text[start:end], is_trained, is_control=True))
        at = end
        first = _skip(trained, first, at)
    pieces += _cut_plain(text, (at, len(text)), trained, first)
    return tuple(pieces)


def _cut_plain(text: str, within: Span, trained: Sequence[Span], first: int) -> Iterator[Piece]:
    at, stop = within
    while at < stop and first < len(trained) and trained[first][0] < stop:
        start, end = max(trained[first][0], at), min(trained[first][1], stop)
        if start < end:
            if at < start:
                yield Piece(text[at:start], False)
            yield Piece(text[start:end], True)
            at = end
        first += 1
    if at < stop:
        yield Piece(text[at:stop], False)


def _skip(trained: Sequence[Span], first: int, at: int) -> int:
    """The first trained span, from `first` on, that ends behind a character."""
    while first < len(trained) and trained[first][1] <= at:
        first += 1
    return first

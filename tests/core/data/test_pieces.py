"""A text is cut at control tokens and at the borders of what is trained on, in time that grows with its pieces alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.data.spec import Piece
from core.data.templates.pieces import Span, cut


def spans(borders: list[int]) -> list[Span]:
    told = sorted(set(borders))
    return list(zip(told[::2], told[1::2], strict=False))


BORDERS = st.lists(st.integers(0, 40), max_size=12)


@given(BORDERS, BORDERS)
def test_nothing_is_lost_and_each_character_is_trained_on_where_it_should(trained: list[int], controls: list[int]) -> None:
    text = "".join(chr(ord("A") + k) for k in range(40))
    pieces = cut(text, trained=spans(trained), controls=spans(controls))
    assert "".join(piece.text for piece in pieces) == text
    is_trained = [any(start <= k < end for start, end in spans(trained)) for k in range(40)]
    at = 0
    for piece in pieces:
        inside = is_trained[at : at + len(piece.text)]
        assert piece.text
        assert piece.is_trained == (any(inside) if piece.is_control else all(inside))
        assert piece.is_control or len(set(inside)) == 1
        at += len(piece.text)
    assert [piece.text for piece in pieces if piece.is_control] == [text[start:end] for start, end in spans(controls)]


def test_many_pieces_take_no_time_by_their_square() -> None:
    """By their square this would take an hour."""
    text = "<a>b" * 50_000
    controls = [(4 * k, 4 * k + 3) for k in range(50_000)]
    trained = [(start + 3, start + 4) for start, _ in controls]
    assert len(cut(text, trained=trained, controls=controls)) == 100_000
    assert cut("ab", trained=[(0, 1)], controls=[]) == (Piece("a", True), Piece("b", False))

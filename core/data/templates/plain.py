"""Rows without a conversation → Examples: a prompt with its completion, or a text.

Both begin with what the tokenizer itself writes in front (a beginning-of-sequence token, where it has the habit) and end
with the end-of-sequence token, which is trained on: the model must learn to stop. A text is trained on as a whole, a
completion without its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.data.spec import Example, Piece, Row
from core.data.templates.marks import check_reserved


class PromptCompletionTemplate:
    def __init__(self, *, front: Sequence[str], end: str) -> None:
        self._front = tuple(Piece(token, False, is_control=True) for token in front)
        self._end = Piece(end, True, is_control=True)

    def example(self, row: Row) -> Example:
        prompt, completion = Piece(_checked(row.value["prompt"]), False), Piece(_checked(row.value["completion"]), True)
        return Example(row.ref, (*self._front, prompt, completion, self._end))


class TextTemplate:
    def __init__(self, *, front: Sequence[str], end: str) -> None:
        self._front = tuple(Piece(token, False, is_control=True) for token in front)
        self._end = Piece(end, True, is_control=True)

    def example(self, row: Row) -> Example:
        return Example(row.ref, (*self._front, Piece(_checked(row.value["text"]), True), self._end))


def _checked(text: str) -> str:
    check_reserved(text)
    return text

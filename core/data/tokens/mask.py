"""Trained spans in characters, and an encoding → which tokens hold a trained character. Two ways with one answer.

By borders: only the tokens at the two ends of each span are looked up, which is all that an ordinary row needs; a tenth of
the cost. By offsets: every token's characters are looked at; it serves where a border falls on characters of which the
tokenizer made no token.

Offsets are (start, end) in characters, in order; the tokens of one many-byte character share its offsets; a token without
characters of its own counts as the character that follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers


@dataclass(frozen=True, eq=False, slots=True)
class MaskedIds:
    ids: np.ndarray
    """int32, shape (tokens,): the model's own."""
    mask: np.ndarray
    """bool, shape (tokens,)."""
    trained: int
    """How many of the mask are True."""
    is_spelled: bool = False
    """Whether a text of the row spells a control token, which stays ordinary text."""


def mask_by_borders(spans: Sequence[tuple[int, int]], length: int, encoding: tokenizers.Encoding) -> np.ndarray | None:
    """None when a border has no token."""
    mask = np.zeros(len(encoding), dtype=bool)
    for start, end in spans:
        first = encoding.char_to_token(start)
        last = len(encoding) if end == length else _first_from(end, encoding)
        if first is None or last is None:
            return None
        mask[_first_with(first, start, encoding):last] = True
    return mask


def mask_by_offsets(spans: Sequence[tuple[int, int]], length: int, encoding: tokenizers.Encoding) -> np.ndarray:
    counts = np.zeros(length + 1, dtype=np.int32)
    for start, end in spans:
        counts[start + 1:end + 1] = 1
    np.cumsum(counts, out=counts)
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    starts = np.minimum(offsets[:, 0], max(length - 1, 0))
    return counts[np.minimum(np.maximum(offsets[:, 1], starts + 1), length)] > counts[starts]


def _first_from(character: int, encoding: tokenizers.Encoding) -> int | None:
    """The first token that begins at a character or behind it: not one that only reaches over."""
    token = encoding.char_to_token(character)
    if token is None:
        return None
    while token < len(encoding) and _start(token, encoding) < character:
        token += 1
    return _first_with(token, character, encoding)


def _first_with(token: int, character: int, encoding: tokenizers.Encoding) -> int:
    """The first token of a character: one without characters of its own may stand before the one that was found."""
    while token > 0 and _start(token - 1, encoding) >= character:
        token -= 1
    return token


def _start(token: int, encoding: tokenizers.Encoding) -> int:
    offsets = encoding.token_to_chars(token)
    assert offsets is not None
    return offsets[0]

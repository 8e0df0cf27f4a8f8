"""The examples of a step → their tokens, over-long ones cut or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import tokenizers

from core.data.spec import Example, Overlong, Tokens
from core.data.templates import RowRefused
from core.data.tokens.encoder import TextEncoder
from core.data.tokens.fast import FastEncoder
from core.data.tokens.mask import MaskedIds, mask_by_borders, mask_by_offsets
from core.data.tokens.opened import Reference
from core.errors import DataError

_CHARACTERS_PER_TOKEN = 16
_SLACK_TOKENS = 64


Encode = Callable[[Sequence[str]], list[tokenizers.Encoding]]


class RowLeftOut(RowRefused):
    """A row that is sound, and that the spec's own rules leave out: for its length, or as nothing in it is trained on."""


@dataclass(frozen=True, eq=False)
class Encoded:
    tokens: Tokens
    trained: int
    """Tokens that are trained on."""
    is_truncated: bool
    is_spelled: bool = False
    """Whether a text of the row spells a control token, which stays ordinary text."""


class RowEncoder:
    """`fast` serves every row that it does not leave to the reference; `by_reference` counts the others."""

    def __init__(self, encoder: TextEncoder | Reference, *, max_length: int, overlong: Overlong,
                 fast: FastEncoder | None = None) -> None:
        self._encoder = encoder
        self._fast = fast
        self._max_length = max_length
        self._overlong: Overlong = overlong
        self._reach = (max_length + _SLACK_TOKENS) * _CHARACTERS_PER_TOKEN
        self.by_reference = 0

    def encode(self, examples: Sequence[Example]) -> list[Encoded | RowRefused]:
        """Encode examples in one call; a row that leaves nothing to train on is refused, in its place."""
        found = self._by_fast(examples)
        left = [k for k, row in enumerate(found) if row is None]
        for k, row in zip(left, self._by_reference([examples[k] for k in left]), strict=True):
            found[k] = row
        return [self._finish(example, row) for example, row in zip(examples, found, strict=True)]

    def encode_whole(self, examples: Sequence[Example]) -> list[MaskedIds | RowRefused]:
        """What the reference makes of examples, as long as they are."""
        return self._by_reference(examples)

    def _by_fast(self, examples: Sequence[Example]) -> list[MaskedIds | RowRefused | None]:
        """An immense row is left to the reference, which knows to encode only as much of it as can count."""
        if self._fast is None:
            return [None] * len(examples)
        fit = [sum([len(piece.text) for piece in example.pieces]) <= self._reach for example in examples]
        if all(fit):
            return [*self._fast.encode(examples)]
        rows = iter(self._fast.encode([example for example, fits in zip(examples, fit, strict=True) if fits]))
        return [next(rows) if fits else None for fits in fit]

    def _by_reference(self, examples: Sequence[Example]) -> list[MaskedIds | RowRefused]:
        if not examples:
            return []
        self.by_reference += len(examples)
        texts = ["".join(map(self._encoder.written, example.pieces)) for example in examples]
        encode = self._encoder.encode_fast if all(map(_is_all_trained, examples)) else self._encoder.encode
        return [self._told(*each) for each in zip(examples, *self._encode(texts, encode), strict=True)]

    def _encode(self, texts: list[str], encode: Encode) -> tuple[list[str], list[tokenizers.Encoding]]:
        """Encode the texts, of an immense one only as much as can count; give what was encoded beside it.

        A text is first encoded up to `max_length` × 16 characters. If that gives more tokens than `max_length`, with some
        to spare for the torn last word, the rest changes nothing; if not, the whole text is encoded.
        """
        encoded = [text[:self._reach] for text in texts]
        encodings = encode(encoded)
        for k, text in enumerate(texts):
            if len(text) > self._reach and len(encodings[k]) <= self._max_length + _SLACK_TOKENS:
                encoded[k], encodings[k] = text, encode([text])[0]
        return encoded, encodings

    def _told(self, example: Example, text: str, encoding: tokenizers.Encoding) -> MaskedIds | RowRefused:
        if self._overlong == "drop" and len(encoding) > self._max_length:
            return self._too_long()
        try:
            ids = self._encoder.real_ids(encoding)
        except DataError as error:
            return RowRefused(error.message)
        mask = self._mask(example, text, encoding)
        return MaskedIds(ids, mask, int(np.count_nonzero(mask)), self._encoder.spelling.is_in(text))

    def _finish(self, example: Example, row: MaskedIds | RowRefused | None) -> Encoded | RowRefused:
        """Bring a row to its length; one that leaves nothing to train on is refused."""
        if not isinstance(row, MaskedIds):
            assert row is not None
            return row
        is_long = len(row.ids) > self._max_length
        if is_long and self._overlong == "drop":
            return self._too_long()
        ids, mask = row.ids[:self._max_length], row.mask[:self._max_length]
        trained = int(np.count_nonzero(mask)) if is_long else row.trained
        if not trained:
            return RowLeftOut(f"nothing in its first {self._max_length} tokens is trained on" if is_long else
                              "nothing in it is trained on")
        return Encoded(Tokens(example.ref, ids, mask), trained, is_long, row.is_spelled)

    def _too_long(self) -> RowLeftOut:
        return RowLeftOut(f"it has more than {self._max_length} tokens, the most that an example may have here")

    def _mask(self, example: Example, text: str, encoding: tokenizers.Encoding) -> np.ndarray:
        if _is_all_trained(example):
            return np.arange(len(encoding)) >= max(_front(example), 1)
        spans = _trained_spans([(len(self._encoder.written(piece)), piece.is_trained) for piece in example.pieces], len(text))
        mask = mask_by_borders(spans, len(text), encoding)
        if mask is None:
            mask = mask_by_offsets(spans, len(text), encoding)
        mask[:1] = False
        return mask


def _is_all_trained(example: Example) -> bool:
    """Whether only control tokens in front are not trained on, so that a mask needs no offsets."""
    return all(piece.is_trained for piece in example.pieces[_front(example):])


def _front(example: Example) -> int:
    """How many control tokens, of one token each, stand in front untrained."""
    return sum(1 for _ in takewhile(lambda piece: piece.is_control and not piece.is_trained, example.pieces))


def _trained_spans(pieces: Sequence[tuple[int, bool]], length: int) -> list[tuple[int, int]]:
    """Where the trained characters lie, as far as the text was encoded; spans that touch are one."""
    spans: list[tuple[int, int]] = []
    at = 0
    for characters, is_trained in pieces:
        start, at = at, min(at + characters, length)
        if is_trained and start < at:
            spans[-1:] = [(spans[-1][0], at)] if spans and spans[-1][1] == start else [*spans[-1:], (start, at)]
    return spans

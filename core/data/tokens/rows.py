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
from core.data.tokens.mask import mask_by_borders, mask_by_offsets
from core.errors import DataError

_CHARACTERS_PER_TOKEN = 16
_SLACK_TOKENS = 64


Encode = Callable[[Sequence[str]], list[tokenizers.Encoding]]


class RowLeftOut(RowRefused):
    """A row that is sound, and that the spec's own rules leave out: for its length, or as nothing in it is trained on."""


@dataclass(frozen=True, eq=False)
class Encoded:
    tokens: Tokens
    is_truncated: bool


class RowEncoder:
    def __init__(self, encoder: TextEncoder, *, max_length: int, overlong: Overlong) -> None:
        self._encoder = encoder
        self._max_length = max_length
        self._overlong = overlong

    def encode(self, examples: Sequence[Example]) -> list[Encoded | RowRefused]:
        """Encode examples in one call; a row that leaves nothing to train on is refused, in its place."""
        texts = ["".join(map(self._encoder.written, example.pieces)) for example in examples]
        encode = self._encoder.encode_fast if all(map(_is_all_trained, examples)) else self._encoder.encode
        return [self._finish(*each) for each in zip(examples, *self._encode(texts, encode), strict=True)]

    def _encode(self, texts: list[str], encode: Encode) -> tuple[list[str], list[tokenizers.Encoding]]:
        """Encode the texts, of an immense one only as much as can count; give what was encoded beside it.

        A text is first encoded up to `max_length` × 16 characters. If that gives more tokens than `max_length`, with some
        to spare for the torn last word, the rest changes nothing; if not, the whole text is encoded.
        """
        reach = (self._max_length + _SLACK_TOKENS) * _CHARACTERS_PER_TOKEN
        encoded = [text[:reach] for text in texts]
        encodings = encode(encoded)
        for k, text in enumerate(texts):
            if len(text) > reach and len(encodings[k]) <= self._max_length + _SLACK_TOKENS:
                encoded[k], encodings[k] = text, encode([text])[0]
        return encoded, encodings

    def _finish(self, example: Example, text: str, encoding: tokenizers.Encoding) -> Encoded | RowRefused:
        is_long = len(encoding) > self._max_length
        if is_long and self._overlong == "drop":
            return RowLeftOut(f"it has more than {self._max_length} tokens, the most that an example may have here")
        try:
            ids = self._encoder.real_ids(encoding)[:self._max_length]
        except DataError as error:
            return RowRefused(error.message)
        mask = self._mask(example, text, encoding)[:self._max_length]
        if not mask.any():
            return RowLeftOut(f"nothing in its first {self._max_length} tokens is trained on" if is_long else
                              "nothing in it is trained on")
        return Encoded(Tokens(example.ref, ids, mask), is_long)

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

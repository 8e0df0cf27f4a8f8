"""The examples of a step → their tokens, over-long ones cut or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers

from core.data.spec import Example, Overlong, Tokens
from core.data.templates import RowRefused
from core.data.tokens.encoder import TextEncoder
from core.errors import DataError

_CHARACTERS_PER_TOKEN = 16
_SLACK_TOKENS = 64


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
        return [self._finish(*each) for each in zip(examples, *self._encode(texts), strict=True)]

    def _encode(self, texts: list[str]) -> tuple[list[str], list[tokenizers.Encoding]]:
        """Encode the texts, of an immense one only as much as can count; gives what was encoded beside it.

        A text is first encoded up to `max_length` × 16 characters. If that gives more tokens than `max_length`, with some
        to spare for the torn last word, the rest changes nothing; if not, the whole text is encoded.
        """
        reach = (self._max_length + _SLACK_TOKENS) * _CHARACTERS_PER_TOKEN
        encoded = [text[:reach] for text in texts]
        encodings = self._encoder.encode(encoded)
        for k, text in enumerate(texts):
            if len(text) > reach and len(encodings[k]) <= self._max_length + _SLACK_TOKENS:
                encoded[k], encodings[k] = text, self._encoder.encode([text])[0]
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
        """Which tokens hold a character of a trained piece, by counting those characters up to each place."""
        counts = np.zeros(len(text) + 1, dtype=np.int32)
        at = 0
        for piece in example.pieces:
            end = at + len(self._encoder.written(piece))
            counts[at + 1:end + 1] = piece.is_trained
            at = end
            if at >= len(text):
                break
        np.cumsum(counts, out=counts)
        spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        starts = np.minimum(spans[:, 0], len(text) - 1)
        ends = np.maximum(spans[:, 1], starts + 1)
        mask = counts[ends] > counts[starts]
        mask[:1] = False
        return mask

"""The examples of a step → their tokens, over-long ones cut or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import tokenizers

from core.data.spec import Example, Overlong, Piece, Tokens
from core.data.templates import RowRefused
from core.data.tokens.encoder import TextEncoder
from core.data.tokens.fast import FastEncoder
from core.data.tokens.mask import MaskedIds, mask_by_borders, mask_by_offsets
from core.data.tokens.opened import Reference
from core.errors import DataError

_CHARACTERS_PER_TOKEN = 16
_SLACK_TOKENS = 64
_REACH_FROM_THE_END = 1 << 21
"""Characters of a row that are encoded at most where more than its first `max_length` tokens count."""
MOST_PIECES = 64
"""Examples that one row may become."""


Encode = Callable[[Sequence[str]], list[tokenizers.Encoding]]


class RowLeftOut(RowRefused):
    """A row that is sound, and that the spec's own rules leave out: for its length, or as nothing in it is trained on."""

    def __init__(self, reason: str, *, is_long: bool = False) -> None:
        super().__init__(reason)
        self.is_long = is_long
        """Whether its length is the cause."""


@dataclass(frozen=True, eq=False)
class Encoded:
    tokens: Tokens
    trained: int
    """Tokens that are trained on."""
    is_truncated: bool
    is_spelled: bool = False
    """Whether a text of the row spells a control token, which stays ordinary text."""


class RowEncoder:
    """`fast` serves every row that it does not leave to the reference; `by_reference` counts the others. `front` holds the
    control tokens that the tokenizer writes before a text: what is cut on the left stays behind them."""

    def __init__(self, encoder: TextEncoder | Reference, *, max_length: int, overlong: Overlong,
                 fast: FastEncoder | None = None, front: Sequence[str] = ()) -> None:
        self._encoder = encoder
        self._fast = fast
        self._max_length = max_length
        self._front = tuple(front)
        self.overlong: Overlong = overlong
        reach = (max_length + _SLACK_TOKENS) * _CHARACTERS_PER_TOKEN
        self._reach = max(reach, _REACH_FROM_THE_END) if overlong in ("truncate_left", "split") else reach
        self.by_reference = 0

    def encode(self, examples: Sequence[Example]) -> list[Encoded | RowRefused]:
        """Encode examples in one call; a row that leaves nothing to train on is refused, in its place.

        What is too long is cut on the right, or as "truncate_left" and "drop" say."""
        if self.overlong == "truncate_left":
            examples = [_without_start(example, self._reach) for example in examples]
        return [self._finish(example, row) for example, row in zip(examples, self._found(examples), strict=True)]

    def encode_pieces(self, example: Example) -> list[Encoded] | RowRefused:
        """Cut one that is too long into several; each token that is trained on in the whole is so in exactly one of them."""
        (row,) = self._found([example])
        if not isinstance(row, MaskedIds):
            return row
        is_cut = sum(len(piece.text) for piece in example.pieces) > self._reach
        end = len(row.ids) - (_SLACK_TOKENS if is_cut else 0)
        windows = list(_windows(row.ids[:end], row.mask[:end], self._max_length, self._fronts(example)))
        pieces = [_encoded(example, ids, mask, row.is_spelled) for ids, mask in windows[:MOST_PIECES] if mask.any()]
        if not pieces:
            return RowLeftOut("nothing in it is trained on", is_long=True)
        if is_cut or len(windows) > MOST_PIECES:
            pieces[-1] = replace(pieces[-1], is_truncated=True)
        return pieces

    def _found(self, examples: Sequence[Example]) -> list[MaskedIds | RowRefused]:
        found = self._by_fast(examples)
        left = [k for k, row in enumerate(found) if row is None]
        for k, row in zip(left, self._by_reference([examples[k] for k in left]), strict=True):
            found[k] = row
        return found  # pyright: ignore[reportReturnType]

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
        if self.overlong == "drop" and len(encoding) > self._max_length:
            return self._too_long()
        try:
            ids = self._encoder.real_ids(encoding)
        except DataError as error:
            return RowRefused(error.message)
        mask = self._mask(example, text, encoding)
        return MaskedIds(ids, mask, int(np.count_nonzero(mask)), self._encoder.spelling.is_in(text))

    def _finish(self, example: Example, row: MaskedIds | RowRefused) -> Encoded | RowRefused:
        """Bring a row to its length; one that leaves nothing to train on is refused."""
        if not isinstance(row, MaskedIds):
            return row
        if len(row.ids) <= self._max_length:
            if not row.trained:
                return RowLeftOut("nothing in it is trained on")
            return Encoded(Tokens(example.ref, row.ids, row.mask), row.trained, False, row.is_spelled)
        if self.overlong == "drop":
            return self._too_long()
        if self.overlong == "truncate_left":
            ids, mask = _end(row.ids, row.mask, self._max_length, self._fronts(example))
        else:
            ids, mask = row.ids[:self._max_length], row.mask[:self._max_length]
        if not mask.any():
            which = "last" if self.overlong == "truncate_left" else "first"
            return RowLeftOut(f"nothing in its {which} {self._max_length} tokens is trained on", is_long=True)
        return replace(_encoded(example, ids, mask, row.is_spelled), is_truncated=True)

    def _too_long(self) -> RowLeftOut:
        return RowLeftOut(f"it has more than {self._max_length} tokens, the most that an example may have here", is_long=True)

    def _fronts(self, example: Example) -> int:
        """How many tokens, which the tokenizer itself writes in front, an example begins with."""
        count = len(self._front)
        begins = [piece.text for piece in example.pieces[:count] if piece.is_control and not piece.is_trained]
        return count if count < self._max_length // 2 and tuple(begins) == self._front else 0

    def _mask(self, example: Example, text: str, encoding: tokenizers.Encoding) -> np.ndarray:
        if _is_all_trained(example):
            return np.arange(len(encoding)) >= max(_front(example), 1)
        spans = _trained_spans([(len(self._encoder.written(piece)), piece.is_trained) for piece in example.pieces], len(text))
        mask = mask_by_borders(spans, len(text), encoding)
        if mask is None:
            mask = mask_by_offsets(spans, len(text), encoding)
        mask[:1] = False
        return mask


def _encoded(example: Example, ids: np.ndarray, mask: np.ndarray, is_spelled: bool) -> Encoded:
    return Encoded(Tokens(example.ref, ids, mask), int(np.count_nonzero(mask)), False, is_spelled)


def _end(ids: np.ndarray, mask: np.ndarray, length: int, front: int) -> tuple[np.ndarray, np.ndarray]:
    """The last tokens, behind those in front; the first of all is not trained on, since nothing predicts it."""
    kept = len(ids) - (length - front)
    mask = np.concatenate([mask[:front], mask[kept:]])
    mask[:1] = False
    return np.concatenate([ids[:front], ids[kept:]]), mask


def _windows(ids: np.ndarray, mask: np.ndarray, length: int, front: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Stretches of at most `length` tokens, each behind the tokens in front; without such, each begins with the last token of
    the one before it, untrained, so that its next token is predicted from something."""
    if front:
        for at in range(front, len(ids), length - front):
            some = slice(at, at + length - front)
            yield np.concatenate([ids[:front], ids[some]]), np.concatenate([mask[:front], mask[some]])
        return
    for at in range(0, max(len(ids) - 1, 1), length - 1):
        trained = mask[at : at + length].copy()
        trained[:1] = False
        yield ids[at : at + length], trained


def _without_start(example: Example, characters: int) -> Example:
    """Leave out what stands before the last so many characters, but for control tokens in front."""
    if sum(len(piece.text) for piece in example.pieces) <= characters:
        return example
    kept: list[Piece] = []
    front = example.pieces[:_front(example)]
    for piece in reversed(example.pieces[len(front):]):
        if characters <= 0:
            break
        kept.append(piece if piece.is_control else replace(piece, text=piece.text[-characters:]))
        characters -= len(piece.text)
    return replace(example, pieces=(*front, *reversed(kept)))


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

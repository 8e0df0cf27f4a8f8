"""Examples → ids and masks by fastokens, a tokenizer in Rust twenty times faster than the reference.

It gives ids and no offsets, so where a token lies is told from the ids: each token of a byte-level vocabulary spells its
bytes, and the bytes of a row's tokens, one after another, are the bytes of its text. So one table (id → bytes) and a running
sum give every token's place, and the borders of what is trained on are looked up in it, for all rows of a step at once.
(Texts are encoded one by one: a batch of several is handed to a pool of threads, which costs more than it saves.)

A row is left to the reference when fastokens refuses it (a byte that the vocabulary lacks), when its tokens do not spell
exactly its bytes, when a control token comes out of ordinary text, and when it is not in the form that the tokenizer would
bring it into. Whether fastokens may serve a model and a data set at all is decided elsewhere (`agreement`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import fastokens._native as fastokens  # the package itself would bring what patches transformers
import numpy as np

from core.data.spec import Example
from core.data.tokens.mask import MaskedIds
from core.data.tokens.spelled import Spelling
from core.data.tokens.standins import stand_in
from core.errors import DataError

_NOWHERE = 1 << 30
"""The length of a token that must not come out of ordinary text: no sum of lengths with it is that of a row."""


class FastEncoder:
    """Not for several threads at once."""

    def __init__(self, tokenizer: fastokens.Tokenizer, *, normal_form: Literal["NFC"] | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._normal_form: Literal["NFC"] | None = normal_form
        added = sorted(tokenizer.added_tokens(), key=lambda token: token["id"])
        controls = {token["content"]: token for token in added if token["special"]}
        self.control_tokens = tuple(controls)
        self._spelling = Spelling(self.control_tokens)
        self.front = _front(tokenizer)
        twin_texts = {text: stand_in(token["id"]) for text, token in controls.items()}
        self._stand_ins = {text: (twin, len(twin.encode())) for text, twin in twin_texts.items()}
        """Of each control token its stand-in, and how many bytes that has."""
        twins: list[Any] = [_twin(token, twin_texts[text]) for text, token in controls.items()]
        tokenizer.add_tokens(twins)
        self._lengths = self._spelled_lengths({token["id"]: token["content"] for token in added})
        self._real_ids = np.arange(len(self._lengths), dtype=np.int32)
        for text, token in controls.items():
            twin = tokenizer.token_to_id(twin_texts[text])
            self._lengths[token["id"]] = _NOWHERE
            self._lengths[twin] = self._stand_ins[text][1]
            self._real_ids[twin] = token["id"]

    def encode(self, examples: Sequence[Example]) -> list[MaskedIds | None]:
        """Encode examples in one call, with None in the place of one that is left to the reference."""
        rows = _Written(self._stand_ins)
        for example in examples:
            rows.add(example)
        told = [self._is_normal(text) for text in rows.texts]
        found = self._encode(rows) if all(told) else None
        return found if found is not None else self._one_by_one(examples, told)

    def _one_by_one(self, examples: Sequence[Example], told: Sequence[bool]) -> list[MaskedIds | None]:
        """A row in the batch is for the reference; find it."""
        found: list[MaskedIds | None] = []
        for example, is_normal in zip(examples, told, strict=True):
            row = _Written(self._stand_ins)
            row.add(example)
            found += (self._encode(row) if is_normal else None) or [None]
        return found

    def _is_normal(self, text: str) -> bool:
        return self._normal_form is None or text.isascii() or unicodedata.is_normalized(self._normal_form, text)

    def _encode(self, rows: _Written) -> list[MaskedIds | None] | None:
        """None when some row is for the reference."""
        try:
            told = [self._tokenizer.encode_batch_flat([text], False, True)[0] for text in rows.texts]
        except ValueError:
            return None
        numbers = np.frombuffer(b"".join(told), np.uint32)
        borders = np.cumsum([0, *map(len, told)], dtype=np.int64) // numbers.itemsize
        places = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(self._lengths.take(numbers), out=places[1:])
        if places.take(borders).tolist() != rows.borders:
            return None
        ids = self._real_ids.take(numbers)
        mask = _mask(places, np.array(rows.starts, np.int64), np.array(rows.ends, np.int64))
        mask[borders[:-1][np.diff(borders) > 0]] = False  # nothing predicts the first token of a row
        trained = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(mask, out=trained[1:])
        counts = np.diff(trained.take(borders)).tolist()
        at = borders.tolist()
        return [MaskedIds(ids[at[k]:at[k + 1]], mask[at[k]:at[k + 1]], count, self._spelling.is_in(rows.texts[k]))
                for k, count in enumerate(counts)]

    def _spelled_lengths(self, added: dict[int, str]) -> np.ndarray:
        """The bytes of each token: byte-level vocabularies write one character a byte; added tokens stand as they are."""
        twins = [self._tokenizer.token_to_id(text) or 0 for text, _ in self._stand_ins.values()]
        highest = max([self._tokenizer.vocab_size - 1, *added, *twins])
        words = map(self._tokenizer.id_to_token, range(highest + 1))
        lengths = np.array([_NOWHERE if word is None else len(word) for word in words], np.int64)
        for number, text in added.items():
            lengths[number] = len(text.encode())
        lengths[lengths == 0] = _NOWHERE
        return lengths


class _Written:
    """Rows as the texts that are encoded, and the borders of what is trained on, in bytes over all rows."""

    def __init__(self, stand_ins: dict[str, tuple[str, int]]) -> None:
        self._stand_ins = stand_ins
        self.texts: list[str] = []
        self.borders = [0]
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, example: Example) -> None:
        at = self.borders[-1]
        parts: list[str] = []
        was_trained = False
        for piece in example.pieces:
            text = piece.text
            if piece.is_control:
                text, size = self._stand_ins[text]
            else:
                size = len(text) if text.isascii() else len(text.encode())
            if size and piece.is_trained != was_trained:
                was_trained = not was_trained
                (self.starts if was_trained else self.ends).append(at)
            parts.append(text)
            at += size
        if was_trained:
            self.ends.append(at)
        self.texts.append("".join(parts))
        self.borders.append(at)


def open_fast_encoder(path: Path, *, normal_form: Literal["NFC"] | None = None) -> FastEncoder:
    """Open a tokenizer.json; raises DataError for one that fastokens cannot read."""
    try:
        return FastEncoder(fastokens.Tokenizer.from_file(str(path)), normal_form=normal_form)
    except (ValueError, OSError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} cannot be read by the fast tokenizer ({str(error)[:200]})") from error


def _mask(places: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """True for the tokens that hold a byte of a span: from the one that ends behind its start to the one that begins
    before its end."""
    mask = np.zeros(len(places) - 1, bool)
    first = np.searchsorted(places[1:], starts, side="right").tolist()
    last = np.searchsorted(places[:-1], ends, side="left").tolist()
    for start, end in zip(first, last, strict=True):
        mask[start:end] = True
    return mask


def _front(tokenizer: fastokens.Tokenizer) -> tuple[str, ...]:
    bare, whole = tokenizer.encode("a").ids, tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(whole) - len(bare) + 1):
        if whole[start:start + len(bare)] == bare:
            return tuple(tokenizer.id_to_token(number) or "" for number in whole[:start])
    return ()


def _twin(token: dict, text: str) -> SimpleNamespace:
    return SimpleNamespace(**{**token, "content": text, "special": False})

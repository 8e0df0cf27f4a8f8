"""A model's tokenizer.json, set up so that texts with stand-ins for control tokens become ids and offsets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers

from core.data.spec import Piece
from core.data.tokens.spelled import Spelling
from core.data.tokens.standins import stand_in
from core.errors import DataError

_BROKEN = "\ufffd"
"""What a decoder writes for bytes that are no whole character."""
_MOST_BYTES = 4
"""So many bytes, and so many tokens at most, make up a character."""


class TextEncoder:
    """Not for several threads at once."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self.front = _front(tokenizer)
        """Control tokens that the tokenizer itself writes before a text."""
        added = tokenizer.get_added_tokens_decoder()
        controls = {token.content: (number, token) for number, token in sorted(added.items()) if token.special}
        self.control_tokens = tuple(controls)
        self.spelling = Spelling(self.control_tokens)
        self._stand_ins = {text: stand_in(number) for text, (number, _) in controls.items()}
        _prepare(tokenizer, [_twin(token, self._stand_ins[text]) for text, (_, token) in controls.items()])
        self._tokenizer = tokenizer
        self._real_ids = self._back_from_twins({self._stand_ins[text]: number for text, (number, _) in controls.items()})
        self._is_control = np.zeros(len(self._real_ids), dtype=bool)
        self._is_control[[number for text, (number, _) in controls.items() if text != _unknown(tokenizer)]] = True

    def written(self, piece: Piece) -> str:
        """The text by which a piece goes into an encoding."""
        return self._stand_ins[piece.text] if piece.is_control else piece.text

    def encode(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """Encode texts of written pieces, with offsets in characters; ids still hold twins."""
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def encode_fast(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """The same without offsets, a fifth faster."""
        return self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)

    def real_ids(self, encoding: tokenizers.Encoding) -> np.ndarray:
        """The model's own ids, int32; raises DataError if ordinary text became a control token after all."""
        ids = np.array(encoding.ids, dtype=np.int64)
        if self._is_control[ids].any():
            spelled = self._tokenizer.id_to_token(int(ids[self._is_control[ids]][0]))
            raise DataError(f"the tokenizer makes its control token {spelled} out of ordinary text")
        return self._real_ids[ids]

    def decode(self, numbers: Sequence[int]) -> str:
        return self._tokenizer.decode(list(numbers), skip_special_tokens=False)

    def decode_each(self, numbers: Sequence[int]) -> list[str]:
        """The text of each token; a character that several make up stands with the last of them, and the others have none."""
        texts: list[str] = []
        first = 0
        for end in range(1, len(numbers) + 1):
            text = self._decode_within(numbers[first:end])
            is_whole = not text.endswith(_BROKEN) or end - first == _MOST_BYTES or end == len(numbers)
            texts.append(text if is_whole else "")
            first = end if is_whole else first
        return texts

    def _decode_within(self, numbers: Sequence[int]) -> str:
        """The text of tokens with the space that decoders leave out at the start of a text."""
        text = self.decode(numbers)
        is_after_space = (self._tokenizer.id_to_token(numbers[0]) or "").startswith("▁")
        return f" {text}" if is_after_space and not text.startswith(" ") else text

    def _back_from_twins(self, stand_ins: dict[str, int]) -> np.ndarray:
        """A table from every id to the model's own; itself but for the twins."""
        twins = {self._tokenizer.token_to_id(text): number for text, number in stand_ins.items()}
        highest = max([self._tokenizer.get_vocab_size(), *self._tokenizer.get_added_tokens_decoder()])
        table = np.arange(highest + 1, dtype=np.int32)
        for twin, number in twins.items():
            table[twin] = number
        return table


def open_encoder(folder: str) -> TextEncoder:
    """Open a model folder's tokenizer.json; raises DataError when there is none that can be read."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise DataError(f"model folder {folder} has no tokenizer.json; add one (a fast tokenizer saves it), or choose "
                        "another base model")
    try:
        return TextEncoder(tokenizers.Tokenizer.from_file(str(path)))
    except Exception as error:  # tokenizers raises bare Exception
        raise DataError(f"{path} is no tokenizer ({str(error)[:200]}); copy the file from the model again") from error


def _front(tokenizer: tokenizers.Tokenizer) -> tuple[str, ...]:
    """What the tokenizer's post-processor writes before a text, found out by asking."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(whole) - len(bare) + 1):
        if whole[start:start + len(bare)] == bare:
            return tuple(tokenizer.id_to_token(number) or "" for number in whole[:start])
    return ()


def _prepare(tokenizer: tokenizers.Tokenizer, twins: list[tokenizers.AddedToken]) -> None:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.post_processor = None  # it would add tokens, and trim the white space off the offsets
    tokenizer.add_tokens(twins)
    tokenizer.encode_special_tokens = True  # encode them as ordinary text


def _twin(token: tokenizers.AddedToken, text: str) -> tokenizers.AddedToken:
    return tokenizers.AddedToken(text, single_word=token.single_word, lstrip=token.lstrip, rstrip=token.rstrip,
                                 normalized=token.normalized, special=False)


def _unknown(tokenizer: tokenizers.Tokenizer) -> str | None:
    """The one control token that ordinary text may become."""
    return getattr(tokenizer.model, "unk_token", None)

"""A model folder's reference tokenizer, opened when it is first asked for: where the fast one serves, often never."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import tokenizers

from core.data.spec import Piece
from core.data.tokens.encoder import TextEncoder, open_encoder
from core.data.tokens.spelled import Spelling


class Reference:
    """The reference encoder, opened by the first row that needs it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @cached_property
    def encoder(self) -> TextEncoder:
        """Raises DataError when the folder has no tokenizer that can be read."""
        return open_encoder(self._folder)

    @property
    def spelling(self) -> Spelling:
        return self.encoder.spelling

    def written(self, piece: Piece) -> str:
        return self.encoder.written(piece)

    def encode(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        return self.encoder.encode(texts)

    def encode_fast(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        return self.encoder.encode_fast(texts)

    def real_ids(self, encoding: tokenizers.Encoding) -> np.ndarray:
        return self.encoder.real_ids(encoding)

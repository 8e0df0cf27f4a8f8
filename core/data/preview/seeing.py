"""One row → what the model sees of it: an encoded example, for a preference pair one a side, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from core.data.rows import BadRow
from core.data.shapes import sides_of
from core.data.spec import Overlong, Row, RowFormat
from core.data.templates import RowRefused, RowTemplate, open_template
from core.data.tokens import Encoded, RowEncoder, TextEncoder, open_encoder

Seen = Encoded | str
"""An encoded example, or the reason why there is none."""


class Eye:
    """A model's template and tokenizer, opened once; templates are opened when a row needs them."""

    def __init__(self, folder: str, row_format: RowFormat) -> None:
        self.encoder: TextEncoder = open_encoder(folder)
        self._folder = folder
        self._format: RowFormat = row_format
        self._template = cache(self._open)
        if row_format != "preference":
            self._template(row_format)

    def see(self, row: Row | BadRow, *, max_length: int, overlong: Overlong = "truncate") -> Iterator[tuple[str | None, Seen]]:
        """Give the row's example, or each side of a pair by its name."""
        if isinstance(row, BadRow):
            yield None, row.reason
        elif self._format != "preference":
            yield None, self._seen(row, self._format, max_length, overlong)
        else:
            for side, (row_format, value) in sides_of(row.value).items():
                yield side, self._seen(replace(row, value=value), row_format, max_length, overlong)

    def _seen(self, row: Row, row_format: RowFormat, max_length: int, overlong: Overlong) -> Seen:
        try:
            example = self._template(row_format).example(row)
        except RowRefused as refused:
            return refused.reason
        encoder = RowEncoder(self.encoder, max_length=max_length, overlong=overlong, front=self.encoder.front)
        (encoded,) = encoder.encode([example])
        return encoded.reason if isinstance(encoded, RowRefused) else encoded

    def _open(self, row_format: RowFormat) -> RowTemplate:
        return open_template(self._folder, row_format=row_format, control_tokens=self.encoder.control_tokens,
                             front=self.encoder.front)

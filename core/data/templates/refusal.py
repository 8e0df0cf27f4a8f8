"""What a template, or the tokenizer after it, says of a row that cannot be trained on."""

from __future__ import annotations

from core.errors import DataError


class RowRefused(DataError):
    """One row cannot become an example; `reason` says why, without file and line, which the caller adds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

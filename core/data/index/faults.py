"""Why a row cannot be trained on: a stable code, and words that say what was found, what was expected, what to do."""

from __future__ import annotations

from typing import Any

from core.errors import DataError


class RowFault(DataError):
    """A row breaks a rule. The message names neither file nor line: who knows them puts them in front."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason, code=code)


def kind_of(value: Any) -> str:
    """Name the JSON kind of a value, so that a message need not show the value."""
    return _KINDS[type(value)]


_KINDS = {
    dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false",
    type(None): "null",
}

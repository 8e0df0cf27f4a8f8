"""What a row must be: its bytes come in, its parsed value goes out, or a `RowFault` that says what to change.

A row of the ordinary shape passes a handful of cheap comparisons (`is_ordinary`); only a row that fails them is walked
through by the rules that explain. The two agree: what is ordinary has no fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import orjson

from core.data.index.chat import check_chat, is_ordinary_chat
from core.data.index.faults import RowFault, kind_of
from core.data.index.lines import MAX_ROW_BYTES
from core.data.spec import RowFormat

__all__ = ["FORMATS", "Layout", "RowFault", "find_format", "is_ordinary", "parse_row"]

Layout = Literal["jsonl", "lines"]
"""How rows stand in a file: one JSON object a line, or one bare text a line."""

FORMATS: tuple[RowFormat, ...] = ("chat", "prompt_completion", "text")


def parse_row(raw: bytes, row_format: RowFormat, layout: Layout = "jsonl") -> dict[str, Any]:
    """Parse one row and check it by the rules of its format; raise RowFault with the reason and the remedy."""
    value = _parsed(raw, layout)
    _CHECKS[row_format](value)
    return value


def find_format(value: Any) -> RowFormat | None:
    """Tell a row's format by its fields, or None when it has those of no format."""
    if not isinstance(value, dict):
        return None
    if "messages" in value:
        return "chat"
    if "prompt" in value and "completion" in value:
        return "prompt_completion"
    return "text" if "text" in value else None


def is_ordinary(row_format: RowFormat) -> Callable[[Any], bool]:
    """Give the cheap test of a format: True only for values that `parse_row` accepts."""
    return _ORDINARY[row_format]


def too_long(length_bytes: int) -> RowFault:
    return RowFault(
        "row_too_long",
        f"the row has {length_bytes:,} bytes; at most {MAX_ROW_BYTES:,} are read; "
        "split it into several rows, or check that rows end with a line feed",
    )


def unknown_format() -> RowFault:
    return RowFault(
        "unknown_format",
        "the row has none of the fields that tell a format; give it messages (chat), prompt and completion, or text",
    )


def parse_json(raw: bytes) -> dict[str, Any]:
    """Parse a row of JSON Lines without the rules of a format; raise RowFault."""
    return _parsed(raw, "jsonl")


def _parsed(raw: bytes, layout: Layout) -> dict[str, Any]:
    if len(raw) > MAX_ROW_BYTES:
        raise too_long(len(raw))
    if layout == "lines":
        return {"text": _decoded(raw)}
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _explained(raw, error.msg, error.pos) from None
    except MemoryError:
        raise RowFault(
            "row_too_long", "the row needs more memory than one row may take; split it into several rows"
        ) from None
    if isinstance(value, dict):
        return value
    raise RowFault(
        "not_an_object",
        f"the row is {kind_of(value)}; each line must be one JSON object; "
        "write every row as its own object on its own line, without a list around them",
    )


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise RowFault(
            "invalid_utf8",
            f"byte {error.start + 1:,} of the line is not UTF-8; convert the file to UTF-8",
        ) from None


def _explained(raw: bytes, reason: str, position: int) -> RowFault:
    """Name the cause for which a line is no JSON; the reason is the parser's."""
    text = _decoded(raw)
    reason = reason.partition(": line")[0]
    if "depth" in reason or "ecursion" in reason:
        return RowFault("too_deep", "lists or objects lie more than 1,024 deep in the row; flatten it")
    if "surrogate" in reason:
        return RowFault(
            "lone_surrogate",
            f"character {position + 1:,} is half of a surrogate pair, which is no text; "
            "remove it, or write the whole pair",
        )
    if text.strip() in ("{", "[", "[{"):
        return RowFault(
            "broken_json",
            f"the line holds nothing but {text.strip()!r}, as in JSON that is indented; "
            "write each object whole on one line, without a list around them",
        )
    found = text[position : position + 9].lstrip("-")
    if "infinity" in reason or found.startswith(("NaN", "Infinity")):
        return RowFault(
            "number_not_finite",
            f"character {position + 1:,} starts a number that JSON cannot hold (NaN, infinite or too great); "
            "replace it by a finite number or null",
        )
    return RowFault(
        "broken_json",
        f"the line is no JSON ({reason}, at character {position + 1:,}); "
        "write one whole JSON object a line, with line breaks inside strings as \\n",
    )


def _check_texts(*names: str) -> Callable[[dict[str, Any]], None]:
    def check(row: dict[str, Any]) -> None:
        for name in names:
            if name not in row:
                raise RowFault(
                    "missing_field", f"the row has no field {name!r}; add it, as a string"
                )
            if not isinstance(row[name], str):
                raise RowFault(
                    "wrong_type", f"{name} is {kind_of(row[name])}; it must be a string; write its text"
                )
        if not row[names[-1]]:
            raise RowFault("nothing_to_train_on", f"{names[-1]} is empty, so there is nothing to train on; fill it in")

    return check


def _is_ordinary_pair(row: Any) -> bool:
    return type(row) is dict and type(row.get("prompt")) is str and type(row.get("completion")) is str and bool(
        row["completion"]
    )


def _is_ordinary_text(row: Any) -> bool:
    return type(row) is dict and type(row.get("text")) is str and bool(row["text"])


_CHECKS: dict[RowFormat, Callable[[dict[str, Any]], None]] = {
    "chat": check_chat,
    "prompt_completion": _check_texts("prompt", "completion"),
    "text": _check_texts("text"),
}
_ORDINARY: dict[RowFormat, Callable[[Any], bool]] = {
    "chat": is_ordinary_chat,
    "prompt_completion": _is_ordinary_pair,
    "text": _is_ordinary_text,
}

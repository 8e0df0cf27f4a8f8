"""What a row must be: its bytes come in, its canonical value goes out, or a `RowFault` that says what to change.

Two steps: bytes become an object (here), and the object a canonical value by the rules of its shape (`core.data.shapes`).
"""

from __future__ import annotations

from typing import Any

import orjson

from core.data.index.decoding import DELIMITERS, Layout, open_parser
from core.data.index.lines import MAX_ROW_BYTES
from core.data.shapes import RowFault, RowShape, kind_of

__all__ = ["Layout", "RowFault", "broken_row", "code_of_broken", "not_an_object", "parse_object", "parse_row", "too_long"]

def parse_row(raw: bytes, shape: RowShape, layout: Layout = "jsonl", header: tuple[str, ...] = ()) -> dict[str, Any]:
    """Parse one row, check it by the rules of its shape and give its canonical value; raise RowFault."""
    return shape.canonical(parse_object(raw, layout, header))


def parse_object(raw: bytes, layout: Layout = "jsonl", header: tuple[str, ...] = ()) -> dict[str, Any]:
    """Parse one row without the rules of a shape; raise RowFault with the reason and the remedy."""
    if len(raw) > MAX_ROW_BYTES:
        raise too_long(len(raw), layout)
    try:
        value = open_parser(layout, header)(raw)
    except (ValueError, MemoryError) as error:
        raise broken_row(raw, error) from None
    if isinstance(value, dict):
        return value
    raise not_an_object(value)


def too_long(length_bytes: int, layout: Layout = "jsonl") -> RowFault:
    ending = "that every quote is closed" if layout in DELIMITERS else "that rows end with a line feed"
    return RowFault("row_too_long", f"the row has {length_bytes:,} bytes; at most {MAX_ROW_BYTES:,} are read",
                    f"split it into several rows, or check {ending}")


def not_an_object(value: Any) -> RowFault:
    return RowFault("not_an_object", f"the row is {kind_of(value)}; each line must be one JSON object",
                    "write every row as its own object on its own line, without a list around them")


def broken_row(raw: bytes, error: ValueError | MemoryError) -> RowFault:
    """Name the cause for which bytes are no JSON object, or no text; `error` is the parser's."""
    code = code_of_broken(raw, error)
    if isinstance(error, orjson.JSONDecodeError) and code not in ("invalid_utf8", "too_deep"):
        return _broken_json(raw, error, code)
    return _FAULTS[code](raw)


def code_of_broken(raw: bytes, error: ValueError | MemoryError) -> str:
    """Tell the kind of the fault alone, cheaply: a file may have millions of such rows."""
    if not isinstance(error, orjson.JSONDecodeError):
        return "row_too_long" if isinstance(error, MemoryError) else "invalid_utf8"
    reason = error.msg
    if "UTF-8" in reason:
        return "invalid_utf8"
    if "depth" in reason or "ecursion" in reason:
        return "too_deep"
    if "surrogate" in reason:
        return "lone_surrogate"
    if "infinity" in reason or raw[error.pos : error.pos + 9].lstrip(b"-").startswith((b"NaN", b"Infinity")):
        return "number_not_finite"
    return "broken_json"


def _broken_json(raw: bytes, error: orjson.JSONDecodeError, code: str) -> RowFault:
    text, position = raw.decode(errors="replace"), error.pos + 1
    if code == "broken_json" and text[error.pos : error.pos + 9].lstrip("-").startswith(("NaN", "Infinity")):
        code = "number_not_finite"  # the cheap look counts bytes, the parser characters
    if code == "lone_surrogate":
        return RowFault(code, f"character {position:,} is half of a surrogate pair, which is no text",
                        "remove it, or write the whole pair")
    if code == "number_not_finite":
        return RowFault(code, f"character {position:,} starts a number that JSON cannot hold (NaN, infinite or too great)",
                        "replace it by a finite number or null")
    if text.strip() in ("{", "[", "[{"):
        return RowFault(code, f"the line holds nothing but {text.strip()!r}, as in JSON that is indented",
                        "write each object whole on one line, without a list around them")
    if text[:error.pos].rstrip(" ").endswith("\r"):
        return RowFault(code, "its lines end with carriage returns alone, so the whole file is one line",
                        "convert the line ends to line feeds (\\n)")
    if not text.strip("\0"):
        return RowFault(code, "the line holds nothing but zero bytes, as after a copy that broke off, or on a full disk",
                        "take it out, or copy the file again")
    return RowFault(code, f"the line is no JSON ({error.msg.partition(': line')[0]}, at character {position:,})",
                    "write one whole JSON object a line, with line breaks inside strings as \\n")


def _not_utf8(raw: bytes) -> RowFault:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return RowFault("invalid_utf8", f"byte {error.start + 1:,} of the line is not UTF-8", "convert the file to UTF-8")
    return RowFault("invalid_utf8", "the line is not UTF-8", "convert the file to UTF-8")


_FAULTS = {
    "invalid_utf8": _not_utf8,
    "too_deep": lambda _raw: RowFault("too_deep", "lists or objects lie more than 1,024 deep in the row", "flatten it"),
    "row_too_long": lambda _raw: RowFault("row_too_long", "the row needs more memory than one row may take",
                                          "split it into several rows"),
}

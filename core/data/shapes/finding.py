"""The first rows of a file, and what the user says of it → its shape.

Every shape that the user's words leave open is tried on the rows. A row belongs to each shape whose fields it has and whose
names for the roles it uses, be the rest of it right or wrong. Of the shapes that accept a row, the one wins that most rows
belong to, and among equals the one that needs more fields: a rule that some rows break is told of these rows, and does not
make the whole file one of a shape that asks for less. Where none accepts any, the first whose fields are there is taken, so
that its rules can say what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.data.shapes.columns import Columns
from core.data.shapes.faults import RowFault, names_of
from core.data.shapes.making import variants
from core.data.shapes.shape import SHAPES, RowShape, ShapeName

MOST_TRIED = 64


def find_shape(rows: Sequence[Any], candidates: Sequence[RowShape]) -> RowShape | None:
    """Give the candidate that most of the rows belong to; None when no row has the fields of any."""
    if len(candidates) == 1:
        return candidates[0]
    claimed = [shape for shape in candidates if any(map(shape.has_fields, rows))]
    return max(claimed, key=lambda shape: _claim(shape, rows), default=None)


def candidates(asked: str | None, columns: Columns) -> list[RowShape]:
    """The shapes that a request leaves open, in the order in which they are preferred."""
    names: Sequence[ShapeName] = SHAPES[:4] if asked == "preference" else [asked] if asked else _named_by(columns)  # pyright: ignore[reportAssignmentType]
    return [shape for name in names for shape in variants(name, columns)]


def open_shape(told: dict[str, Any]) -> RowShape:
    """Make a shape again from what its `to_json` told."""
    tags = {name: value for name, value in told["columns"].items() if name in ("role", "content")}
    parts = {name: value for name, value in told["columns"].items() if name not in tags}
    made: Iterator[RowShape] = variants(told["name"], Columns(parts, tags, told.get("roles") or {}))
    return next(shape for shape in made if shape.format == told["format"])


def unknown_shape(row: Any) -> RowFault:
    """The fault of a row by which no shape can be told."""
    return RowFault(
        "unknown_format", f"no shape can be told by the row's fields ({names_of(row) if isinstance(row, dict) else 'none'})",
        "give it messages (chat), conversations (ShareGPT), instruction and output (Alpaca), prompt and completion, text, or "
        'chosen and rejected; or map its own fields with columns, such as {"prompt": "question", "completion": "answer"}')


def _claim(shape: RowShape, rows: Sequence[Any]) -> tuple[bool, int]:
    """Whether the shape accepts any of the rows, and how many belong to it."""
    faults = [_fault(shape, row) for row in rows if shape.has_fields(row)]
    return None in faults, sum(code != "wrong_role" for code in faults)


def _fault(shape: RowShape, row: Any) -> str | None:
    """The code of the first rule that a row breaks."""
    try:
        shape.canonical(row)
    except RowFault as fault:
        return fault.code
    return None


def _named_by(columns: Columns) -> Sequence[ShapeName]:
    """The shapes that a mapping can be meant for."""
    parts, is_pair = columns.parts, columns.is_ranking or bool({"chosen", "rejected"} & columns.parts.keys())
    if columns.formatting == "alpaca":
        return ("preference_alpaca",) if is_pair else ("alpaca", "text")
    if columns.formatting or "messages" in parts or columns.has_tags:
        return ("preference_sharegpt",) if is_pair else ("chat", "sharegpt")
    if is_pair:
        if {"query", "history"} & parts.keys():
            return ("preference_alpaca",)
        return ("preference_openai", "preference_trl") if "prompt" not in parts else ("preference_trl",)
    if "completion" in parts:
        return ("prompt_completion",)
    if "text" in parts:
        return ("text",)
    if {"response", "query", "history", "input"} & parts.keys():
        return ("alpaca",)
    return ("prompt_completion", "alpaca", "text") if "prompt" in parts else SHAPES

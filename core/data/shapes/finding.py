"""The first rows of a file, and what the user says of it → its shape.

Every shape that the user's words leave open is tried on the rows. A row belongs to each shape whose fields it has and whose
names for the roles it uses, be the rest of it right or wrong. Of the shapes that accept a row, the one wins that most rows
belong to, and among equals the one that needs more fields: a rule that some rows break is told of these rows, and does not
make the whole file one of a shape that asks for less. Nor does a rule that all of them break make ShareGPT of OpenAI's rows: it
reads their fields too and knows fewer of them, so it accepts none that has OpenAI's fields and names of roles, unless the user
named the roles. Where no shape accepts any row, the first whose fields are there is taken, so that its rules can say what is
wrong.
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
    chats = [shape for shape in claimed if shape.name == "chat"]
    return max(claimed, key=lambda shape: _claim(shape, rows, chats if _is_guess(shape) else []), default=None)


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


def _claim(shape: RowShape, rows: Sequence[Any], stricter: Sequence[RowShape]) -> tuple[bool, int]:
    """Whether the shape accepts any of the rows that belong to no stricter one, and how many rows belong to it."""
    own = [row for row in rows if _has(shape, row)]
    return any(_fault(shape, row) is None and not any(_has(other, row) for other in stricter) for row in own), len(own)


def _is_guess(shape: RowShape) -> bool:
    """Tell ShareGPT whose names of roles are not the user's."""
    return shape.name == "sharegpt" and not shape.roles


def _has(shape: RowShape, row: Any) -> bool:
    """Tell whether a row belongs to a shape: by its fields and its names of roles, be the rest right or wrong."""
    return shape.has_fields(row) and _fault(shape, row) != "wrong_role"


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

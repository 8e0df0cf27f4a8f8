"""Rows of one source → what the model will see of them, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.data.preview.seeing import Eye, Seen
from core.data.rows import RowReader
from core.data.spec import Overlong, Places, RowRef, SourceSpec
from core.data.tokens import TextEncoder
from core.errors import InvalidValue

MOST_ROWS = 100


@dataclass(frozen=True)
class Request:
    source: SourceSpec
    tokenizer_path: str
    max_length: int
    first: int = 0
    count: int = 5
    overlong: Overlong = "truncate"
    places: Places = field(default_factory=Places)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Request:
        request = cls(**{**told, "source": SourceSpec.from_json(told["source"]), "places": places_in(told)})
        check_number("first", request.first)
        check_number("count", request.count, most=MOST_ROWS)
        return request


def places_in(told: dict[str, Any]) -> Places:
    return Places.from_json(told["places"]) if "places" in told else Places()


def check_number(name: str, value: int, *, most: int | None = None) -> None:
    if value < 0 or (most is not None and value > most):
        raise InvalidValue(f"{name} is {value}; use a number from 0{f' to {most}' if most else ''}", param=name)


def preview(request: Request) -> dict[str, Any]:
    """Raises DataError for a source or a model's folder that cannot be read."""
    eye = Eye(request.tokenizer_path, request.source.format)
    with RowReader((request.source,), request.places) as reader:
        total = reader.indexes[0].rows
        wanted = [RowRef(0, row) for row in range(request.first, min(request.first + request.count, total))]
        rows = [
            {"row": ref.row, "file": file, "line": line, "side": side, **_told(seen, eye.encoder)}
            for ref, row in zip(wanted, reader.read_many(wanted), strict=True)
            for file, line in [reader.where(ref)]
            for side, seen in eye.see(row, max_length=request.max_length, overlong=request.overlong)
        ]
        return {"rows_total": total, "rows": rows}


def _told(seen: Seen, encoder: TextEncoder) -> dict[str, Any]:
    if isinstance(seen, str):
        return {"text": "", "tokens": [], "token_count": 0, "trained_count": 0, "truncated": False, "refused": seen}
    ids, mask = seen.tokens.ids.tolist(), seen.tokens.loss_mask.tolist()
    return {
        "text": encoder.decode(ids),
        "tokens": [{"id": number, "text": text, "trained": is_trained}
                   for number, text, is_trained in zip(ids, encoder.decode_each(ids), mask, strict=True)],
        "token_count": len(ids), "trained_count": sum(mask), "truncated": seen.is_truncated, "refused": None,
    }

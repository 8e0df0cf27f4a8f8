"""Rows of one source → what the model will see of them, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.data.batches import BatchMaker, Share
from core.data.rows import RowReader
from core.data.spec import Hole, Overlong, Places, RowRef, SourceSpec
from core.data.templates import open_template
from core.data.tokens import Encoded, RowEncoder, TextEncoder, open_encoder
from core.errors import InvalidValue

MOST_ROWS = 100
MOST_SAMPLED = 1000
_MEASURED_TOKENS = 1 << 17
"""Lengths are told up to here."""


@dataclass(frozen=True)
class Request:
    source: SourceSpec
    tokenizer_path: str
    max_length: int
    first: int = 0
    count: int = 5
    sample: int = 0
    overlong: Overlong = "truncate"
    places: Places = field(default_factory=Places)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Request:
        places = Places.from_json(told["places"]) if "places" in told else Places()
        request = cls(**{**told, "source": SourceSpec.from_json(told["source"]), "places": places})
        for name, least, most in (("first", 0, None), ("count", 0, MOST_ROWS), ("sample", 0, MOST_SAMPLED)):
            value = getattr(request, name)
            if value < least or (most is not None and value > most):
                limit = f" to {most}" if most else ""
                raise InvalidValue(f"{name} is {value}; use a number from {least}{limit}", param=name)
        return request


def preview(request: Request) -> dict[str, Any]:
    """Raises DataError for a source or a model's folder that cannot be read."""
    encoder = open_encoder(request.tokenizer_path)
    template = open_template(request.tokenizer_path, row_format=request.source.format,
                             control_tokens=encoder.control_tokens, front=encoder.front)
    with RowReader((request.source,), request.places) as reader:
        def maker(max_length: int, overlong: Overlong) -> BatchMaker:
            rows = RowEncoder(encoder, max_length=max_length, overlong=overlong)
            return BatchMaker(reader, {request.source.format: template}, rows, sources=(request.source,), on_bad_row="skip",
                              share=Share(0, 1, max_length))

        total = reader.indexes[0].rows
        wanted = [RowRef(0, row) for row in range(request.first, min(request.first + request.count, total))]
        slots = maker(request.max_length, request.overlong).encode(wanted)
        places = [reader.where(ref) for ref in wanted]
        return {
            "rows_total": total,
            "rows": [{**_told(slot, encoder), "file": file, "line": line}
                     for slot, (file, line) in zip(slots, places, strict=True)],
            "statistics": _statistics(maker(_MEASURED_TOKENS, "truncate"), total, request),
        }


def _told(slot: Encoded | Hole, encoder: TextEncoder) -> dict[str, Any]:
    if isinstance(slot, Hole):
        return {"row": slot.ref.row, "text": "", "tokens": [], "token_count": 0, "trained_count": 0,
                "truncated": False, "refused": slot.reason}
    ids, mask = slot.tokens.ids.tolist(), slot.tokens.loss_mask.tolist()
    return {
        "row": slot.tokens.ref.row, "text": encoder.decode(ids),
        "tokens": [{"id": number, "text": encoder.decode_one(number), "trained": is_trained}
                   for number, is_trained in zip(ids, mask, strict=True)],
        "token_count": len(ids), "trained_count": sum(mask), "truncated": slot.is_truncated, "refused": None,
    }


def _statistics(maker: BatchMaker, total: int, request: Request) -> dict[str, Any] | None:
    if not request.sample or not total:
        return None
    numbers = np.unique(np.linspace(0, total - 1, min(request.sample, total)).astype(np.int64)).tolist()
    slots = [slot for row in numbers for slot in maker.encode([RowRef(0, row)])]
    encoded = [slot.tokens for slot in slots if isinstance(slot, Encoded)]
    lengths = np.array([len(each.ids) for each in encoded] or [0])
    p50, p95 = np.percentile(lengths, [50, 95]).tolist()
    return {
        "rows": len(slots), "refused": len(slots) - len(encoded), "min": int(lengths.min()), "mean": float(lengths.mean()),
        "p50": p50, "p95": p95, "max": int(lengths.max()),
        "trained_mean": float(np.mean([each.loss_mask.sum() for each in encoded] or [0])),
        "over_length": int((lengths > request.max_length).sum()),
    }

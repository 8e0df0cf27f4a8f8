"""StreamSpec → StreamPlan, and StreamSpec with a Position → Batches.

`plan_stream` reads indexes alone: milliseconds, no tokenizer. It is asked for in processes that run none, so what
`open_stream` needs beyond it (tokenizers, jinja2) is imported when a stream is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.data.pipeline.planning import plan_stream
from core.data.spec import Places, StreamSpec

if TYPE_CHECKING:
    from core.data.pipeline.stream import Stream
    from core.data.row_set import RowSet

__all__ = ["open_stream", "plan_stream"]


def open_stream(spec: StreamSpec, places: Places | None = None, *, skipped: RowSet | None = None) -> Stream:
    """Open a stream for reading; close it, or use it as a context. Raises DataError for what cannot be opened.

    `places` must hold those that the stream's shards lie in (`spec.place_names`); `skipped` are the rows at fault that were
    skipped before the position that is gone on from."""
    from core.data.pipeline import opening

    return opening.open_stream(spec, places, skipped=skipped)

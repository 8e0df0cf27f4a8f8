"""An open stream → its steps, written into blocks: one for each rank."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator, Sequence
from contextlib import suppress

from core.data.ahead.made import Made
from core.data.ahead.wire import Kind, pack_batch, write_block
from core.data.batches import share_out
from core.data.pipeline import open_stream
from core.data.pipeline.stream import Stream
from core.data.spec import Places, Position, Share, StreamSpec, Turn

YOUNG_OBJECTS = 50_000
"""Objects that may come before the collector looks for cycles among them: those of some dozen steps, so that it meets the few
that stay, and not the hundreds that the step in hand is made of."""


def open_settled(spec: StreamSpec, places: Places) -> Stream:
    """Open a stream for long, and give back what was needed only to open it: 20 MB of a tokenizer's file, and the collector's
    interest in what will stay."""
    gc.disable()  # thousands of objects come with the modules and the tokenizer, none goes
    stream = open_stream(spec, places)
    gc.enable()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return stream


def make(stream: Stream, position: Position | None, shares: Sequence[Share], turn: Turn) -> Iterator[Made]:
    """Give the steps after a position, those of a turn."""
    for step in stream.steps(position, turn):
        blocks = [write_block(Kind.BATCH, *pack_batch(share_out(step, share))) for share in shares]
        yield Made(step.due.step, step.faults, tuple(blocks))

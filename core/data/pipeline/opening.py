"""StreamSpec → an open Stream: the one module that opens every room."""

from __future__ import annotations

from core.data.batches import BatchMaker, Share
from core.data.pipeline.planning import make_orders, make_plan, make_schedule
from core.data.pipeline.stream import Stream
from core.data.rows import RowReader
from core.data.spec import RowFormat, StreamSpec
from core.data.templates import RowTemplate, open_template
from core.data.tokens import RowEncoder, open_encoder


def open_stream(spec: StreamSpec) -> Stream:
    """Open the tokenizer, the templates, the files and their indexes; raises DataError for what cannot be opened."""
    encoder = open_encoder(spec.tokenizer_path)
    templates: dict[RowFormat, RowTemplate] = {
        source.format: open_template(spec.tokenizer_path, row_format=source.format, control_tokens=encoder.control_tokens,
                                     front=encoder.front)
        for source in spec.sources
    }
    rows = RowEncoder(encoder, max_length=spec.max_length, overlong=spec.overlong)
    share = Share(spec.rank, spec.ranks, spec.micro_batch_tokens)
    reader = RowReader(spec.sources)
    try:
        orders = make_orders(spec, reader.indexes)
        schedule = make_schedule(spec, orders)
    except BaseException:
        reader.close()
        raise
    maker = BatchMaker(reader, templates, rows, sources=spec.sources, on_bad_row=spec.on_bad_row, share=share)
    return Stream(make_plan(schedule, orders), schedule, orders, maker, mixture=spec.mixture, reader=reader)

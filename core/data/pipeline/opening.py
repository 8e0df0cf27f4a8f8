"""StreamSpec → an open Stream: the one module that opens every room."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from core.data.bad_rows import BadRows
from core.data.pipeline.meeting import MakeExamples, Tokenizing, meet, some_examples
from core.data.pipeline.stream import Stream
from core.data.pipeline.timetable import Timetable
from core.data.row_set import RowSet
from core.data.rows import RowReader
from core.data.spec import Example, Places, Row, RowFormat, Share, SourceSpec, StreamSpec
from core.data.steps import StepMaker
from core.data.templates import RowTemplate, open_template
from core.data.tokens import RowEncoder, TextEncoder


def open_stream(spec: StreamSpec, places: Places | None = None, *, skipped: RowSet | None = None) -> Stream:
    """Open the files and their indexes, the tokenizer, the templates; raises DataError for what cannot be opened.

    `skipped` are the rows at fault that were skipped before the position that is gone on from: they count against
    `max_bad_rows`."""
    with ExitStack() as opened:
        reader = opened.enter_context(RowReader(spec.sources, places))
        timetable = Timetable(spec, reader.indexes)
        tokenizing = meet(spec, reader, _examples_of(spec))
        rows = RowEncoder(tokenizing.reference, max_length=spec.max_length, overlong=spec.overlong, fast=tokenizing.fast,
                          front=tokenizing.front)
        templates: dict[RowFormat, RowTemplate] = {
            source.format: _template(spec, source.format, tokenizing) for source in spec.sources}
        maker = StepMaker(reader, templates, rows, sources=spec.sources, on_bad_row=spec.on_bad_row)
        opened.pop_all()
    return Stream(timetable, maker, reader, share=Share(spec.rank, spec.ranks, spec.micro_batch_tokens),
                  bad_rows=lambda: BadRows(spec.max_bad_rows, spec.sources, skipped), warnings=tokenizing.warnings)


def _template(spec: StreamSpec, row_format: RowFormat, tokens: Tokenizing | TextEncoder) -> RowTemplate:
    return open_template(spec.tokenizer_path, row_format=row_format, control_tokens=tokens.control_tokens, front=tokens.front)


def _examples_of(spec: StreamSpec) -> MakeExamples:
    def make(source: SourceSpec, encoder: TextEncoder, rows: Sequence[Row]) -> list[Example]:
        return some_examples(rows, _template(spec, source.format, encoder).example)

    return make

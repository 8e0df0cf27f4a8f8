import csv
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.index.decoding import open_parser, read_header
from core.data.index.lines import LineCount, iter_blocks
from core.data.index.records import RecordEnds

FIELDS = st.text(st.sampled_from('ab",;\n\r\t ü☔'), max_size=12)

ROWS = st.lists(st.tuples(FIELDS.map("r{}".format), FIELDS).map(list), max_size=12)


def records_of(content: bytes, *, chunk_bytes: int, delimiter: str = ",") -> tuple[list[bytes], list[int]]:
    """All records and the lines that they start in."""
    records, lines = [], []
    for block in iter_blocks(io.BytesIO(content), LineCount(), chunk_bytes=chunk_bytes, delimiter=delimiter.encode()):
        records += [bytes(block.buffer[a - block.base : b - block.base]) for a, b in zip(block.starts, block.ends, strict=True)]
        lines += block.lines.tolist()
    return records, lines


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, manner=st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
       delimiter=st.sampled_from([",", "\t"]), chunk_bytes=st.integers(3, 40))
def test_records_are_those_that_python_wrote(rows, manner, delimiter, chunk_bytes):
    ending, quoting = manner
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows([["a", "b"], *rows])
    records, lines = records_of(file.getvalue().encode(), chunk_bytes=chunk_bytes, delimiter=delimiter)
    kind = "csv" if delimiter == "," else "tsv"
    parse = open_parser(kind, read_header(records[0], kind))
    assert [list(parse(record).values()) for record in records[1:]] == rows
    counts = np.cumsum([0, *(record.count(b"\n") + 1 for record in records)]).tolist()
    assert lines == counts[:-1]


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from('ab",\n'), max_size=60), size=st.integers(1, 20))
def test_stray_quotes_are_read_as_the_csv_module_reads_them(text, size):
    """Whatever the pieces, and whether quotes are counted or walked through."""
    content = np.frombuffer(text.encode(), np.uint8)
    find, found = RecordEnds(b","), []
    for start in range(0, len(content), size):
        ends, _ = find(content[start : start + size])
        found += (ends + start).tolist()
    lines = io.StringIO(text, newline="").readlines()
    reader, expected = csv.reader(lines), []
    for _ in reader:
        read = sum(map(len, lines[: reader.line_num]))
        if lines[reader.line_num - 1].endswith("\n"):
            expected.append(read - 1)
    assert [end for end in found if end not in expected] == []
    assert [end for end in expected if end not in found and text[end + 1 :]] == []


def test_a_record_that_a_quote_holds_open_is_passed_over_when_it_grows_too_long():
    content = b'a,b\n1,"' + b"x\n" * 50 + b'"\n2,3\n'
    found = [(int(block.lines[0]), block.is_too_long) for block in
             iter_blocks(io.BytesIO(content), LineCount(), chunk_bytes=16, max_row_bytes=32, delimiter=b",")]
    assert found == [(0, False), (1, True), (52, False)]

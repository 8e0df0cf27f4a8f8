import io
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.index import scan_offsets
from core.data.index.lines import LineCount, iter_blocks

LINE = st.one_of(
    st.sampled_from([b"", b" ", b"\t \r", b"\r", b"\r\r", b" a", b"a ", b"a\r", b"\xe2\x80\xa8", b"{}", b"\xef\xbb\xbf"]),
    st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")),
)


def naive_rows(content: bytes) -> list[tuple[int, int, int]]:
    """Give start, end and line of each row, the slow plain way."""
    rows, offset = [], 0
    for number, line in enumerate(content.split(b"\n")):
        start = offset + 3 * (number == 0 and line.startswith(b"\xef\xbb\xbf"))
        end = offset + len(line) - line.endswith(b"\r")
        if content[start:end].strip(b" \t\r"):
            rows.append((start, end, number))
        offset += len(line) + 1
    return rows


def found_rows(content: bytes, *, chunk_bytes: int, max_row_bytes: int = 4096) -> list[tuple[int, int, int]]:
    blocks = iter_blocks(io.BytesIO(content), LineCount(), chunk_bytes=chunk_bytes, max_row_bytes=max_row_bytes)
    return [row for block in blocks for row in np.stack([block.starts, block.ends, block.lines], axis=1).tolist()]


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(LINE, max_size=30), ends_open=st.booleans(), chunk_bytes=st.integers(1, 100))
def test_rows_are_those_of_a_naive_reader(lines: list[bytes], ends_open: bool, chunk_bytes: int):
    content = b"\n".join(lines) + (b"" if ends_open else b"\n")
    assert [tuple(row) for row in found_rows(content, chunk_bytes=chunk_bytes)] == naive_rows(content)


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(st.integers(1, 60), min_size=1, max_size=20), chunk_bytes=st.integers(1, 50))
def test_long_rows_are_passed_over_and_keep_their_place(lines: list[int], chunk_bytes: int):
    content = b"\n".join(b"x" * length for length in lines)
    blocks = list(iter_blocks(io.BytesIO(content), LineCount(), chunk_bytes=chunk_bytes, max_row_bytes=16))
    rows = [row for block in blocks for row in zip(block.starts.tolist(), block.ends.tolist(), strict=True)]
    assert rows == [(start, end) for start, end, _ in naive_rows(content)]
    for block in blocks:
        if block.is_too_long:
            assert block.ends[0] - block.starts[0] > 16


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(LINE, max_size=20), chunk_bytes=st.integers(1, 100))
def test_buffer_holds_the_bytes_of_its_rows(lines: list[bytes], chunk_bytes: int):
    content = b"\n".join(lines)
    for block in iter_blocks(io.BytesIO(content), LineCount(), chunk_bytes=chunk_bytes, max_row_bytes=4096):
        for start, end in zip(block.starts.tolist(), block.ends.tolist(), strict=True):
            assert bytes(block.buffer[start - block.base : end - block.base]) == content[start:end]


def test_every_chunk_is_seen_once_and_lines_are_counted():
    content, seen, count = b"a\n\nbb\r\n" * 50, [], LineCount()
    for _ in iter_blocks(io.BytesIO(content), count, on_chunk=lambda chunk: seen.append(bytes(chunk)), chunk_bytes=7):
        pass
    assert b"".join(seen) == content
    assert (count.lines, count.bytes) == (150, len(content))


def test_offsets_of_a_file_are_where_its_rows_start(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\r\n\n{"b":"\xe2\x80\xa8"}')
    assert scan_offsets(path).tolist() == [3, 13]
    path.write_bytes(b"")
    assert scan_offsets(path).tolist() == []

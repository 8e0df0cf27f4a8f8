import io
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.index.arrays import ArrayLines
from core.data.index.unpacking import BrokenFile

VALUES = st.recursive(st.none() | st.integers(-9, 9) | st.text('a"\\[]{},: \n\r\tü', max_size=8),
                      lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(st.text('k"\\[', max_size=3), inner, max_size=3), max_leaves=8)


class Pieces:
    """Bytes that come a few at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        self._file, self._size = io.BytesIO(content), size

    def readinto(self, buffer: memoryview, /) -> int:
        return self._file.readinto(buffer[: self._size])


def lines_of(content: bytes, *, chunk_bytes: int = 1 << 16, size: int = 1 << 16) -> list[bytes]:
    file, text = ArrayLines(Pieces(content, size)), b""
    buffer = memoryview(bytearray(chunk_bytes))
    while count := file.readinto(buffer):
        text += bytes(buffer[:count])
    assert len(text) == len(content)
    return [line.strip() for line in text.split(b"\n") if line.strip()]


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text("k", max_size=2), VALUES, max_size=3), max_size=8),
       indent=st.sampled_from([None, 1, "\t"]), is_ascii=st.booleans(), start=st.sampled_from([b"", b"\xef\xbb\xbf", b" \n"]),
       chunk_bytes=st.integers(3, 30), size=st.integers(1, 30))
def test_elements_are_those_of_the_json_module(rows, indent, is_ascii, start, chunk_bytes, size):
    content = start + json.dumps(rows, indent=indent, ensure_ascii=is_ascii).encode() + b"\r\n"
    assert [orjson.loads(line) for line in lines_of(content, chunk_bytes=chunk_bytes, size=size)] == rows


def test_a_raw_line_feed_in_a_string_stays_forbidden():
    (line,) = lines_of(b'[{"a": "x\ny"}]')
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(line)


def test_what_is_wrong_inside_an_element_stays_in_its_line():
    lines = lines_of(b'[{"a": 1}, {"a": tru}, {"a": 3}]')
    assert [lines[0], lines[2]] == [b'{"a": 1}', b'{"a": 3}']
    assert lines[1] == b'{"a": tru}'


@pytest.mark.parametrize(("content", "words"), [
    (b'[{"a": 1}, {"a"', "its list is cut: the file ends after 15 bytes"),
    (b'[{"a": "]', "its list is cut"),
    (b"", "its list is cut: the file ends after 0 bytes"),
    (b'[{"a": 1}] [', "something follows its list at byte 12"),
    (b'[{"a": 1}]\n{"a": 2}', "something follows its list at byte 12"),
    (b'[{"a": 1}]]', "something follows its list at byte 11"),
    (b'[{"a": 1}}', "closed by '}' instead of ']' at byte 10"),
    (b'{"a": 1}', "something stands before its '\\['"),
])
def test_a_list_that_does_not_end_as_lists_do_is_named(content, words):
    with pytest.raises(BrokenFile, match=words):
        lines_of(content)


def test_depth_has_no_bound_here():
    (line,) = lines_of(b"[" * 50_000 + b"]" * 50_000)
    assert line == b"[" * 49_999 + b"]" * 49_999

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.index.detecting import Packing, detect_packing
from core.data.index.unpacking import BrokenFile, Unpacked

PACK: dict[Packing, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}

each_packing = pytest.mark.parametrize("packing", PACK)


def unpacked(content: bytes, packing: Packing, *, most_bytes: int = 1 << 30, at_once: int = 1 << 16) -> bytes:
    file, text = Unpacked(io.BytesIO(content), packing, most_bytes=most_bytes), b""
    buffer = memoryview(bytearray(at_once))
    while count := file.readinto(buffer):
        text += bytes(buffer[:count])
    return text


@each_packing
@settings(max_examples=30, deadline=None)
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4), at_once=st.integers(1, 64))
def test_members_that_follow_one_another_are_one_text(packing: Packing, parts: list[bytes], at_once: int):
    content = b"".join(PACK[packing](part) for part in parts)
    assert detect_packing(content) == packing
    assert unpacked(content, packing, at_once=at_once) == b"".join(parts)


@each_packing
def test_text_of_many_pieces_comes_whole(packing: Packing):
    text = bytes(range(256)) * 4096
    assert unpacked(PACK[packing](text), packing) == text


@each_packing
def test_a_cut_stream_says_how_far_it_was_good(packing: Packing):
    content = PACK[packing](bytes(range(256)) * 4096)
    with pytest.raises(BrokenFile, match=f"its {packing} stream is cut: the file ends in its middle, after [0-9,]+ bytes"):
        unpacked(content[:-20], packing)


@each_packing
def test_a_torn_stream_is_named(packing: Packing):
    content = bytearray(PACK[packing](bytes(range(256)) * 4096))
    content[-16:-4] = b"\xff" * 12
    with pytest.raises(BrokenFile, match=rf"its {packing} stream is (torn after|cut)"):
        unpacked(bytes(content), packing)


@each_packing
def test_what_follows_a_stream_and_is_none_is_named(packing: Packing):
    with pytest.raises(BrokenFile, match="torn after 4 bytes"):
        unpacked(PACK[packing](b"text") + b"\nmore", packing)


def test_zeros_behind_a_stream_are_left_alone():
    assert unpacked(gzip.compress(b"text") + b"\0" * 512, "gz") == b"text"


@each_packing
def test_more_text_than_allowed_is_refused(packing: Packing):
    with pytest.raises(BrokenFile, match="holds more than 1,000 bytes of text") as caught:
        unpacked(PACK[packing](b"x" * 5000), packing, most_bytes=1000)
    assert caught.value.code == "file_too_large"


@each_packing
def test_a_bomb_is_not_unpacked_to_its_end(packing: Packing):
    content = PACK[packing](bytes(200 << 20))
    buffer = memoryview(bytearray(1 << 20))
    file, taken = Unpacked(io.BytesIO(content), packing, most_bytes=1 << 40), 0
    try:
        while count := file.readinto(buffer):
            taken += count
    except BrokenFile as fault:
        assert fault.code == "decompression_bomb"  # noqa: PT017 - what was taken before counts as well
    assert 0 < taken < 160 << 20

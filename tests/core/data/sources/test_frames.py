from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.sources.frames import FRAME_BYTES, FramesShard, FrameWriter
from core.errors import DataError


def framed(path: Path, *pieces: bytes) -> Path:
    writer = FrameWriter(path)
    for piece in pieces:
        writer.write(piece)
    assert writer.finish() == path.stat().st_size
    return path


def lines(count: int) -> bytes:
    numbers = np.random.default_rng(1).integers(0, 1 << 60, count).tolist()
    return b"".join(b'{"text": "%d"}\n' % number for number in numbers)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 3 * FRAME_BYTES), max_size=4), seed=st.integers(0, 99), has_lines=st.booleans())
def test_any_part_is_what_it_is_in_the_text(tmp_path_factory, sizes, seed, has_lines):
    rng = np.random.default_rng(seed)
    pieces = [rng.integers(10 if has_lines else 11, 40, size).astype(np.uint8).tobytes() for size in sizes]
    text = b"".join(pieces)
    path = framed(tmp_path_factory.mktemp("frames") / "f.zst", *pieces)
    with FramesShard.open("f", str(path)) as shard:
        for _ in range(20):
            start, end = sorted(rng.integers(0, len(text) + 1, 2).tolist())
            assert shard.read(start, end) == text[start:end]
        with pytest.raises(DataError, match=f"'f' ends at byte {len(text):,} of its text"):
            shard.read(len(text), len(text) + 1)


def test_frames_end_behind_lines(tmp_path: Path):
    content = framed(tmp_path / "f.zst", lines(20_000)).read_bytes()
    parts, left = [], content
    while left[:4] == b"\x28\xb5\x2f\xfd":
        stream = zstandard.ZstdDecompressor().decompressobj()
        parts.append(stream.decompress(left))
        left = stream.unused_data
    assert len(parts) > 3
    assert all(part.endswith(b"\n") and len(part) <= FRAME_BYTES for part in parts)
    assert b"".join(parts) == lines(20_000)


def test_other_tools_read_the_text(tmp_path: Path):
    path = framed(tmp_path / "f.zst", lines(9000))
    with path.open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read() == lines(9000)


def test_a_torn_frame_is_named(tmp_path: Path):
    path = framed(tmp_path / "f.zst", lines(9000))
    content = bytearray(path.read_bytes())
    content[200:220] = b"\xff" * 20
    path.write_bytes(content)
    with FramesShard.open("f", str(path)) as shard, pytest.raises(DataError, match="frame 0 of shard 'f' is torn"):
        shard.read(0, 10)


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_frames_without_their_table_are_refused(tmp_path: Path, keep: int):
    path = framed(tmp_path / "f.zst", lines(9000))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="the frames of shard 'f' are missing or torn"):
        FramesShard.open("f", str(path))


def test_nothing_is_a_text_too(tmp_path: Path):
    with FramesShard.open("f", str(framed(tmp_path / "f.zst"))) as shard:
        assert shard.read(0, 0) == b""

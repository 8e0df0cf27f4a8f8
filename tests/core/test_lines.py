"""Lines are written whole and in order; a reader who does not read, or is gone, keeps nobody waiting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

import pytest

from core.lines import WAITING_BYTES, LineWriter

LINES = 3 * WAITING_BYTES // 1000


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        yield reader, writer


def speak(writer: LineWriter, lines: int) -> None:
    for number in range(lines):
        writer.write(f"{number:999}\n".encode())


def left_out(lines: int) -> bytes:
    return f"without {lines}\n".encode()


def test_a_reader_who_reads_late_is_told_how_much_was_left_out_and_reads_on(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, out = pipe
    writer = LineWriter(out, say_left_out=left_out)
    speak(writer, LINES)

    stands_at = 0
    while stands_at < LINES:
        line = reader.readline()
        if line.startswith(b"without"):
            stands_at += int(line.split()[1])
        else:
            assert int(line) == stands_at
            stands_at += 1
    writer.write(b"again\n")
    assert reader.readline() == b"again\n"


def test_lines_come_whole_through_a_descriptor_that_blocks_nobody(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, out = pipe
    os.set_blocking(out.fileno(), False)
    speak(LineWriter(out, say_left_out=left_out), 500)

    assert [int(reader.readline()) for _ in range(500)] == list(range(500))


def test_a_reader_who_is_gone_disturbs_nobody(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, out = pipe
    writer = LineWriter(out, say_left_out=left_out)
    reader.close()
    speak(writer, LINES)
    writer.flush()


def test_what_was_said_is_written_after_a_flush(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, out = pipe
    writer = LineWriter(out, say_left_out=left_out)
    speak(writer, 10)
    writer.flush()

    os.set_blocking(reader.fileno(), False)
    assert len(os.read(reader.fileno(), 65536).splitlines()) == 10

from pathlib import Path

import pytest

from core.data.sources import open_source
from core.data.spec import SourceSpec
from core.errors import DataError


def source_of(path: Path) -> SourceSpec:
    return SourceSpec("wiki", str(path), "", "text", "")


def test_bytes_between_two_offsets_are_given(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"0123456789")
    with open_source(source_of(tmp_path / "a")) as source:
        assert (source.read(2, 5), source.read(9, 10), source.read(4, 4)) == (b"234", b"9", b"")


def test_a_file_that_became_shorter_is_named(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"0123456789")
    with open_source(source_of(tmp_path / "a")) as source, pytest.raises(DataError, match="'wiki' ends at byte 10"):
        source.read(5, 20)


def test_a_file_that_is_gone_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="'wiki' cannot be opened"):
        open_source(source_of(tmp_path / "gone"))


def test_closing_twice_is_harmless(tmp_path: Path):
    (tmp_path / "a").touch()
    source = open_source(source_of(tmp_path / "a"))
    source.close()
    source.close()

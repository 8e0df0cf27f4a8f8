from pathlib import Path

import pytest

from core.data.sources import open_shard
from core.data.spec import ShardSpec
from core.errors import DataError


def shard_of(path: Path) -> ShardSpec:
    return ShardSpec(str(path), "", "")


def test_bytes_between_two_offsets_are_given(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"0123456789")
    with open_shard(shard_of(tmp_path / "a"), source="wiki") as shard:
        assert (shard.read(2, 5), shard.read(9, 10), shard.read(4, 4)) == (b"234", b"9", b"")


def test_a_file_that_became_shorter_is_named(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"0123456789")
    with open_shard(shard_of(tmp_path / "a"), source="wiki") as shard, pytest.raises(DataError, match="'wiki' ends at byte 10"):
        shard.read(5, 20)


def test_a_file_that_is_gone_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="'wiki' cannot be opened"):
        open_shard(shard_of(tmp_path / "gone"), source="wiki")


def test_closing_twice_is_harmless(tmp_path: Path):
    (tmp_path / "a").touch()
    shard = open_shard(shard_of(tmp_path / "a"), source="wiki")
    shard.close()
    shard.close()

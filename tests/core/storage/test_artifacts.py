from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import InvalidValue, Unavailable
from core.storage.artifacts import Artifacts, file_key, index_key, run_key


def test_published_file_lies_under_its_key_and_nothing_is_left_aside(tmp_path: Path):
    artifacts = Artifacts(tmp_path / "storage")
    temporary = artifacts.new_temporary()
    temporary.write_bytes(b"rows")
    assert artifacts.publish(temporary, file_key("file-1")).read_bytes() == b"rows"
    assert list((artifacts.root / ".incoming").iterdir()) == []


def test_published_folder_is_moved_whole(tmp_path: Path):
    artifacts = Artifacts(tmp_path)
    temporary = artifacts.new_temporary()
    (temporary / "inner").mkdir(parents=True)
    (temporary / "inner" / "offsets").write_bytes(b"1")
    artifacts.publish(temporary, index_key("dsv_1"))
    assert (artifacts.path("indexes/dsv_1-00000") / "inner" / "offsets").read_bytes() == b"1"


@pytest.mark.parametrize("key", ["", ".", "..", "../x", "a/../b", "/etc/passwd", "a//b", "a/", ".incoming/x", "a/.b", "a\\b",
                                 "a\0b", "a\nb", "files/ä"])
def test_key_that_is_no_plain_path_is_refused(tmp_path: Path, key: str):
    with pytest.raises(InvalidValue, match="no plain relative path"):
        Artifacts(tmp_path).path(key)


def test_key_that_leaves_by_a_link_is_refused(tmp_path: Path):
    artifacts = Artifacts(tmp_path / "storage")
    artifacts.root.mkdir()
    (artifacts.root / "files").symlink_to(tmp_path)
    with pytest.raises(InvalidValue, match="leads out of the storage root"):
        artifacts.path("files/file-1")


def test_delete_is_safe_twice_and_takes_folders(tmp_path: Path):
    artifacts = Artifacts(tmp_path)
    (artifacts.path("indexes/dsv_1") / "deep").mkdir(parents=True)
    for _ in range(2):
        artifacts.delete("indexes/dsv_1")
        artifacts.delete("files/file-1")
    assert not artifacts.path("indexes/dsv_1").exists()


def test_what_is_still_written_to_deep_inside_is_not_tidied_away(tmp_path: Path):
    artifacts = Artifacts(tmp_path)
    left, used = artifacts.new_temporary(), artifacts.new_temporary()
    for folder in (left, used):
        (folder / "index").mkdir(parents=True)
        (folder / "index" / "offsets").write_bytes(b"1")
        for path in (folder / "index" / "offsets", folder / "index", folder):
            os.utime(path, (1, 1))
    with (used / "index" / "offsets").open("ab") as out:
        out.write(b"2")
    artifacts.tidy()
    assert (left.exists(), used.exists()) == (False, True)


def test_full_disk_is_told_before_it_is_full(tmp_path: Path):
    artifacts = Artifacts(tmp_path)
    artifacts.require_space(10, 1)
    with pytest.raises(Unavailable, match="bytes free") as caught:
        artifacts.require_space(artifacts.free_bytes() + 1, 0)
    assert caught.value.code == "insufficient_storage"


def test_runs_have_folders_that_differ_by_fence():
    assert run_key("ftjob-1", 3, "run_x") == "jobs/ftjob-1/runs/000003-run_x"

from pathlib import Path

import pytest

from core.data.shards import OpenPlaces
from core.data.shards.folder import FolderStore
from core.data.shards.store import Stat
from core.data.spec import Place, Places
from core.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "deep").mkdir(parents=True)
    for path in ("b.jsonl", "a.jsonl", "deep/c.jsonl"):
        (root / path).write_text(path)
    (tmp_path / "secret").write_text("secret")
    (root / "out.jsonl").symlink_to(tmp_path / "secret")
    (root / "within.jsonl").symlink_to(root / "a.jsonl")
    (root / "up").symlink_to(tmp_path)
    return root


def opened(root: Path) -> OpenPlaces:
    return OpenPlaces(Places({"shared": Place("shared", f"file://{root}")}), sleep=lambda seconds: None)


def test_files_are_listed_in_order(root: Path) -> None:
    with opened(root) as places:
        assert places.list_paths("shared", "**/*.jsonl") == ["a.jsonl", "b.jsonl", "deep/c.jsonl", "out.jsonl", "within.jsonl"]
        assert places.list_paths("shared", "deep/") == ["deep/c.jsonl"]


def test_a_file_has_a_real_path_inside_the_place(root: Path) -> None:
    with opened(root) as places:
        assert places.local_path("shared", "deep/c.jsonl") == str(root / "deep/c.jsonl")
        assert places.local_path("shared", "within.jsonl") == str(root / "a.jsonl")
        assert places.stat("shared", "a.jsonl").size == 7
        with places.open_for_reading("shared", "a.jsonl") as file:
            assert file.read() == b"a.jsonl"


@pytest.mark.parametrize("path", ["out.jsonl", "up/secret"])
def test_a_link_out_of_the_place_is_not_followed(root: Path, path: str) -> None:
    with opened(root) as places:
        for ask in (places.local_path, places.stat):
            with pytest.raises(DataError, match=r"cannot be read: a link leads out of the place, .* narrower pattern"):
                ask("shared", path)
        with pytest.raises(DataError, match="a link leads out"):
            places.list_paths("shared", "up/*")


def test_a_folder_that_is_named_as_a_file_is_told_how_to_name_all_below_it(root: Path) -> None:
    with opened(root) as places, pytest.raises(DataError, match="'deep' in place 'shared' cannot be read: it is a folder; end"):
        places.local_path("shared", "deep")


def test_a_file_that_is_gone_is_told(root: Path) -> None:
    with opened(root) as places, pytest.raises(DataError, match="'gone' in place 'shared' is not there"):
        places.local_path("shared", "gone")


def test_ranges_are_read_as_they_stand(root: Path) -> None:
    store = FolderStore(Place("shared", f"file://{root}"))
    assert store.read("b.jsonl", 2, 5, Stat(7, "")) == b"jso"

"""What every storage does, a folder and a bucket alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.storage import manifest
from core.storage.artifacts import Artifacts
from core.storage.bucket import Bucket
from core.storage.manifest import FolderDamaged
from core.storage.shared import SharedArtifacts
from tests import remote


@pytest.fixture(scope="module")
def store() -> Iterator[remote.Bucket]:
    with remote.a_bucket() as store:
        yield store


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    return hosts(request, tmp_path)[0]


@pytest.fixture(params=["folder", "bucket"])
def two_hosts(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Artifacts, Artifacts]:
    return hosts(request, tmp_path)


def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Artifacts, Artifacts]:
    """One storage as two hosts see it: the same folder, or a bucket with a folder of each one's own."""
    if request.param == "folder":
        return Artifacts(tmp_path / "storage"), Artifacts(tmp_path / "storage")
    place = request.getfixturevalue("store").place(prefix=f"own/{tmp_path.name}")
    return tuple(SharedArtifacts(tmp_path / host, Bucket(place), copies_bytes=1 << 20) for host in ("a", "b"))  # pyright: ignore[reportReturnType]


def a_file(storage: Artifacts, key: str, content: bytes) -> None:
    temporary = storage.new_temporary()
    temporary.write_bytes(content)
    storage.publish(temporary, key)


def a_folder(storage: Artifacts, key: str, **files: bytes) -> str:
    """Publish a folder that is sealed; give the digest of its manifest."""
    temporary = storage.new_temporary()
    temporary.mkdir(parents=True)
    for name, content in files.items():
        (temporary / name).write_bytes(content)
    sealed = manifest.seal(temporary)
    storage.publish(temporary, key)
    return sealed.digest


def bytes_of(storage: Artifacts, key: str) -> bytes | None:
    path = storage.path(key)
    if path.is_file():
        return path.read_bytes()
    found = storage.stream(key)
    return b"".join(found[1]) if found else None


def test_a_file_is_read_at_the_other_host(two_hosts: tuple[Artifacts, Artifacts]) -> None:
    here, there = two_hosts
    a_file(here, "files/file-1", b"row\n" * 1000)
    assert bytes_of(there, "files/file-1") == b"row\n" * 1000
    assert there.read_end("files/file-1", 6) == b"w\nrow\n"
    brought = there.bring("files/file-1")
    assert brought is not None
    assert brought.read_bytes() == b"row\n" * 1000


def test_what_was_never_published_is_not_there(storage: Artifacts) -> None:
    assert bytes_of(storage, "files/none") is None
    assert storage.read_end("files/none", 10) == b""
    assert storage.bring("files/none") is None
    for look in (storage.manifest_of, lambda key: storage.whole(key, "d")):
        with pytest.raises(FolderDamaged):
            look("indexes/none")


def test_a_folder_is_whole_at_the_other_host(two_hosts: tuple[Artifacts, Artifacts]) -> None:
    here, there = two_hosts
    digest = a_folder(here, "indexes/one", offsets=b"12", hashes=b"")
    assert {file.name for file in there.manifest_of("indexes/one").files} == {"offsets", "hashes"}
    assert (there.fetch("indexes/one") / "offsets").read_bytes() == b"12"
    assert (there.whole("indexes/one", digest) / "offsets").read_bytes() == b"12"
    with pytest.raises(FolderDamaged):
        there.whole("indexes/one", "another digest")


def test_what_lies_below_a_folder_is_listed_when_it_is_old_enough(two_hosts: tuple[Artifacts, Artifacts]) -> None:
    here, there = two_hosts
    a_file(here, "files/file-1", b"rows")
    a_folder(here, "indexes/one.1", offsets=b"1", hashes=b"2")
    a_folder(here, "indexes/one.10", offsets=b"1")
    now = datetime.now(UTC)
    for before, listed in ((now - timedelta(minutes=1), []), (now + timedelta(minutes=1), ["indexes/one.1", "indexes/one.10"])):
        assert sorted(there.iter_untouched("indexes", before=before)) == listed
    assert list(there.iter_untouched("files", before=now + timedelta(minutes=1))) == ["files/file-1"]
    assert list(there.iter_untouched("frames", before=now + timedelta(minutes=1))) == []


def test_what_is_deleted_is_gone_for_all_and_twice_is_no_fault(two_hosts: tuple[Artifacts, Artifacts]) -> None:
    here, there = two_hosts
    a_file(here, "files/file-1", b"rows")
    digest = a_folder(here, "indexes/one", offsets=b"12")
    for _ in range(2):
        here.delete("files/file-1")
        here.delete("indexes/one")
    assert bytes_of(there, "files/file-1") is None
    with pytest.raises(FolderDamaged):
        there.whole("indexes/one", digest)


def test_a_deletion_takes_no_neighbour_whose_name_begins_alike(storage: Artifacts) -> None:
    a_file(storage, "files/file-1", b"one")
    a_file(storage, "files/file-10", b"ten")
    a_folder(storage, "indexes/one", offsets=b"1")
    a_folder(storage, "indexes/one-more", offsets=b"2")
    storage.delete("files/file-1")
    storage.delete("indexes/one")
    assert bytes_of(storage, "files/file-10") == b"ten"
    assert (storage.fetch("indexes/one-more") / "offsets").read_bytes() == b"2"

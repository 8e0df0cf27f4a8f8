from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest

from core.storage import manifest
from core.storage.manifest import FolderDamaged


def sealed(folder: Path) -> manifest.Manifest:
    (folder / "a.txt").write_bytes(b"water")
    (folder / "b.bin").write_bytes(bytes(5000))
    return manifest.seal(folder)


def test_a_sealed_folder_verifies(tmp_path: Path) -> None:
    made = sealed(tmp_path)
    assert manifest.verify(tmp_path, made.digest) == made
    assert [(file.name, file.bytes) for file in made.files] == [("a.txt", 5), ("b.bin", 5000)]
    assert made.bytes == 5005


def test_the_digest_is_that_of_the_manifests_bytes(tmp_path: Path) -> None:
    made = sealed(tmp_path)
    assert made.digest == hashlib.sha256((tmp_path / manifest.NAME).read_bytes()).hexdigest()


def test_the_same_content_has_the_same_digest(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        digests.append(sealed(tmp_path / name).digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(("change", "told"), [
    (lambda folder: (folder / "a.txt").write_bytes(b"wafer"), "SHA-256"),
    (lambda folder: (folder / "a.txt").write_bytes(b"wat"), "has 3 bytes, the manifest says 5"),
    (lambda folder: (folder / "a.txt").unlink(), "is missing"),
    (lambda folder: (folder / manifest.NAME).unlink(), "never finished"),
    (lambda folder: (folder / manifest.NAME).write_bytes(b'{"files": [{'), "cannot be read"),
    (lambda folder: (folder / manifest.NAME).write_bytes(b'{"files": [1]}'), "cannot be read"),
    (lambda folder: (folder / manifest.NAME).write_bytes(b"[]"), "cannot be read"),
])
def test_what_differs_is_named(tmp_path: Path, change, told: str) -> None:
    sealed(tmp_path)
    change(tmp_path)
    with pytest.raises(FolderDamaged, match=told):
        manifest.verify(tmp_path)


def test_a_link_is_no_file_of_ours(tmp_path: Path) -> None:
    sealed(tmp_path)
    (tmp_path / "a.txt").rename(tmp_path / "elsewhere")
    (tmp_path / "a.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderDamaged, match="is missing"):
        manifest.verify(tmp_path)


@pytest.mark.parametrize("name", ["../a.txt", "/etc/passwd", "..", "", "manifest.json"])
def test_a_name_that_points_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    sealed(tmp_path)
    told = orjson.loads((tmp_path / manifest.NAME).read_bytes())
    told["files"][0]["name"] = name
    (tmp_path / manifest.NAME).write_bytes(orjson.dumps(told))
    with pytest.raises(FolderDamaged, match="not a plain file name"):
        manifest.verify(tmp_path)


def test_another_manifest_than_the_ledgers_is_refused(tmp_path: Path) -> None:
    sealed(tmp_path)
    with pytest.raises(FolderDamaged, match="the ledger says ffff"):
        manifest.verify(tmp_path, "f" * 64)

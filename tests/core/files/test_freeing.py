from __future__ import annotations

from pathlib import Path

from core.db.session import Ledger
from core.errors import StorageAway
from core.files.freeing import free_unrecorded
from core.storage.artifacts import Artifacts, file_key
from tests.factories import a_file
from tests.worker.away_ledger import AwayLedger


def stored(artifacts: Artifacts, file_id: str) -> Path:
    path = artifacts.path(file_key(file_id))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"rows")
    return path


def test_bytes_go_unless_their_row_is_there(sqlite_ledger: Ledger, tmp_path: Path):
    artifacts = Artifacts(tmp_path)
    with sqlite_ledger.write() as session:
        known = a_file(session).id
    paths = [stored(artifacts, file_id) for file_id in (known, "file-unknown")]
    for file_id in (known, "file-unknown"):
        free_unrecorded(sqlite_ledger, artifacts, file_id)
    assert [path.exists() for path in paths] == [True, False]


def test_bytes_stay_while_nobody_can_tell(sqlite_ledger: Ledger, tmp_path: Path):
    ledger, path = AwayLedger(sqlite_ledger), stored(Artifacts(tmp_path), "file-1")
    ledger.is_away.set()
    free_unrecorded(ledger, Artifacts(tmp_path), "file-1")  # pyright: ignore[reportArgumentType]
    assert path.exists()


class AwayStorage(Artifacts):
    def delete(self, key: str) -> None:
        raise StorageAway("the bucket does not answer")


def test_storage_that_is_away_is_no_error_of_its_own(sqlite_ledger: Ledger, tmp_path: Path):
    free_unrecorded(sqlite_ledger, AwayStorage(tmp_path), "file-1")

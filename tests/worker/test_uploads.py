from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.spec import Place
from core.errors import StorageAway
from core.storage import manifest
from core.storage.bucket import Bucket
from core.storage.shared import SharedArtifacts
from tests.waiting import wait_for
from worker.compute import SPEC_NAME
from worker.reports import CheckpointKind, Line, Saved, SavingPaused, SavingResumed
from worker.uploads import Uploads, next_of

RUN = "jobs/j/runs/000002-r"


class Store(SharedArtifacts):
    """A storage whose bucket is a list of what went up; it may be away, and it may hold an upload back."""

    def __init__(self, root: Path) -> None:
        nowhere = Place("p", "s3://bucket", {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"})
        super().__init__(root, Bucket(nowhere), copies_bytes=0)
        self.up: list[str] = []
        self.is_away = False
        self.fails_with: Exception | None = None
        self.may_go = threading.Event()
        self.may_go.set()

    def upload(self, folder: Path, key: str, *, must_stop: Callable[[], bool] = lambda: False) -> None:
        while not self.may_go.wait(0.01):
            if must_stop():
                raise InterruptedError
        if self.is_away:
            raise StorageAway("the storage does not answer")
        if self.fails_with is not None:
            raise self.fails_with
        manifest.read(folder)
        self.up.append(key.rpartition("/")[2])

    def put(self, path: Path, key: str) -> None:
        if self.is_away:
            raise StorageAway("the storage does not answer")
        self.up.append(key.removeprefix(f"{RUN}/") + (f" {path.read_text()}" if path.name == "run.log" else ""))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / RUN / "checkpoints").mkdir(parents=True)
    (tmp_path / RUN / SPEC_NAME).write_bytes(b"{}")
    return Store(tmp_path)


def saved(store: Store, step: int, kind: CheckpointKind = "recovery") -> Saved:
    folder = store.path(RUN) / "checkpoints" / f"step-{step}"
    folder.mkdir()
    (folder / "weights").write_bytes(b"w")
    sealed = manifest.seal(folder)
    return Saved(step, kind, str(folder), sealed.digest, sealed.bytes, {})


def test_spec_goes_up_first_and_a_checkpoint_is_told_when_it_is_up(store: Store) -> None:
    heard: list[Line] = []
    uploads = Uploads(store, RUN, note=heard.append)
    made = saved(store, 4)
    uploads.note(made)
    (store.path(RUN) / "run.log").write_text("the end")
    assert uploads.close(5)
    assert store.up[:2] == [SPEC_NAME, "step-4"]
    assert store.up[-1] == "run.log the end"
    assert heard == [made]


def test_shown_ones_go_up_in_their_order_and_of_recovery_points_the_newest(store: Store) -> None:
    waiting = [saved(store, 1), saved(store, 2, "listed"), saved(store, 3), saved(store, 4, "listed"), saved(store, 5)]
    taken = []
    while (found := next_of(waiting)) is not None:
        taken.append(found.step)
    assert taken == [2, 4, 5]


def test_step_loop_waits_for_no_upload(store: Store) -> None:
    heard: list[Line] = []
    store.may_go.clear()
    uploads = Uploads(store, RUN, note=heard.append)
    for step in range(1, 50):
        uploads.note(saved(store, step))
    assert not uploads.close(0.05)
    assert heard == []
    store.may_go.set()
    assert uploads.close(5)
    assert [line.step for line in heard if isinstance(line, Saved)][-1] == 49


def test_storage_that_is_away_pauses_saving_in_words_and_nothing_is_lost(store: Store) -> None:
    heard: list[Line] = []
    store.is_away = True
    uploads = Uploads(store, RUN, note=heard.append, first_wait_seconds=0.01)
    uploads.note(saved(store, 4, "final"))
    wait_for(lambda: heard)
    assert uploads.is_away
    assert not uploads.close(0.05)
    store.is_away = False
    assert uploads.close(5)
    assert [type(line) for line in heard] == [SavingPaused, SavingResumed, Saved]
    assert isinstance(heard[0], SavingPaused)
    assert heard[0].where == "store"


def test_an_abandoned_upload_ends_soon_and_is_told_to_nobody(store: Store) -> None:
    heard: list[Line] = []
    store.may_go.clear()
    uploads = Uploads(store, RUN, note=heard.append)
    uploads.note(saved(store, 4))
    uploads.abandon()
    assert uploads.close(5)
    assert (heard, uploads.is_abandoned) == ([], True)


def test_uploads_that_end_by_what_nobody_expected_are_not_taken_for_done(store: Store) -> None:
    heard: list[Line] = []
    uploads = Uploads(store, RUN, note=heard.append)
    store.fails_with = NotImplementedError("odd")
    uploads.note(saved(store, 4))
    assert uploads.close(5)
    assert (heard, uploads.is_abandoned, uploads.fault) == ([], True, store.fails_with)


def test_recovery_point_that_its_child_removed_is_passed_over(store: Store) -> None:
    heard: list[Line] = []
    store.may_go.clear()
    uploads = Uploads(store, RUN, note=heard.append)
    gone = saved(store, 4)
    uploads.note(gone)
    (Path(gone.folder) / manifest.NAME).unlink()
    uploads.note(saved(store, 5))
    store.may_go.set()
    assert uploads.close(5)
    assert [line.step for line in heard if isinstance(line, Saved)] == [5]

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from core.storage import manifest
from tests.tiny_model import tiny_base
from tests.worker.making import ORIGIN, run_spec, train
from worker.reports import Finished, Line, Saved, SavingPaused, SavingResumed, Stopped
from worker.training.checkpointing import Saver, Snapshot
from worker.training.space import Room
from worker.training.state import State

MEBIBYTE = 1 << 20


class Disk:
    """A disk whose free space the test says."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self, folder: Path) -> int:
        return self.free


def taken(step: int, size: int = MEBIBYTE) -> Snapshot:
    return Snapshot(State(step=step), {"a": torch.zeros(size // 4)}, b"{}\n", {}, {"cpu": torch.get_rng_state()})


def a_saver(folder: Path, heard: list[Line], disk: Callable[[Path], int], min_free: int = 0) -> Saver:
    made = Saver(folder, base_model=tiny_base(), origin=ORIGIN, report=heard.append,
                 room=Room(folder, min_free_bytes=min_free, report=heard.append, free_bytes=disk))
    made.open(0)
    return made


def kinds(heard: list[Line]) -> list[type[Line]]:
    return [type(line) for line in heard]


def test_saving_pauses_with_numbers_and_goes_on_by_itself(tmp_path: Path) -> None:
    heard: list[Line] = []
    disk = Disk(3 * MEBIBYTE)
    made = a_saver(tmp_path, heard, disk, min_free=2 * MEBIBYTE)
    made.save(taken(10), "listed", {})
    made.wait()
    (paused,) = heard
    assert isinstance(paused, SavingPaused)
    assert (paused.free_bytes, paused.min_free_bytes) == (3 * MEBIBYTE, 2 * MEBIBYTE)
    assert "HEADRACE_MIN_FREE_BYTES" in paused.cause
    assert not made.can_save("recovery", 11)
    assert not made.can_save("listed", 20)
    disk.free = 4 * MEBIBYTE
    assert made.can_save("recovery", 21)
    made.save(taken(21), "recovery", {})
    made.wait()
    assert kinds(heard) == [SavingPaused, SavingResumed, Saved]
    assert heard[1] == SavingResumed(21, "disk", [10, 20])
    assert made.kept_step == 21


def test_last_checkpoint_waits_for_room(tmp_path: Path) -> None:
    heard: list[Line] = []
    disk = Disk(0)
    made = a_saver(tmp_path, heard, disk)
    made.save(taken(10), "final", {})
    looks: list[int] = []

    def look() -> None:
        looks.append(len(looks))
        if len(looks) == 3:
            disk.free = 8 * MEBIBYTE

    made.wait(look)
    assert kinds(heard) == [SavingPaused, SavingResumed, Saved]


def test_last_checkpoint_that_is_hurried_takes_what_is_kept_free(tmp_path: Path) -> None:
    heard: list[Line] = []
    made = a_saver(tmp_path, heard, Disk(4 * MEBIBYTE), min_free=4 * MEBIBYTE)
    made.save(taken(10), "final", {})
    made.wait(made.hurry)
    assert kinds(heard)[-1] == Saved
    full = a_saver(tmp_path / "full", heard, Disk(0))
    full.save(taken(10), "final", {})
    full.wait(full.hurry)
    assert full.kept_step == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "headrace-test", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a file system; the tests above say what a disk has free")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, left: int) -> Path:
    """Take all of a disk but `left` bytes."""
    path = folder / "filling"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    path.write_bytes(b"x" * (free - left))
    return path


def test_disk_that_fills_while_a_save_writes_breaks_nothing(small_disk: Path) -> None:
    heard: list[Line] = []
    made = a_saver(small_disk, heard, Disk(1 << 40))  # it seemed to have room
    made.save(taken(1), "recovery", {})
    made.wait()
    filling = fill(small_disk, MEBIBYTE // 2)
    made.save(taken(2), "recovery", {})
    made.wait()
    assert kinds(heard) == [Saved, SavingPaused]
    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["step-00000001-recovery"]
    manifest.verify(small_disk / "checkpoints/step-00000001-recovery")
    filling.unlink()
    made.save(taken(3), "recovery", {})
    made.wait()
    assert kinds(heard) == [Saved, SavingPaused, SavingResumed, Saved]


def test_run_on_a_full_disk_trains_on_and_ends_when_there_is_room(small_disk: Path) -> None:
    heard: list[Line] = []
    spec = run_spec(small_disk / "run", epoch_ends=[3, 6])
    Path(spec.folder).mkdir(exist_ok=True)
    filling = fill(small_disk, 100_000)
    cleared = threading.Event()

    def report(line: Line) -> None:
        heard.append(line)
        if isinstance(line, SavingPaused):
            threading.Timer(1.0, lambda: (filling.unlink(), cleared.set())).start()

    train(spec, report=report)
    assert cleared.is_set()
    assert isinstance(heard[-1], Finished)
    saved = [line for line in heard if isinstance(line, Saved)]
    assert (saved[-1].step, saved[-1].checkpoint) == (6, "final")
    manifest.verify(Path(saved[-1].folder), saved[-1].manifest_digest)


def test_run_that_is_told_to_stop_while_its_last_checkpoint_waits_says_that_it_is_not_done(small_disk: Path) -> None:
    heard: list[Line] = []
    spec = run_spec(small_disk / "run", epoch_ends=[6])
    Path(spec.folder).mkdir(exist_ok=True)
    fill(small_disk, 100_000)
    train(spec, report=heard.append, is_stopping=lambda: any(isinstance(line, SavingPaused) for line in heard))
    assert isinstance(heard[-1], Stopped)
    assert not any(isinstance(line, Saved) for line in heard)

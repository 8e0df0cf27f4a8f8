"""Checkpoints on their way into a bucket: what a run's child saved on this host's disk comes in, and goes on to the scribe
once it is up.

A thread uploads one checkpoint at a time, its manifest last, so the step loop waits for nothing. Checkpoints that clients see
go up in their order; of recovery points only the newest that waits. Each file's digest is reckoned from what is sent and
compared with the manifest. While the storage is away the upload is tried again with growing waits and the job's log says so;
training goes on. The spec goes up before the first checkpoint, since a later run repeats its choices; the run's log now and
then.

Keys hold the run's fence, so what a run uploads that lost its lease is garbage: no row ever names it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.errors import StorageAway
from core.logs import get_log
from core.storage.manifest import FolderDamaged
from core.storage.shared import SharedArtifacts
from worker.compute import SPEC_NAME
from worker.reports import Line, Saved, SavingPaused, SavingResumed
from worker.run_log import NAME as LOG_NAME

log = get_log(__name__)

LOOK_SECONDS = 0.5
LOG_SECONDS = 10.0
FIRST_WAIT_SECONDS, MOST_WAIT_SECONDS = 1.0, 30.0


class Uploads:
    """Uploads one run's checkpoints: `note` hands one over, `close` waits until all are up."""

    def __init__(self, artifacts: SharedArtifacts, run_key: str, *, note: Callable[[Line], None],
                 first_wait_seconds: float = FIRST_WAIT_SECONDS) -> None:
        self._artifacts, self._run_key, self._note = artifacts, run_key, note
        self._first_wait_seconds = first_wait_seconds
        self._waiting: list[Saved] = []
        self._changed = threading.Condition()
        self._is_closed = self._is_spec_up = False
        self._is_abandoned = threading.Event()
        self._is_paused = False
        self.fault: Exception | None = None
        """What made the uploads end before their time, and abandoned: nothing that is saved gets anywhere any more."""
        self._log_put: tuple[float, int] = (0.0, 0)
        """When the log went up last, and how long it was."""
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._thread.start()

    def note(self, saved: Saved) -> None:
        with self._changed:
            self._waiting.append(saved)
            self._changed.notify()

    def close(self, seconds: float) -> bool:
        """Take no more; wait until all is up, at most so long. False while something still goes up."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def is_away(self) -> bool:
        """Whether the storage did not answer the last time."""
        return self._is_paused

    @property
    def is_abandoned(self) -> bool:
        return self._is_abandoned.is_set()

    def abandon(self) -> None:
        """Upload nothing more, not even what waits."""
        self._is_abandoned.set()
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._upload_all()
        except Exception as error:
            log.exception("uploads.fault", run=self._run_key)
            self.fault = error
            self._is_abandoned.set()

    def _upload_all(self) -> None:
        while not self._is_abandoned.is_set():
            saved = self._take()
            if saved is not None:
                self._insist(saved)
            elif self._is_closed:
                break
            self._put_log(LOG_SECONDS)
        if not self._is_abandoned.is_set():
            self._put_log(0.0)

    def _take(self) -> Saved | None:
        """The next one to go up, after a short wait for it."""
        with self._changed:
            if not self._waiting and not self._is_closed:
                self._changed.wait(LOOK_SECONDS)
            return next_of(self._waiting)

    def _insist(self, saved: Saved) -> None:
        """Upload one until it is up, gone or abandoned."""
        wait = self._first_wait_seconds
        while not self._is_abandoned.is_set():
            try:
                self._upload(saved)
                return
            except StorageAway as away:
                self._pause(saved, away)
                self._is_abandoned.wait(wait)
                wait = min(wait * 2, MOST_WAIT_SECONDS)
            except InterruptedError:
                return
            except (FolderDamaged, OSError) as error:  # the child may have removed a recovery point for a newer one
                log.warning("checkpoint.not_uploaded", step=saved.step, kind=saved.checkpoint, cause=str(error))
                return

    def _upload(self, saved: Saved) -> None:
        if not self._is_spec_up:
            self._artifacts.put(self._artifacts.path(self._run_key) / SPEC_NAME, f"{self._run_key}/{SPEC_NAME}")
            self._is_spec_up = True
        folder = Path(saved.folder)
        self._artifacts.upload(folder, self._artifacts.key_of(folder), must_stop=self._is_abandoned.is_set)
        if self._is_paused:
            self._is_paused = False
            self._note(SavingResumed(saved.step, "store"))
        self._note(saved)

    def _pause(self, saved: Saved, away: StorageAway) -> None:
        log.warning("storage.away", cause=away.message)
        if not self._is_paused:
            self._is_paused = True
            self._note(SavingPaused(saved.step, "store", away.message, "nobody needs to do anything once it answers again"))

    def _put_log(self, every_seconds: float) -> None:
        path = self._artifacts.path(self._run_key) / LOG_NAME
        try:
            size = path.stat().st_size
            if size != self._log_put[1] and time.monotonic() - self._log_put[0] >= every_seconds:
                self._log_put = (time.monotonic(), size)
                self._artifacts.put(path, f"{self._run_key}/{LOG_NAME}")
        except (OSError, StorageAway) as error:
            log.debug("run_log.not_uploaded", cause=str(error))


def next_of(waiting: list[Saved]) -> Saved | None:
    """Take the next to go up out of those that wait: shown ones first, in their order; of recovery points the newest alone."""
    shown = [saved for saved in waiting if saved.checkpoint != "recovery"]
    if shown:
        waiting.remove(shown[0])
        return shown[0]
    newest = waiting[-1] if waiting else None
    waiting.clear()
    return newest



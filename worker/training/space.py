"""Is there room for a checkpoint? What would be written comes in, a yes or a no goes out; what changes is told.

A save needs the size of the checkpoint, or of the last one where that was larger, times `MARGIN`, beside what the operator
keeps free. When there is less, saving pauses: one report says so, with the numbers and what to do. Training goes on, and the
first save that finds room again tells that saving goes on. A disk that fills while a save writes counts as the same.

The last save of a run that was told to stop cannot wait, so it may use what the operator keeps free.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from worker.reports import Line, SavingPaused, SavingResumed

MARGIN = 1.2
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Room:
    """Watches the disk that `folder` lies on. Used by one thread at a time."""

    def __init__(self, folder: Path, *, min_free_bytes: int, report: Callable[[Line], None],
                 free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free) -> None:
        self._folder, self._min_free, self._report, self._free = folder, min_free_bytes, report, free_bytes
        self._largest = 0
        self._missed: list[int] = []
        self.is_short = False
        """Saving is paused."""

    def is_there(self, size: int, *, step: int, from_reserve: bool = False) -> bool:
        """Look whether `size` bytes fit; a shortage is told once."""
        need, free = round(max(size, self._largest) * MARGIN), self._free(self._folder)
        if free - need >= (0 if from_reserve else self._min_free):
            return True
        self._pause(size, step=step, free=free)
        return False

    def is_back(self, *, step: int) -> bool:
        """While saving is paused: look whether the largest checkpoint so far would fit now."""
        return self.is_there(self._largest, step=step)

    def ran_out(self, size: int, *, step: int) -> None:
        """Note that the disk filled while a checkpoint was written."""
        self._pause(size, step=step, free=self._free(self._folder))

    def miss(self, step: int) -> None:
        """Note a checkpoint that clients would have seen."""
        self._missed.append(step)

    def saved(self, size: int, *, step: int) -> None:
        self._largest = max(size, self._largest)
        if self.is_short:
            self._report(SavingResumed(step, "disk", self._missed))
            self.is_short, self._missed = False, []

    def _pause(self, size: int, *, step: int, free: int) -> None:
        self._largest = max(size, self._largest)
        need = round(self._largest * MARGIN)
        if not self.is_short:
            self.is_short = True
            cause = (f"the worker's disk has {free:,} bytes free, and a checkpoint needs {need:,} beside the "
                     f"{self._min_free:,} that are kept free (HEADRACE_MIN_FREE_BYTES)")
            remedy = "delete files, checkpoints or old jobs, or give the disk more room"
            self._report(SavingPaused(step, "disk", cause, remedy, need_bytes=need, free_bytes=free,
                                      min_free_bytes=self._min_free))


def is_full(error: Exception) -> bool:
    """Say whether a write failed because there was no room for it; safetensors tells the number in its words alone."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return (int(told[1]) if told else getattr(error, "errno", None)) in FULL

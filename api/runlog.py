"""The end of what a job's runs wrote: each run keeps `run.log` in its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence

from core.jobs.models import Run
from core.storage.artifacts import Artifacts

NAME = "run.log"


def read_tail(runs: Sequence[Run], artifacts: Artifacts, most_bytes: int) -> str:
    """Join the ends of the newest runs' logs, at most so many bytes, each under a line that names its attempt."""
    left = most_bytes
    parts: list[str] = []
    for run in reversed(runs):
        if left <= 0:
            break
        text = _tail(str(artifacts.path(run.folder_key) / NAME), left)
        left -= len(text)
        parts.append(f"== attempt {run.attempt}, run {run.id} ==\n" + text.decode("utf-8", "replace"))
    return "".join(reversed(parts))


def _tail(path: str, most_bytes: int) -> bytes:
    """Read the end of a file; nothing when there is none. Links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        file.seek(max(0, size - most_bytes))
        return file.read(most_bytes)

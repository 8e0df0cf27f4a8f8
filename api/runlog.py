"""The end of what a job's runs wrote: each run keeps `run.log` in its folder."""

from __future__ import annotations

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
        text = artifacts.read_end(f"{run.folder_key}/{NAME}", left)
        left -= len(text)
        parts.append(f"== attempt {run.attempt}, run {run.id} ==\n" + text.decode("utf-8", "replace"))
    return "".join(reversed(parts))

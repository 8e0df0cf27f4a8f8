"""Run one peer's program in its own environment and watch it from outside: what it tells, and its memory at its highest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from telling import iter_tree, memory  # noqa: E402

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Seen:
    """What a program told, by event, and the most memory that its tree of processes was seen to take."""

    events: dict[str, dict[str, Any]]
    peak: dict[str, int]
    status: int
    last_words: str

    def __getitem__(self, event: str) -> dict[str, Any]:
        if event not in self.events:
            raise LookupError(f"the program told {list(self.events)} and ended with status {self.status}: {self.last_words}")
        return self.events[event]


def watch(command: Sequence[str], *, environment: dict[str, str] | None = None, limit_seconds: float = 1800) -> Seen:
    """Run a program to its end. A failure is told in what is given back, since some peers are expected to fail."""
    events: dict[str, dict[str, Any]] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                          env={**os.environ, **_QUIET, **(environment or {})}) as process:
        last_words: list[str] = []
        reading = threading.Thread(target=lambda: last_words.extend(_last_lines(process.stderr)), daemon=True)
        clock = threading.Timer(limit_seconds, process.kill)
        looking = _Looking(process.pid)
        for thread in (reading, clock, looking):
            thread.start()
        for line in process.stdout or ():
            told = json.loads(line)
            events[told["event"]] = told
        status = process.wait()
        clock.cancel()
        looking.stop()
        reading.join()
    for told in events.values():
        looking.see({name: told[name] for name in looking.peak if name in told})
    return Seen(events, looking.peak, status, " | ".join(last_words))


class _Looking(threading.Thread):
    """Looks at the memory of a tree of processes until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = {"rss_bytes": 0, "pss_bytes": 0, "private_bytes": 0}
        self._pid = pid
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            self.see(memory(list(iter_tree(self._pid))))

    def see(self, sizes: dict[str, int]) -> None:
        self.peak = {name: max(size, sizes.get(name, 0)) for name, size in self.peak.items()}

    def stop(self) -> None:
        self._is_over.set()
        self.join()


def _last_lines(stream: Iterator[str] | None, most: int = 3) -> list[str]:
    lines: list[str] = []
    for line in stream or ():
        if line.strip():
            lines = [*lines[1 - most:], line.strip()[:300]]
    return lines


_QUIET = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1",
          "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "true"}

"""Run a loader program in a process of its own and measure it from outside: the clock, its CPU seconds, its memory.

A program is started with its arguments and tells what it does on standard output, one JSON object a line, each with an
`event`; after each line it waits for a line on standard input, so that what is read here belongs to that moment:

    {"event": "first_batch"}                        its first batch is in its hands
    {"event": "counting"}                           what is counted begins here
    {"event": "done", "rows": …, "tokens": …}       rows and tokens since then

CPU seconds and memory are those of the whole process tree: the program and all that descends from it.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

LOOK_SECONDS = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")
_PROCESS_CLOCK = 2
"""How Linux numbers the clock of another process: clock_getcpuclockid(3)."""


@dataclass(frozen=True)
class Moment:
    """What was seen when a program told an event."""

    seconds: float
    """Since the program was started."""
    cpu_seconds: float
    """Of its tree since then, of processes that have ended too."""
    told: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    moments: dict[str, Moment]
    peak_rss_bytes: int
    """Of all processes of the tree together."""
    peak_private_bytes: int
    highest_by_command: dict[str, int] = field(default_factory=dict)
    """The highest resident memory of the processes whose command holds a word, as the kernel keeps it: not one that is seen
    by chance, nor one that counts a library's pages only while nobody else maps them."""

    def rate(self) -> tuple[float, float, float]:
        """Tokens a CPU second, tokens a second and rows a second, between `counting` and `done`."""
        start, end = self.moments["counting"], self.moments["done"]
        wall, cpu = end.seconds - start.seconds, end.cpu_seconds - start.cpu_seconds
        return end.told["tokens"] / cpu, end.told["tokens"] / wall, end.told["rows"] / wall


class LoaderFailed(Exception):
    """A program ended before it was done; the message holds its last words."""


def run(command: Sequence[str], *, environment: dict[str, str] | None = None, watched: Sequence[str] = (),
        limit_seconds: float = 600.0) -> Outcome:
    """Run a program to its end; raises LoaderFailed."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment) as process:
        memory = _Memory(process.pid, watched)
        words = _LastWords(process)
        guard = threading.Timer(limit_seconds, process.kill)
        guard.start()
        moments: dict[str, Moment] = {}
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            for line in process.stdout:
                if not line.startswith(b'{"event"'):
                    continue  # a library's own words
                told = orjson.loads(line)
                moments[told["event"]] = Moment(time.perf_counter() - started, tree_cpu_seconds(process.pid), told)
                memory.look()
                process.stdin.write(b"\n")
                process.stdin.flush()
        except BrokenPipeError:
            pass
        finally:
            guard.cancel()
            memory.stop()
            process.kill()
            process.wait()
        if "done" not in moments:
            raise LoaderFailed(f"{' '.join(command)} told {list(moments)} and ended: {words.text()}")
    return Outcome(moments, memory.peak_rss, memory.peak_private, memory.highest_by_command)


def tree(pid: int) -> list[int]:
    """A process and all that descends from it."""
    found = [pid]
    for one in found:
        for task in _listed(f"/proc/{one}/task"):
            found += [int(child) for child in _text(f"/proc/{one}/task/{task}/children").split()]
    return found


def tree_cpu_seconds(pid: int) -> float:
    return sum(_cpu_seconds(one) for one in tree(pid))


def private_bytes(pid: int) -> int:
    return sum(size for name, size in _smaps(pid) if name.startswith("Private_"))


def _cpu_seconds(pid: int) -> float:
    """Of a process and the children that it has waited for: its own to the nanosecond, theirs to the tick."""
    fields = _text(f"/proc/{pid}/stat").rpartition(") ")[2].split()
    try:
        own = time.clock_gettime((~pid << 3) | _PROCESS_CLOCK)
    except OSError:
        return 0.0
    return own + sum(map(int, fields[13:15])) / _TICKS


def _smaps(pid: int) -> Iterator[tuple[str, int]]:
    for line in _text(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
        name, size, *_ = line.split()
        yield name.rstrip(":"), int(size) * 1024


def _highest_rss(pid: int) -> int:
    _, _, told = _text(f"/proc/{pid}/status").partition("VmHWM:")
    return int(told.split()[0]) * 1024 if told else 0


class _Memory:
    """Looks at a tree again and again, and keeps the highest figures."""

    def __init__(self, pid: int, watched: Sequence[str]) -> None:
        self.peak_rss = self.peak_private = 0
        self.highest_by_command: dict[str, int] = {}
        self._pid, self._watched = pid, watched
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def look(self) -> None:
        with self._lock:
            self._look()

    def _look(self) -> None:
        rss = private = 0
        for pid in tree(self._pid):
            sizes = list(_smaps(pid))
            rss += sum(size for name, size in sizes if name == "Rss")
            private += sum(size for name, size in sizes if name.startswith("Private_"))
            command = _text(f"/proc/{pid}/cmdline")
            for word in self._watched:
                if word in command:
                    self.highest_by_command[word] = max(self.highest_by_command.get(word, 0), _highest_rss(pid))
        self.peak_rss, self.peak_private = max(self.peak_rss, rss), max(self.peak_private, private)

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            self.look()


class _LastWords:
    """Reads standard error, so that a program which writes much is not stopped by it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._lines: list[bytes] = []
        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines = [*self._lines[-9:], line]

    def text(self) -> str:
        self._thread.join(2.0)
        return b"".join(self._lines).decode(errors="replace").strip()


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []

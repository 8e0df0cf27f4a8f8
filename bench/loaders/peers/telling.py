"""What a peer's program says about itself: one JSON object a line on standard output, with time, processor and memory.

Standard library alone, since it is imported first and must weigh nothing beside what is measured. Everything counts the
whole tree of processes: a loader's workers are part of its cost.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
"""What libraries print goes to standard error; only `tell` speaks on the real standard output."""


def tell(event: str, **facts: Any) -> None:
    """Say that something was reached; `seconds` count from the start of this process, `cpu_seconds` over its whole tree."""
    tree = list(iter_tree(os.getpid()))
    told = {"event": event, "seconds": seconds_since_start(), "cpu_seconds": sum(map(cpu_seconds, tree)), **memory(tree)}
    print(json.dumps({**told, **facts}), file=_OUT)


def seconds_since_start(pid: int | str = "self") -> float:
    started = int(_stat(pid)[19]) / _TICKS
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def iter_tree(pid: int) -> Iterator[int]:
    """Give a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(entry.name)):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += parents.get(each, [])


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / _TICKS if fields else 0.0


def memory(pids: list[int]) -> dict[str, int]:
    """Resident, proportional and private bytes, added over processes."""
    found = {"rss_bytes": 0, "pss_bytes": 0, "private_bytes": 0}
    for pid in pids:
        for name, size in _iter_sizes(pid):
            if name == "Rss":
                found["rss_bytes"] += size
            elif name == "Pss":
                found["pss_bytes"] += size
            elif name in ("Private_Clean", "Private_Dirty"):
                found["private_bytes"] += size
    return found


def _iter_sizes(pid: int) -> Iterator[tuple[str, int]]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # it has ended
        return
    for line in lines:
        name, _, rest = line.partition(":")
        yield name, int(rest.split()[0]) * 1024


def _stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third on, or none when the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return []


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)

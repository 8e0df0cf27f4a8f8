"""From the chunks of a soak to its results: totals, recovery times, and one row for each figure and case."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COUNTS = ("jobs", "runs", "jobs_lost", "jobs_doubled", "runs_overlapping", "steps_repeated", "adapters_differing",
          "torn_checkpoints_loaded", "checkpoints_damaged", "logs_with_gaps", "steps_differing")
Chunk = dict[str, Any]


def told(chunks: Sequence[Chunk], *, command: str) -> dict[str, Any]:
    """All that results.json says."""
    cases = sorted({(chunk["database"], chunk["trainer"]) for chunk in chunks})
    rows = [row for case in cases for row in _rows(case, [c for c in chunks if (c["database"], c["trainer"]) == case])]
    return {"commit": commit(), "machine": machine(), "command": command, "kills": _kills(chunks),
            **{name: _sum(chunks, name) for name in COUNTS}, "recovery_seconds": recovery(chunks), "rows": rows,
            "chunks": list(chunks)}


def recovery(chunks: Sequence[Chunk]) -> dict[str, dict[str, float]]:
    """Seconds from a kill to recovery, by the kind of victim."""
    seconds: dict[str, list[float]] = {}
    for kind, took in (kill for chunk in chunks for kill in chunk["kills"]):
        if took is not None:
            seconds.setdefault(kind, []).append(took)
    return {kind: _spread(values) for kind, values in sorted(seconds.items())}


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{model}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"


def _rows(case: tuple[str, str], chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    database, trainer = case
    name = f"fault: random SIGKILLs, {database}, {'tiny model' if trainer == 'real' else 'small trainer'}"
    row = {"system": "headrace", "case": name, "runs": len(chunks)}
    counts = [{**row, "metric": "kills", "value": _kills(chunks), "unit": "kills"}]
    counts += [{**row, "metric": count, "value": _sum(chunks, count), "unit": "count"} for count in COUNTS]
    times = [{**row, "metric": f"recovery_seconds_{kind}_{what}", "value": value, "unit": "s"}
             for kind, spread in recovery(chunks).items() for what, value in spread.items() if what != "kills"]
    return counts + times


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"kills": len(ordered), "median": round(statistics.median(ordered), 2),
            "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 2), "max": round(ordered[-1], 2)}


def _kills(chunks: Sequence[Chunk]) -> int:
    return sum(len(chunk["kills"]) for chunk in chunks)


def _sum(chunks: Sequence[Chunk], name: str) -> int:
    return sum(chunk[name] for chunk in chunks)


def commit() -> str:
    here = Path(__file__).resolve().parent
    return subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()

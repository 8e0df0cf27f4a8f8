"""Measure registering and opening: how fast a file is indexed, and that reading takes the same memory at any size.

    python bench/index/run.py [--megabytes 10,1000] [--runs 5] [--keep]

Makes chat rows (bench/generate.py) under `work/` beside this file, measures each case in processes of its own, all on one
core, and writes `results.json`. Every figure is the median of its runs. Files come from the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))
WORK = HERE / "work"
ROWS_READ = 20_000
_SPEED_RUNS_BYTES = 1_500_000_000
"""A greater file is registered once."""


def main() -> None:
    asked = _asked()
    if asked.measure:
        print(json.dumps(MEASURES[asked.measure](WORK / "rows.jsonl", WORK / "rows.index")))
        return
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = [row for size in asked.megabytes.split(",") for row in _case(float(size), asked.runs)]
    if not asked.keep:
        shutil.rmtree(WORK)
    told = {"commit": _commit(), "machine": _machine(), "command": " ".join(["python bench/index/run.py", *sys.argv[1:]])}
    (HERE / "results.json").write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")


def _case(megabytes: float, runs: int) -> Iterator[dict]:
    from bench.generate import write_rows

    path = WORK / "rows.jsonl"
    write_rows(path, size_bytes=int(megabytes * 1_000_000))
    size = path.stat().st_size
    case = f"{megabytes / 1000:g} GB" if megabytes >= 1000 else f"{megabytes:g} MB"
    few = 1 if size > _SPEED_RUNS_BYTES else runs
    for name in ("offsets", "register"):
        times = [_measured(name) for _ in range(few)]
        wall, core = (statistics.median(each[kind] for each in times) for kind in ("wall", "core"))
        yield _row(f"{name}_seconds", case, wall, "s", few)
        yield _row(f"{name}_bytes_per_second", case, size / wall, "B/s", few)
        yield _row(f"{name}_bytes_per_core_second", case, size / core, "B/s", few)
    for metric, measure, unit in (
        ("private_memory_bytes", "register_memory", "B"), ("open_seconds", "open", "s"),
        ("private_memory_bytes", "reader_memory", "B"),
    ):
        times = few if measure == "register_memory" else runs
        values = [_measured(measure) for _ in range(times)]
        what = {"register_memory": "registering ", "reader_memory": "reading "}.get(measure, "")
        yield _row(metric, what + case, statistics.median(values), unit, times)


def _measured(measure: str) -> Any:
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", measure]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def measure_offsets(path: Path, _index: Path) -> dict[str, float]:
    from core.data.index import scan_offsets

    return _times(lambda: scan_offsets(path))


def measure_register(path: Path, index: Path) -> dict[str, float]:
    from core.data.index import build_index

    return _times(lambda: build_index(path, index, shape="chat"))


def measure_open(_path: Path, index: Path) -> float:
    from core.data.index import DatasetIndex

    return _times(lambda: DatasetIndex.open(index))["wall"]


def measure_register_memory(path: Path, index: Path) -> int:
    """Give the most private memory seen while registering, beyond what the imports take."""
    from core.data.index import build_index

    before = _private_bytes()
    seen: list[int] = []
    build_index(path, index, shape="chat", on_progress=lambda _done: seen.append(_private_bytes()))
    return max(seen) - before


def measure_reader_memory(path: Path, index: Path) -> int:
    """Give the private memory after reading rows in shuffled order, beyond what the imports take."""
    import numpy as np

    from core.data.order import RowOrder
    from core.data.rows import RowReader
    from core.data.spec import RowRef, SourceSpec
    from core.data.split import kept_rows

    before = _private_bytes()
    with RowReader([SourceSpec.of_file("rows", str(path), str(index), "chat", "")]) as reader:
        opened = reader.indexes[0]
        kept = kept_rows(opened.hash_parts(), opened.faulty, fraction=0.05, part="train")
        order = RowOrder(opened.rows, kept, seed=1, source=0, is_shuffled=True)
        for row in order.rows(np.arange(min(ROWS_READ, order.size))).tolist():
            reader.read(RowRef(0, row))
        return _private_bytes() - before


MEASURES: dict[str, Callable[[Path, Path], object]] = {
    "offsets": measure_offsets, "register": measure_register, "open": measure_open,
    "register_memory": measure_register_memory, "reader_memory": measure_reader_memory,
}


def _times(work: Callable[[], object]) -> dict[str, float]:
    """Give the seconds by the clock, and those in which a core was at work for this process."""
    started, worked = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - started, "core": time.process_time() - worked}


def _private_bytes() -> int:
    """Add the private pages of this process, clean and dirty; pages of the page cache mapped by it alone count too."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def _row(metric: str, case: str, value: float, unit: str, runs: int) -> dict:
    row = {"system": "headrace", "metric": metric, "case": case, "value": value, "unit": unit, "runs": runs}
    print(json.dumps(row), flush=True)
    return row


def _commit() -> str:
    return subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[1]
    return (
        f"{model}, {os.cpu_count()} cores of which one is used, {memory:.0f} GiB, Python {platform.python_version()}; "
        f"load average {load:.1f} at the end"
    )


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", default="10,1000", help="sizes of the files, separated by commas")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the files that were made")
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Measure our loader alone, at any size, each measurement in fresh processes; `peers/side_by_side.py` puts peers beside it.

    python bench/loaders/run.py [--megabytes 200 1000 4000] [--memory-shards 20] [--runs 5] [--model DIR]

For each size: write seeded chat rows (bench/generate.py), register them, take batches as a run does. Files are removed
behind each size. `--memory-shards N` has N GB of rows, for memory alone: N shards with an index each, which share one file of
1 GB, since files are read by ranges and only indexes are mapped. Without a model's folder the built-in SmolLM2 is converted
once into `work/`. What an earlier run measured and this one does not stays in results.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.generate import write_rows  # noqa: E402
from bench.loaders.measure import Moment, Outcome, run  # noqa: E402
from bench.loaders.results import keep  # noqa: E402
from core.data.pipeline.timetable import Timetable  # noqa: E402
from core.data.process import bare_environment  # noqa: E402
from core.data.rows import open_index  # noqa: E402
from core.data.spec import MixtureEntry, SourceSpec, StreamSpec  # noqa: E402

FOLDER = Path(__file__).resolve().parent
WORK = FOLDER / "work"
BATCH_SIZE = 16
MAX_LENGTH = 2048
LOADER = "core.data.ahead"
"""What stands in the command of our loader process."""
IMPORTS = "imports.py"
"""The program that is no more than our loader process is before it does anything."""
EXACT_ROWS_BYTES = 8_000_000
_OF_MEMORY = ("private_memory_bytes", "peak_rss_bytes", "first_batch_cpu_seconds")
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One file, registered, and a model."""

    name: str
    file: Path
    index: Path
    model: Path
    rows: int
    shards: int = 1
    """With more than one: as many shards of the same file, with indexes in the folder's parts 0, 1, …"""

    def spec(self) -> StreamSpec:
        indexes = [self.index] if self.shards == 1 else [self.index / str(number) for number in range(self.shards)]
        parts = [SourceSpec.of_file("rows", str(self.file), str(index), "chat").shards[0] for index in indexes]
        source = SourceSpec("rows", tuple(parts), "chat", "")
        return StreamSpec((source,), (MixtureEntry(1, (1.0,)),), seed=1, epochs=2, batch_size=BATCH_SIZE,
                          max_length=MAX_LENGTH, micro_batch_tokens=8192, tokenizer_path=str(self.model), tokenizer_digest="")

    def write_spec(self, ranks: int = 1) -> Path:
        """The stream of the last of so many ranks."""
        path = WORK / f"spec-{ranks}.json"
        path.write_bytes(orjson.dumps(replace(self.spec(), rank=ranks - 1, ranks=ranks).to_json()))
        return path

    def write_position(self, share: float) -> Path:
        """Where a run stands when a share of its first epoch is done."""
        spec = self.spec()
        timetable = Timetable(spec, [open_index(spec.sources[0])])
        path = WORK / "position.json"
        step = int(timetable.plan.epoch_ends[0] * share)
        path.write_bytes(orjson.dumps(timetable.position_after(step).to_json()))
        return path


def main() -> None:
    asked = _arguments()
    WORK.mkdir(exist_ok=True)
    model = asked.model or converted_model()
    for megabytes in asked.megabytes:
        keep(_measure(megabytes, model, asked))
    if asked.memory_shards:
        keep(_measure_shards(asked.memory_shards, model, asked))


def _measure_shards(shards: int, model: Path, asked: argparse.Namespace) -> Iterator[Row]:
    file, index = WORK / "shard.jsonl", WORK / "shards.index"
    try:
        count = write_rows(file, size_bytes=1_000_000_000)
        _timed([sys.executable, "-m", "core.data.register", str(file), str(index / "0")])
        for number in range(1, shards):
            shutil.copytree(index / "0", index / str(number))
        case = Case(f"{shards} GB in {shards} shards", file, index, model, count * shards, shards)
        yield from (row for row in _reading(case, asked.runs, asked.steps) if row["metric"] in _OF_MEMORY)
    finally:
        file.unlink(missing_ok=True)
        shutil.rmtree(index, ignore_errors=True)


def _measure(megabytes: int, model: Path, asked: argparse.Namespace) -> Iterator[Row]:
    name = f"{megabytes // 1000} GB" if megabytes >= 1000 else f"{megabytes} MB"
    file, index = WORK / f"{megabytes}.jsonl", WORK / f"{megabytes}.index"
    try:
        count = write_rows(file, size_bytes=megabytes * 1_000_000)
        case = Case(name, file, index, model, count)
        yield from _registering(case, asked.runs if megabytes <= 1000 else 1)
        yield from _reading(case, asked.runs, asked.steps)
        yield from _resuming(case, asked.runs)
        if megabytes == asked.megabytes[0]:
            yield from _limits(case, asked.runs)
            yield from _exactness(model)
    finally:
        file.unlink(missing_ok=True)
        shutil.rmtree(index, ignore_errors=True)


def _registering(case: Case, runs: int) -> Iterator[Row]:
    times = []
    for _ in range(runs):
        shutil.rmtree(case.index, ignore_errors=True)
        times.append(_timed([sys.executable, "-m", "core.data.register", str(case.file), str(case.index)]))
    yield _row("register_seconds", f"{case.name}, CPU time", [cpu for _, cpu in times], "s")
    yield _row("register_seconds", f"{case.name}, by the clock", [wall for wall, _ in times], "s")
    disk = sum(path.stat().st_size for path in case.index.iterdir())
    yield _row("extra_disk_bytes", case.name, [disk], "bytes")


def _reading(case: Case, runs: int, steps: int) -> Iterator[Row]:
    imports = [_run_ours(IMPORTS) for _ in range(3)]
    own = statistics.median(each.highest_by_command[IMPORTS] for each in imports)
    spent = [each.moments["done"].told["cpu_microseconds"] / 1e6 for each in imports]
    yield _row("imports_cpu_seconds", "the loader process", spent, "s")
    _run_ours("ours.py", case.write_spec(), "--steps", 1)  # the data set meets the model
    outcomes = [_run_ours("ours.py", case.write_spec(), "--steps", steps) for _ in range(runs)]
    yield from rates("headrace", case, outcomes)
    private = [each.highest_by_command[LOADER] - own for each in outcomes]
    yield _row("private_memory_bytes", f"{case.name}, the loader process, beyond its imports", private, "bytes")


def rates(system: str, case: Case, outcomes: Sequence[Outcome]) -> Iterator[Row]:
    def each(measured: Callable[[Outcome], float]) -> list[float]:
        return [measured(outcome) for outcome in outcomes]

    yield _row("first_batch_seconds", case.name, each(lambda o: o.moments["first_batch"].seconds), "s", system)
    yield _row("first_batch_cpu_seconds", case.name, each(lambda o: o.moments["first_batch"].cpu_seconds), "s", system)
    yield _row("tokens_per_cpu_second", case.name, each(lambda o: o.rate()[0]), "tokens/s", system)
    yield _row("tokens_per_second", case.name, each(lambda o: o.rate()[1]), "tokens/s", system)
    yield _row("rows_per_second", case.name, each(lambda o: o.rate()[2]), "rows/s", system)
    yield _row("peak_rss_bytes", f"{case.name}, all processes", each(lambda o: o.peak_rss_bytes), "bytes", system)
    yield _row("private_memory_bytes", f"{case.name}, all processes", each(lambda o: o.peak_private_bytes), "bytes", system)


def _resuming(case: Case, runs: int) -> Iterator[Row]:
    """In pairs, so that what else the machine does falls on both: a start at zero and one at 90 %, by as many ranks."""
    position = case.write_position(0.9)
    yield _row("state_bytes", f"{case.name}, at 90 %", [position.stat().st_size], "bytes")
    for ranks, told in ((1, ""), (3, ", by one of 3 ranks from what 1 rank kept")):
        spec = case.write_spec(ranks)
        pairs = [(_start(spec), _start(spec, "--position", position)) for _ in range(max(3 * runs, 5))]
        beyond = [resumed.cpu_seconds - started.cpu_seconds for started, resumed in pairs]
        yield _row("resume_90_seconds", f"{case.name}, CPU time over a start at zero{told}", beyond, "s")
        if ranks == 1:
            yield _row("resume_90_seconds", f"{case.name}, by the clock", [resumed.seconds for _, resumed in pairs], "s")
            yield _row("resume_90_seconds", f"{case.name}, CPU time", [resumed.cpu_seconds for _, resumed in pairs], "s")


def _start(spec: Path, *options: object) -> Moment:
    return _run_ours("ours.py", spec, "--steps", 1, *options).moments["first_batch"]


def _limits(case: Case, runs: int) -> Iterator[Row]:
    for kind in ("fast", "reference"):
        rates = [_run_ours("limit.py", case.file, case.model, kind).rate()[0] for _ in range(runs)]
        yield _row("limit_tokens_per_cpu_second", f"{kind} tokenizer, {case.name}", rates, "tokens/s")


def _exactness(model: Path) -> Iterator[Row]:
    file, index = WORK / "exact.jsonl", WORK / "exact.index"
    try:
        count = write_rows(file, size_bytes=EXACT_ROWS_BYTES)
        _timed([sys.executable, "-m", "core.data.register", str(file), str(index)])
        spec = Case("", file, index, model, count).spec()
        path = WORK / "exact.json"
        path.write_bytes(orjson.dumps(replace(spec, epochs=1).to_json()))
        command = [sys.executable, str(FOLDER / "exactness.py"), str(path)]
        told = orjson.loads(subprocess.run(command, env=bare_environment(), capture_output=True, check=True).stdout)
        for case, (lost, doubled) in told.items():
            yield _row("rows_lost", f"{count:,} rows, {case}", [lost], "rows")
            yield _row("rows_doubled", f"{count:,} rows, {case}", [doubled], "rows")
    finally:
        file.unlink(missing_ok=True)
        shutil.rmtree(index, ignore_errors=True)


def _run_ours(program: str, *arguments: object) -> Outcome:
    command = [sys.executable, str(FOLDER / program), *map(str, arguments)]
    return run(command, environment=bare_environment(), watched=(LOADER, IMPORTS))


def _timed(command: Sequence[str]) -> tuple[float, float]:
    """Seconds by the clock and of CPU that a process took."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=bare_environment(), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def converted_model() -> Path:
    """The folder of the built-in SmolLM2, converted if it is not there yet."""
    model = WORK / "model"
    if not (model / "tokenizer.json").is_file():
        shutil.rmtree(model, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "worker.convert", "--builtin", "smollm2-135m-instruct", "--out", str(model)],
                       cwd=ROOT, check=True)
    return model


def _row(metric: str, case: str, values: Sequence[float], unit: str, system: str = "headrace") -> Row:
    return {"system": system, "metric": metric, "case": case, "value": round(statistics.median(values), 4), "unit": unit,
            "runs": len(values), "lowest": round(min(values), 4), "highest": round(max(values), 4)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure loaders on one file.")
    parser.add_argument("--megabytes", type=int, nargs="*", default=[200, 1000, 4000])
    parser.add_argument("--memory-shards", type=int, default=0, help="GB of rows, in as many shards, for memory")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600, help="counted, of 16 rows each")
    parser.add_argument("--model", type=Path, help="a model's folder with tokenizer.json and a chat template")
    return parser.parse_args()


if __name__ == "__main__":
    main()

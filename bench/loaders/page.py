"""results.json → the tables of docs/benchmarks.md: what each loader does, and what was to be reached.

The page's words are written by hand; what stands between a pair of marks `<!-- name -->` and `<!-- end -->` is written here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.loaders.results import read  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks.md"
OURS, ONE_PROCESS = "headrace", "headrace, read in one process"
LABELS = {
    OURS: "Headrace", ONE_PROCESS: "Headrace, in one process", "datasets": "HF datasets streaming",
    "mosaicml": "mosaicml-streaming", "llamafactory": "LLaMA-Factory streaming", "load everything": "load everything",
}
Rows = Mapping[tuple[str, str, str], Mapping[str, Any]]


class Figures:
    """Looks values up by system, metric and case; None where nothing was measured."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        found = sorted({system for system, _, _ in rows if not is_tokenizer(system)}, key=_rank)
        self.systems = [system for system in found if _rank(system) < len(LABELS)]
        self.peers = [system for system in self.systems if not system.startswith(OURS)]

    def value(self, system: str, metric: str, case: str) -> float | None:
        row = self.rows.get((system, metric, case))
        return None if row is None else float(row["value"])

    def by_system(self, metric: str, *cases: str) -> dict[str, float]:
        """The first case that a system has, of those given."""
        found = {system: next((v for case in cases if (v := self.value(system, metric, case)) is not None), None)
                 for system in self.systems}
        return {system: value for system, value in found.items() if value is not None}

    def best_peer(self, metric: str, *cases: str, best: Callable[..., float] = max) -> float | None:
        values = [v for system, v in self.by_system(metric, *cases).items() if system in self.peers]
        return best(values) if values else None

    def all_of(self, system: str, metric: str, prefix: str = "") -> list[float]:
        return [float(row["value"]) for (s, m, case), row in self.rows.items()
                if s == system and m == metric and case.startswith("fault:") == (prefix == "fault:")]


def label(system: str) -> str:
    return next((name for start, name in LABELS.items() if system == start), None) or next(
        (name for start, name in LABELS.items() if system.startswith(start)), system)


def is_tokenizer(system: str) -> bool:
    return system.startswith(("tokenizers", "fastokens"))


@dataclass(frozen=True)
class Column:
    title: str
    metric: str
    cases: tuple[str, ...]
    """`{}` stands for the size of the file; the first that a system has counts."""
    show: Callable[[float], str]


def _mb(value: float) -> str:
    return f"{value / 1e6:,.1f} MB" if value < 10e6 else f"{value / 1e6:,.0f} MB"


def _seconds(value: float) -> str:
    return f"{value:,.2f} s"


def _thousandths(value: float) -> str:
    return f"{value * 1000:,.1f} ms"


def _rate(value: float) -> str:
    return f"{value / 1e6:,.2f} M"


COLUMNS = (
    Column("tokens a CPU second", "tokens_per_cpu_second", ("{}",), _rate),
    Column("first batch", "first_batch_seconds", ("{}",), _seconds),
    Column("CPU time of it", "first_batch_cpu_seconds", ("{}",), _seconds),
    Column("memory beyond imports", "private_memory_bytes",
           ("{}, all processes, beyond imports", "{}, the loader process, beyond its imports"), _mb),
    Column("memory, imports and all", "peak_rss_bytes", ("{}, all processes",), _mb),
    Column("registering, CPU time", "register_seconds", ("{}, CPU time beyond imports", "{}, CPU time"), _seconds),
    Column("extra disk", "extra_disk_bytes", ("{}",), _mb),
    Column("first batch at 90 %", "resume_90_seconds", ("{}, by the clock",), _seconds),
)


def loaders_table(figures: Figures, size: str) -> str:
    found = [figures.by_system(column.metric, *(case.format(size) for case in column.cases)) for column in COLUMNS]
    titles = [*(column.title for column in COLUMNS), "a new file up to its first batch, CPU time"]
    shows = [*(column.show for column in COLUMNS), _seconds]
    found.append(_of_a_new_file(figures, size))
    lines = ["| loader | " + " | ".join(titles) + " |", "|" + " --- |" * (len(titles) + 1)]
    for system in figures.systems:
        if any(system in values for values in found):
            cells = [show(values[system]) if system in values else "" for show, values in zip(shows, found, strict=True)]
            lines.append(f"| {label(system)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _of_a_new_file(figures: Figures, size: str) -> dict[str, float]:
    """What registering and a start take together; a loader that registers nothing only starts."""
    registering = figures.by_system("register_seconds", f"{size}, CPU time beyond imports", f"{size}, CPU time")
    registering[ONE_PROCESS] = registering.get(OURS, 0.0)
    starting = figures.by_system("first_batch_cpu_seconds", size)
    return {system: seconds + registering.get(system, 0.0) for system, seconds in starting.items()}


def conditions_table(figures: Figures, start: str) -> str:
    """First batch and rate under a condition, by system."""
    cases = sorted({case for _, _, case in figures.rows if case.startswith(start)})
    lines = ["| case | loader | first batch | tokens a CPU second |", "| --- | --- | --- | --- |"]
    for case in cases:
        for system in figures.systems:
            first, rate = (figures.value(system, m, case) for m in ("first_batch_seconds", "tokens_per_cpu_second"))
            if first is not None and rate is not None:
                lines.append(f"| {case.removeprefix(start).strip()} | {label(system)} | {_seconds(first)} | {_rate(rate)} |")
    return "\n".join(lines)


def faults_table(figures: Figures) -> str:
    cases = sorted({case for _, metric, case in figures.rows if case.startswith("fault:") and metric == "rows_lost"})
    systems = [s for s in figures.systems if any(figures.value(s, "rows_lost", case) is not None for case in cases)]
    lines = ["| fault | " + " | ".join(map(label, systems)) + " |", "|" + " --- |" * (len(systems) + 1)]
    for case in cases:
        lines.append(f"| {case.removeprefix('fault: ')} | " + " | ".join(_fault(figures, s, case) for s in systems) + " |")
    return "\n".join(lines)


def _fault(figures: Figures, system: str, case: str) -> str:
    lost, named = figures.value(system, "rows_lost", case), figures.value(system, "fault_named", case)
    memory = figures.value(system, "private_memory_bytes", case)
    if lost is None:
        return ""
    told = [] if named is None else ["file and line named" if named else "not named"]
    took = [] if memory is None else [_mb(memory)]
    return ", ".join(["no good row lost" if not lost else f"{lost:,.0f} good rows lost", *told, *took])


def mixing_table(figures: Figures) -> str:
    found = {(system, case): row for (system, metric, case), row in figures.rows.items() if metric == "mixing_distance_rows"}
    lines = ["| loader | weights | worst distance from exact |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {label(system)} | {case} | {_rows(float(row['value']))} |"
                                for (system, case), row in sorted(found.items(), key=lambda each: _rank(each[0][0])))])


def exactness_table(figures: Figures) -> str:
    """Rows lost and doubled where a loader stopped at 90 % and went on; ours also by ranks."""
    cases = sorted({case for _, metric, case in figures.rows if metric == "rows_lost" and not case.startswith("fault:")})
    lines = ["| case | loader | rows lost | rows doubled |", "| --- | --- | --- | --- |"]
    for case in cases:
        for system in figures.systems:
            lost, doubled = (figures.value(system, metric, case) for metric in ("rows_lost", "rows_doubled"))
            if lost is not None and doubled is not None:
                lines.append(f"| {case} | {label(system)} | {lost:,.0f} | {doubled:,.0f} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Target:
    what: str
    to_reach: str
    measured: Callable[[Figures], float | None]
    show: Callable[[float], str]
    is_reached: Callable[[float], bool]


def _ratio(top: float | None, bottom: float | None) -> float | None:
    return top / bottom if top is not None and bottom else None


def _growth(f: Figures) -> float | None:
    small, large = (f.value(OURS, "private_memory_bytes", f"{size}, the loader process, beyond its imports")
                    for size in ("200 MB", "20 GB in 20 shards"))
    return None if small is None or large is None else large - small


def _less_than_everything(f: Figures) -> float | None:
    """Beside five times what loading everything takes at 200 MB: at 1 GB it would take most machines' memory."""
    ours = f.value(OURS, "private_memory_bytes", "1 GB, the loader process, beyond its imports")
    share = _ratio(ours, _peer(f, "load everything", "private_memory_bytes", "200 MB, all processes, beyond imports"))
    return None if share is None else 1 - share / 5


def _peer(f: Figures, start: str, metric: str, *cases: str) -> float | None:
    return next((v for s, v in f.by_system(metric, *cases).items() if s.startswith(start)), None)


def _faster_than(f: Figures, start: str) -> float | None:
    ours = f.by_system("register_seconds", *_REGISTERED).get(OURS)
    return _ratio(_peer(f, start, "register_seconds", _REGISTERED[0]), ours)


def _faster_than_tokenising(f: Figures) -> float | None:
    """Loading everything tokenises before its first batch; its imports count little beside it."""
    ours = f.value(OURS, "register_seconds", "200 MB, CPU time")
    return _ratio(_peer(f, "load everything", "first_batch_cpu_seconds", "200 MB"), ours)


def _mixing(f: Figures, changed: str) -> float | None:
    return f.value(OURS, "mixing_distance_rows", f"0.8 / 0.2, 4,000 rows{changed}")


def _rows(value: float) -> str:
    return f"{value:.1f} rows"


def _disk(f: Figures) -> float | None:
    return _ratio(f.value(OURS, "extra_disk_bytes", "1 GB"), 1e9)


def _times(value: float) -> str:
    return f"{value:,.1f} ×"


def _share(value: float) -> str:
    return f"{value:.2%}"


_RATE, _FIRST = "tokens_per_cpu_second", "first_batch_seconds"
_OVER_A_START = "4 GB, CPU time over a start at zero"
_REGISTERED = ("1 GB, CPU time beyond imports", "1 GB, CPU time")

TARGETS = (
    Target("tokens a CPU second, 200 MB", "5.50 M", lambda f: f.value(OURS, _RATE, "200 MB"), _rate, lambda v: v >= 5.5e6),
    Target("… of the best peer's", "10 ×", lambda f: _ratio(f.value(OURS, _RATE, "200 MB"), f.best_peer(_RATE, "200 MB")),
           _times, lambda v: v >= 10),
    Target("… of LLaMA-Factory's, both processes of ours counted", "25 ×",
           lambda f: _ratio(f.value(OURS, _RATE, "200 MB"), _peer(f, "llamafactory", _RATE, "200 MB")), _times,
           lambda v: v >= 25),
    Target("… of LLaMA-Factory's, where ours loads in the process that takes the batches, as it does", "25 ×",
           lambda f: _ratio(f.value(ONE_PROCESS, _RATE, "200 MB"), _peer(f, "llamafactory", _RATE, "200 MB")), _times,
           lambda v: v >= 25),
    Target("private memory of the loader process beyond imports, 1 GB", "at most 120 MB",
           lambda f: f.value(OURS, "private_memory_bytes", "1 GB, the loader process, beyond its imports"), _mb,
           lambda v: v <= 120e6),
    Target("its growth from 200 MB to 20 GB of data", "at most 2 MB", _growth, _mb, lambda v: v <= 2e6),
    Target("… less than loading everything, 1 GB (five times what that takes for 200 MB)", "95 %", _less_than_everything,
           _share, lambda v: v >= 0.95),
    Target("resident memory of all processes, share of the smallest peer's, 200 MB", "below 100 %",
           lambda f: _ratio(f.value(OURS, "peak_rss_bytes", "200 MB, all processes"),
                            f.best_peer("peak_rss_bytes", "200 MB, all processes", best=min)), _share, lambda v: v < 1),
    Target("extra disk, share of 1 GB", "at most 1 %", _disk, _share, lambda v: v <= 0.01),
    Target("imports of the loader process, CPU time", "at most 0.20 s",
           lambda f: f.value(OURS, "imports_cpu_seconds", "the loader process"), _seconds, lambda v: v <= 0.2),
    Target("first batch, 200 MB", "at most 0.70 s", lambda f: f.value(OURS, _FIRST, "200 MB"), _seconds, lambda v: v <= 0.7),
    Target("first batch, 4 GB", "at most 0.70 s", lambda f: f.value(OURS, _FIRST, "4 GB"), _seconds, lambda v: v <= 0.7),
    Target("first batch, share of the fastest peer's, 200 MB", "below 100 %",
           lambda f: _ratio(f.value(OURS, _FIRST, "200 MB"), f.best_peer(_FIRST, "200 MB", best=min)), _share, lambda v: v < 1),
    Target("registering 1 GB, CPU time", "at most 5 s",
           lambda f: f.by_system("register_seconds", *_REGISTERED).get(OURS), _seconds, lambda v: v <= 5),
    Target("… faster than LLaMA-Factory's conversion to Arrow, 1 GB", "5 ×", lambda f: _faster_than(f, "llamafactory"), _times,
           lambda v: v >= 5),
    Target("… faster than mosaicml-streaming's conversion to its shards, 1 GB", "5 ×", lambda f: _faster_than(f, "mosaicml"),
           _times, lambda v: v >= 5),
    Target("… faster than tokenising everything, 200 MB", "5 ×", _faster_than_tokenising, _times, lambda v: v >= 5),
    Target("going on at 90 % of 4 GB, CPU time over a start at zero", "at most 20 ms",
           lambda f: f.value(OURS, "resume_90_seconds", _OVER_A_START), _thousandths, lambda v: v <= 0.02),
    Target("… where three ranks go on from what one kept", "at most 20 ms",
           lambda f: f.value(OURS, "resume_90_seconds", f"{_OVER_A_START}, by one of 3 ranks from what 1 rank kept"),
           _thousandths, lambda v: v <= 0.02),
    Target("state that is kept", "at most 4 KB", lambda f: f.value(OURS, "state_bytes", "4 GB, at 90 %"),
           lambda v: f"{v:,.0f} bytes", lambda v: v <= 4096),
    Target("mixing 0.8 / 0.2, worst distance from exact", "at most 1 row", lambda f: _mixing(f, ""), _rows, lambda v: v <= 1),
    Target("… with weights that change on the way", "at most 1 row", lambda f: _mixing(f, ", 0.3 / 0.7 from step 101"), _rows,
           lambda v: v <= 1),
    Target("rows lost or doubled, any number of ranks", "0",
           lambda f: sum(f.all_of(OURS, "rows_lost") + f.all_of(OURS, "rows_doubled"), 0.0)
           if f.all_of(OURS, "rows_lost") else None, lambda v: f"{v:,.0f}", lambda v: v == 0),
    Target("faults told with file and line", "all",
           lambda f: _ratio(sum(f.all_of(OURS, "fault_named", "fault:")), len(f.all_of(OURS, "fault_named", "fault:"))),
           lambda v: f"{v:.0%}", lambda v: v == 1),
    Target("memory for a row of 24 MB", "at most 200 MB",
           lambda f: f.value(OURS, "private_memory_bytes", "fault: one row of 24 MB"), _mb, lambda v: v <= 200e6),
)


def targets_table(figures: Figures) -> str:
    lines = ["| what | to reach | measured | |", "| --- | --- | --- | --- |"]
    for target in TARGETS:
        value = target.measured(figures)
        told = "not measured" if value is None else target.show(value)
        verdict = "" if value is None else "reached" if target.is_reached(value) else "**missed**"
        lines.append(f"| {target.what} | {target.to_reach} | {told} | {verdict} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[Figures], str]] = {
    "loaders 200 MB": lambda f: loaders_table(f, "200 MB"), "loaders 1 GB": lambda f: loaders_table(f, "1 GB"),
    "loaders 4 GB": lambda f: loaders_table(f, "4 GB"), "targets": targets_table, "exactness": exactness_table,
    "mixing": mixing_table, "faults": faults_table, "cold": lambda f: conditions_table(f, "cold:"),
    "remote": lambda f: conditions_table(f, "remote:"),
}


def with_tables(page: str, rows: Rows) -> str:
    """The page with its tables as the results have them."""
    figures = Figures(rows)
    for name, table in TABLES.items():
        mark = f"<!-- {name} -->"
        page = re.sub(f"{re.escape(mark)}\n.*?<!-- end -->", lambda _, mark=mark, table=table:
                      f"{mark}\n{table(figures)}\n<!-- end -->", page, flags=re.DOTALL)
    return page


def _rank(system: str) -> int:
    starts = list(LABELS)
    if system in starts:
        return starts.index(system)
    return next((number for number, start in enumerate(starts) if number > 1 and system.startswith(start)), len(starts))


def main() -> None:
    PAGE.write_text(with_tables(PAGE.read_text(), read()))


if __name__ == "__main__":
    main()

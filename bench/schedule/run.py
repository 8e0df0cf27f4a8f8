"""The policy over simulated weeks, and its speed on ten thousand queued jobs.

    python bench/schedule/run.py week [--seeds 1,2,3]
    python bench/schedule/run.py queue [--jobs 10000 --projects 50 --claims 100]

`week` writes its figures to results.json and the waits as a picture to docs/figures/schedule-waits.svg; `queue` measures
claims and list pages on SQLite and on a PostgreSQL server of its own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.loaders.results import keep, row  # noqa: E402
from bench.schedule import ledgers  # noqa: E402
from bench.schedule.picture import drawn  # noqa: E402
from bench.schedule.week import NAMES, a_week, busy, quantile, waits  # noqa: E402
from core.scheduling.policy import DEFAULT  # noqa: E402

FIGURE = HERE.parents[1] / "docs" / "figures" / "schedule-waits.svg"
OURS = "headrace"
PILES = {"piles of one-minute jobs alone": (60.0, False), "piles of five-minute jobs alone": (300.0, False),
         "piles of one-minute jobs among all others": (60.0, True)}


def main() -> None:
    asked = _asked()
    if asked.what != "queue":
        keep(list(_week(asked.seeds)), path=HERE / "results.json")
    if asked.what != "week":
        keep(list(_queue(asked.jobs, asked.projects, asked.claims)), path=HERE / "results.json")


def _week(seeds: list[int]) -> Iterator[dict]:
    print(f"seeds {seeds}")
    for case, (seconds, is_mixed) in PILES.items():
        weeks = [busy(a_week(seed, is_preempting=True, pile_job_seconds=seconds, policy=DEFAULT, is_mixed=is_mixed))
                 for seed in seeds]
        told: dict[str, tuple[Callable[[list[float]], float], list[float], str]] = {
            "busy_hours": (sum, [week.hours for week in weeks], "h"),
            "worst_share_off": (max, [week.worst_points for week in weeks], "points of the machine"),
            "mean_share_off": (statistics.mean, [week.mean_relative for week in weeks], "% of the due"),
            "worst_share_off_over_a_day": (max, [week.whole_relative for week in weeks], "% of the due"),
        }
        for metric, (over, values, unit) in told.items():
            yield row(OURS, metric, f"20 users, 4 GPUs, {case}", over(values), unit, runs=len(seeds))
    yield from _waits(seeds)


def _waits(seeds: list[int]) -> Iterator[dict]:
    curves: dict[tuple[str, bool], list[float]] = {}
    for is_preempting in (True, False):
        weeks = [a_week(seed, is_preempting=is_preempting, pile_job_seconds=300.0, policy=DEFAULT) for seed in seeds]
        case = f"20 users, 4 GPUs, {'with' if is_preempting else 'without'} preemption"
        for priority, name in NAMES.items():
            found = sorted(wait for week in weeks for wait in waits(week, priority))
            curves[name, is_preempting] = found
            for metric, part in (("median", 0.5), ("p90", 0.9), ("longest", 1.0)):
                yield row(OURS, f"wait_{metric}", f"{case}, {name} jobs", quantile(found, part), "s", runs=len(seeds))
        unfinished = sum(task.state != "succeeded" for week in weeks for task in week.tasks.values())
        yield row(OURS, "jobs_never_started", case, unfinished, "jobs", runs=len(seeds))
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    FIGURE.write_text(drawn(curves))


def _queue(jobs: int, projects: int, claims: int) -> Iterator[dict]:
    for name, ledger in ledgers.both():
        ledgers.fill(ledger, jobs=jobs, projects=projects)
        for case, measured in (("all jobs fit", ledgers.time_claims(ledger, claims)),
                               ("the first of every project lacks devices", ledgers.time_blocked(ledger, claims))):
            yield from _times("claim", f"{name}, {jobs:,} queued jobs of {projects} projects, {case}", measured)
        yield from _times("list_page", f"{name}, {jobs:,} queued jobs of {projects} projects, 100 a page",
                          ledgers.time_pages(ledger, claims))
        ledger.close()


def _times(metric: str, case: str, took: list[ledgers.Took]) -> Iterator[dict]:
    ordered, worked = (sorted(1000 * getattr(each, name) for each in took) for name in ("seconds", "cpu_seconds"))
    yield row(OURS, f"{metric}_median", case, quantile(ordered, 0.5), "ms", runs=len(ordered))
    yield row(OURS, f"{metric}_p95", case, quantile(ordered, 0.95), "ms", runs=len(ordered))
    yield row(OURS, f"{metric}_cpu_median", case, quantile(worked, 0.5), "ms", runs=len(ordered))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["week", "queue"], nargs="?", help="default: both, one after the other")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--projects", type=int, default=50)
    parser.add_argument("--claims", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    main()

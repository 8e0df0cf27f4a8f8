"""Measure the peers: register, first batch, speed, memory, disk, and going on at 90 %, each in its own environment.

    python bench/loaders/peers/side_by_side.py --environments DIR [--tokenizer DIR] [--megabytes 200 1000] [--runs 5]
        [--peers headrace huggingface mosaic llamafactory everything]
        [--parts preparation speed resume exactness] [--keep]

Headrace's reader is one of them here, so that all read the same file in the same run. They take turns, so that other work on
the machine falls on all alike; every figure is the median of its runs, and is kept in ../results.json as it comes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[2]
sys.path[:0] = [str(ROOT), str(FOLDER)]

from watching import Seen, watch  # noqa: E402

from bench.generate import write_rows  # noqa: E402
from bench.loaders.measure import Outcome  # noqa: E402
from bench.loaders.measure import run as measured  # noqa: E402
from bench.loaders.results import keep, row  # noqa: E402
from bench.loaders.run import IMPORTS, LOADER, Case, rates  # noqa: E402
from core.data.process import bare_environment  # noqa: E402

WORK = FOLDER.parent / "work"
BATCH = 16


@dataclass(frozen=True)
class Peer:
    environment: str
    """Folder of environments.sh; empty for Headrace's own."""
    program: str
    workers: int = 0
    batches: int = 1500
    """Batches of a timed run: enough that rows read ahead of the first one weigh little."""
    has_preparation: bool = False
    tokenises_first: bool = False
    """Whether all is tokenised before the first batch: then speed counts from its imports on, over the whole file."""


PEERS = {
    "headrace": Peer("", "headrace_reader.py", batches=4000, has_preparation=True),
    "huggingface": Peer("huggingface", "hf_streaming.py"),
    "mosaic": Peer("mosaic", "mosaic_streaming.py", has_preparation=True),
    "llamafactory": Peer("llamafactory", "llama_factory.py", workers=1, batches=1000, has_preparation=True),
    "everything": Peer("huggingface", "load_everything.py", batches=0, tokenises_first=True),
}


@dataclass(frozen=True)
class Place:
    """Where a peer runs: its environment, the model's folder, and the file that it reads."""

    environments: Path
    tokenizer: Path
    file: Path
    case: str

    def run(self, peer: Peer, way: str, *options: str) -> Seen:
        work = self.work(peer)
        work.mkdir(parents=True, exist_ok=True)
        return watch([str(self.python(peer)), str(FOLDER / peer.program), way, str(self.file), "--work", str(work),
                      "--tokenizer", str(self.tokenizer), "--batch", str(BATCH), "--workers", str(peer.workers), *options])

    def python(self, peer: Peer) -> Path:
        return self.environments / peer.environment / "bin" / "python" if peer.environment else Path(sys.executable)

    def work(self, peer: Peer) -> Path:
        return WORK / "peers" / f"{self.file.stem}-{Path(peer.program).stem}"


def main() -> None:
    asked = _arguments()
    for megabytes in asked.megabytes:
        place = place_of(asked, megabytes)
        try:
            for name in asked.peers:
                if PEERS[name].has_preparation:
                    keep(_preparation(PEERS[name], place, asked.runs if "preparation" in asked.parts else 1))
            if "speed" in asked.parts:
                _speed(asked, place)
            if "resume" in asked.parts:
                for name in asked.peers:
                    keep(_resume_time(PEERS[name], place, asked.runs))
        finally:
            if not asked.keep:
                place.file.unlink()
                shutil.rmtree(WORK / "peers", ignore_errors=True)
    if "exactness" in asked.parts:
        place = place_of(asked, 10)
        for name in asked.peers:
            keep(_exactness(PEERS[name], place))


def place_of(asked: argparse.Namespace, megabytes: int) -> Place:
    size = f"{megabytes // 1000} GB" if megabytes >= 1000 else f"{megabytes} MB"
    file = WORK / f"{megabytes}.jsonl"
    if not file.exists():
        write_rows(file, size_bytes=megabytes * 1_000_000)
    return Place(asked.environments, asked.tokenizer, file, size)


def system_of(seen: Seen) -> str:
    """The system's name, where it does not matter in how many processes Headrace reads."""
    return seen["imported"]["system"].removesuffix(", read in one process")


def _preparation(peer: Peer, place: Place, runs: int) -> Iterator[dict[str, Any]]:
    """Make what the peer keeps beside the file, and leave it there for the runs to come."""
    seen = []
    for _ in range(runs):
        shutil.rmtree(place.work(peer), ignore_errors=True)
        seen.append(place.run(peer, "prepare"))
    cpu = [each["prepared"]["cpu_seconds"] - each["imported"]["cpu_seconds"] for each in seen]
    system = system_of(seen[0])
    case = f"{place.case}, CPU time beyond imports"
    yield row(system, "register_seconds", case, statistics.median(cpu), "s", runs=runs)
    yield row(system, "extra_disk_bytes", place.case, seen[-1]["prepared"]["disk_bytes"], "bytes", runs=runs)


def _speed(asked: argparse.Namespace, place: Place) -> None:
    seen: dict[str, list[Seen]] = {name: [] for name in asked.peers}
    ours = OurLoader(place) if "headrace" in asked.peers else None
    for _ in range(asked.runs):
        if ours:
            keep(ours.rows_after_a_run())
        for name in asked.peers:
            seen[name].append(place.run(PEERS[name], "read", "--batches", str(PEERS[name].batches)))
            keep(_speed_rows(PEERS[name], seen[name], place.case))


class OurLoader:
    """Headrace as a run uses it (`../ours.py`: a read-ahead process, and a light one that takes), in the same turns."""

    def __init__(self, place: Place) -> None:
        index = place.work(PEERS["headrace"]) / "rows.index"
        self._case = Case(place.case, place.file, index, place.tokenizer, 0)
        self._command = [str(FOLDER.parent / "ours.py"), str(self._case.write_spec()), "--steps"]
        self._imports = statistics.median(
            _of_headrace(str(FOLDER.parent / IMPORTS)).highest_by_command[IMPORTS] for _ in range(3))
        self._outcomes: list[Outcome] = []
        _of_headrace(*self._command, "1")  # the data set meets the model

    def rows_after_a_run(self) -> Iterator[dict[str, Any]]:
        """Read once more; give the medians of all runs so far."""
        self._outcomes.append(_of_headrace(*self._command, "2000"))
        yield from rates("headrace", self._case, self._outcomes)
        private = [each.highest_by_command[LOADER] - self._imports for each in self._outcomes]
        case = f"{self._case.name}, the loader process, beyond its imports"
        yield row("headrace", "private_memory_bytes", case, statistics.median(private), "bytes", runs=len(private))


def _of_headrace(*command: str) -> Outcome:
    return measured([sys.executable, *command], environment=bare_environment(), watched=(LOADER, IMPORTS))


def _speed_rows(peer: Peer, seen: list[Seen], case: str) -> Iterator[dict[str, Any]]:
    system = seen[0]["imported"]["system"]
    figures = [_figures(each, since="imported" if peer.tokenises_first else "first_batch") for each in seen]
    for metric, what, unit in _SPEED:
        value = statistics.median(each[metric] for each in figures)
        yield row(system, metric, f"{case}, {what}" if what else case, value, unit, runs=len(seen))


_SPEED = (
    ("first_batch_seconds", "", "s"), ("first_batch_cpu_seconds", "", "s"), ("tokens_per_second", "", "tokens/s"),
    ("rows_per_second", "", "rows/s"), ("tokens_per_cpu_second", "", "tokens/s"),
    ("private_memory_bytes", "all processes, beyond imports", "bytes"), ("peak_rss_bytes", "all processes", "bytes"),
)


def _figures(seen: Seen, *, since: str) -> dict[str, float]:
    imported, first, start, end = seen["imported"], seen["first_batch"], seen[since], seen["read"]
    seconds, cpu = end["seconds"] - start["seconds"], end["cpu_seconds"] - start["cpu_seconds"]
    return {
        "first_batch_seconds": first["seconds"], "first_batch_cpu_seconds": first["cpu_seconds"],
        "tokens_per_second": end["tokens"] / seconds,
        "rows_per_second": end["rows"] / seconds, "tokens_per_cpu_second": end["tokens"] / cpu,
        "private_memory_bytes": seen.peak["pss_bytes"] - imported["pss_bytes"], "peak_rss_bytes": seen.peak["rss_bytes"],
    }


def _resume_time(peer: Peer, place: Place, runs: int) -> Iterator[dict[str, Any]]:
    """Stop at 90 % of the rows, then go on in new processes up to their first batch."""
    with place.file.open("rb") as file:
        at = sum(1 for _ in file) * 9 // 10 // BATCH
    kept = place.run(peer, "whole", "--at", str(at), "--batches", "1")
    system = kept["imported"]["system"]
    yield row(system, "state_bytes", f"{place.case}, at 90 %", kept["kept"]["state_bytes"], "bytes", runs=1)
    starts = [place.run(peer, "rest", "--batches", "1") for _ in range(runs)]
    for how, field in (("by the clock", "seconds"), ("CPU time", "cpu_seconds")):
        value = statistics.median(each["first_batch"][field] for each in starts)
        yield row(system, "resume_90_seconds", f"{place.case}, {how}", value, "s", runs=runs)


def _exactness(peer: Peer, place: Place) -> Iterator[dict[str, Any]]:
    """Compare what follows a stop at 90 % with an undisturbed pass, row by row."""
    with place.file.open("rb") as file:
        at = sum(1 for _ in file) * 9 // 10 // BATCH
    if peer.has_preparation:
        place.run(peer, "prepare")
    kept = place.run(peer, "whole", "--at", str(at))
    place.run(peer, "rest")["read"]
    whole, rest = (json.loads((place.work(peer) / f"{name}.json").read_bytes()) for name in ("whole", "rest"))
    due, given = Counter(whole[at * BATCH:]), Counter(rest)
    system, case = system_of(kept), f"stopped at 90 % of {len(whole):,} rows and gone on"
    yield row(system, "rows_lost", case, (due - given).total(), "rows", runs=1)
    yield row(system, "rows_doubled", case, (given - due).total(), "rows", runs=1)


_PARTS = ["preparation", "speed", "resume", "exactness"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the peers of the loader.")
    parser.add_argument("--environments", type=Path, default=WORK / "environments", help="what environments.sh made")
    parser.add_argument("--tokenizer", type=Path, default=WORK / "smollm2", help="SmolLM2's folder, as worker.convert makes it")
    parser.add_argument("--megabytes", type=int, nargs="*", default=[200, 1000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--keep", action="store_true", help="leave the files that were made")
    return parser.parse_args()


if __name__ == "__main__":
    main()

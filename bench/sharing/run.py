"""Measure what ranks and loader processes that share cost and bring: `python bench/sharing/run.py [--model DIR] [--runs 5]`.

Seeded chat rows are written and registered; then batches of 64 rows are taken, every case in fresh processes, the cases one
after another and all of them again, so that what else the machine does falls on each. The model's tokenizer is one that the
fast one serves; the reference serves where the same tokenizer is told to rewrite a character, which no row holds.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.generate import write_rows  # noqa: E402
from bench.loaders.measure import Outcome, run  # noqa: E402
from bench.loaders.results import keep, row  # noqa: E402
from bench.loaders.run import converted_model  # noqa: E402
from core.data.index import build_index  # noqa: E402
from core.data.process import bare_environment  # noqa: E402
from core.data.spec import MixtureEntry, SourceSpec, StreamSpec  # noqa: E402

FOLDER = Path(__file__).resolve().parent
WORK = FOLDER / "work"
BATCH_SIZE = 64
LOADER = "core.data.ahead"


@dataclass(frozen=True)
class Case:
    tokenizer: str
    ranks: int = 1
    processes: int = 1
    is_apart: bool = False

    @property
    def name(self) -> str:
        loaders = f"a loader for each of {self.ranks} ranks" if self.is_apart else f"one loader for {self.ranks} rank(s)"
        return f"{self.tokenizer} tokenizer, {loaders}, {self.processes} process(es)"


CASES = [
    *(Case(tokenizer, processes=processes) for tokenizer in ("fast", "reference") for processes in (1, 2)),
    *(Case("fast", ranks=ranks, is_apart=is_apart) for ranks in (2, 4) for is_apart in (False, True)),
]


def main() -> None:
    asked = _arguments()
    WORK.mkdir(exist_ok=True)
    try:
        specs = _specs(asked.model or converted_model(), asked.megabytes)
        found: dict[Case, list[Outcome]] = defaultdict(list)
        for _ in range(asked.runs):
            for case in CASES:
                found[case].append(_measure(case, specs[case.tokenizer], asked.steps))
        for case, outcomes in found.items():
            _keep(case, outcomes)
    finally:
        shutil.rmtree(WORK)


def _measure(case: Case, spec: Path, steps: int) -> Outcome:
    told = ["--ranks", str(case.ranks), "--processes", str(case.processes), *(["--apart"] if case.is_apart else [])]
    count = steps // (1 if case.tokenizer == "fast" else 8)
    return run([sys.executable, str(FOLDER / "taker.py"), str(spec), "--steps", str(count), *told],
               environment=bare_environment(), watched=[LOADER])


def _keep(case: Case, outcomes: list[Outcome]) -> None:
    rates = [outcome.rate() for outcome in outcomes]
    told = {
        "tokens_per_second": ([wall for _, wall, _ in rates], "tokens/s"),
        "tokens_per_cpu_second": ([cpu for cpu, _, _ in rates], "tokens/s"),
        "first_batch_seconds": ([outcome.moments["first_batch"].seconds for outcome in outcomes], "s"),
        "private_memory_bytes": ([outcome.peak_private_bytes for outcome in outcomes], "bytes"),
    }
    keep(({**row("headrace", metric, case.name, statistics.median(values), unit, runs=len(values)),
           "lowest": round(min(values), 4), "highest": round(max(values), 4)} for metric, (values, unit) in told.items()),
         path=FOLDER / "results.json")


def _specs(model: Path, megabytes: int) -> dict[str, Path]:
    file, index = WORK / "rows.jsonl", WORK / "index"
    write_rows(file, size_bytes=megabytes * 1_000_000)
    build_index(file, index, shape="chat")
    source = SourceSpec.of_file("rows", str(file), str(index), "chat", f"{megabytes}")
    specs = {}
    for name, folder in (("fast", model), ("reference", _rewriting(model))):
        spec = StreamSpec((source,), (MixtureEntry(1, (1.0,)),), seed=1, epochs=50, batch_size=BATCH_SIZE, max_length=2048,
                          micro_batch_tokens=8192, tokenizer_path=str(folder), tokenizer_digest="")
        specs[name] = WORK / f"{name}.json"
        specs[name].write_bytes(orjson.dumps(spec.to_json()))
        _measure(Case(name), specs[name], 8)  # the data set meets the model
    return specs


def _rewriting(model: Path) -> Path:
    """The same tokenizer, told to rewrite what no row holds: so the reference alone may serve it."""
    folder = WORK / "reference"
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    told = orjson.loads((folder / "tokenizer.json").read_bytes())
    told["normalizer"] = {"type": "Replace", "pattern": {"String": "\x01"}, "content": " "}
    (folder / "tokenizer.json").write_bytes(orjson.dumps(told))
    return folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure ranks and processes that share the loading.")
    parser.add_argument("--model", type=Path, help="a model's folder; default: the built-in SmolLM2")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400, help="counted, of 64 rows each; an eighth with the reference")
    return parser.parse_args()


if __name__ == "__main__":
    main()

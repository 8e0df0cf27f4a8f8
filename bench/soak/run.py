"""The soak: jobs over HTTP, SIGKILLs at random, and the whole history checked afterwards.

    python bench/soak/run.py                                          # 200 jobs and 300 kills on each database
    python bench/soak/run.py --database sqlite --jobs 50 --kills 75 --seed 3 --add
    python bench/soak/run.py --real --jobs 10 --kills 15 --add        # with torch and the built-in tiny model

A run is made in chunks of at most `--chunk` jobs, each with a seed of its own and a fresh home. `results.json` is written
after each chunk; `--add` keeps the chunks that it holds already, but for one of the same seed, database and trainer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.soak.postgres import open_postgres  # noqa: E402
from bench.soak.results import commit, told  # noqa: E402
from bench.soak.soak import Plan, soak  # noqa: E402

RESULTS = HERE / "results.json"


def main() -> int:
    asked = parse()
    chunks = json.loads(RESULTS.read_text())["chunks"] if asked.add and RESULTS.exists() else []
    for database in asked.database or ["sqlite", "postgresql"]:
        for plan in plans(asked, database):
            chunk = run(plan, database)
            chunks = [old for old in chunks if any(old[name] != chunk[name] for name in ("database", "trainer", "seed"))]
            chunks.append(chunk)
            RESULTS.write_text(json.dumps(told(chunks, command=" ".join(["python", "bench/soak/run.py", *sys.argv[1:]])),
                                          indent=1) + "\n")
    return 0 if all(not chunk["faults"] for chunk in chunks) else 1


def plans(asked: argparse.Namespace, database: str) -> Iterator[dict[str, Any]]:
    left_jobs, left_kills, seed = asked.jobs, asked.kills, asked.seed
    while left_jobs:
        jobs = min(asked.chunk, left_jobs)
        kills = round(left_kills * jobs / left_jobs)
        yield {"jobs": jobs, "kills": kills, "seed": seed, "is_real": asked.real}
        left_jobs, left_kills, seed = left_jobs - jobs, left_kills - kills, seed + 1


def run(plan: dict[str, Any], database: str) -> dict[str, Any]:
    trainer = "real" if plan["is_real"] else "small"
    print(f"== {database}, {trainer} trainer, {plan['jobs']} jobs, {plan['kills']} kills, seed {plan['seed']}", flush=True)
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="headrace-soak-")))
        url = ""
        if database == "postgresql":
            url = opened.enter_context(open_postgres()).new_database("soak")
        outcome = soak(folder, Plan(**plan, database_url=url), say=lambda text: print(text, flush=True))
    found = asdict(outcome.findings)
    for fault in found["words"]:
        print(f"FAULT {fault}", flush=True)
    return {"database": database, "trainer": trainer, "seed": plan["seed"], "commit": commit(),
            "seconds": round(outcome.seconds),
            **{name: value for name, value in found.items() if name != "words"}, "faults": found["words"],
            "kills": [[kill.kind, None if kill.seconds is None else round(kill.seconds, 2)] for kill in outcome.kills]}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill parts of a server at random, and check what became of its jobs.")
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"], help="default: both")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1, help="of the first chunk; each next one has the next")
    parser.add_argument("--chunk", type=int, default=50, help="jobs of a chunk at most")
    parser.add_argument("--real", action="store_true", help="train the tiny model with torch instead of the small trainer")
    parser.add_argument("--add", action="store_true", help="keep the chunks in results.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

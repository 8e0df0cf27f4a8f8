"""Rows of one file, read in both orders from a local disk and from an object store: requests, bytes, time a row.

    python bench/places/run.py [--megabytes 400] [--cache-megabytes 160] [--delay 0.02] [--rows 4000]

The file is registered once. Then a fresh process (this program with `read`) takes rows as a run does, 16 a step, with a cache
that holds a part of the file: a whole pass in layout `blocks`, and `--rows` rows in layout `rows`, of which a pass would take
hours. moto's S3 server keeps the file in its memory, on loopback; `--delay` is what each of its answers is kept waiting.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.generate import write_rows  # noqa: E402
from bench.loaders.results import keep, row  # noqa: E402
from core.data.index import build_index  # noqa: E402
from core.data.pipeline.timetable import Timetable  # noqa: E402
from core.data.process import bare_environment  # noqa: E402
from core.data.rows import RowReader  # noqa: E402
from core.data.spec import MixtureEntry, OrderLayout, Place, Places, ShardSpec, SourceSpec, StreamSpec  # noqa: E402
from tests.remote import Bucket  # noqa: E402
from tests.servers import free_port  # noqa: E402
from tests.waiting import wait_for  # noqa: E402

FOLDER = Path(__file__).resolve().parent
WORK = FOLDER / "work"
BATCH = 16


def main() -> None:
    asked = _arguments()
    file, index = WORK / "rows.jsonl", WORK / "rows.index"
    try:
        write_rows(file, size_bytes=asked.megabytes * 1_000_000)
        report = build_index(file, index)
        local = SourceSpec.of_file("rows", str(file), str(index), "chat")
        for layout, rows in _turns(asked.rows, report.rows):
            read = _read(replace(local, layout=layout), Places(), rows)
            _keep(f"{asked.megabytes} MB on a local disk, layout {layout}", read)
        for delay in (0.0, asked.delay):
            with _a_store(delay) as (bucket, address):
                bucket.upload("rows.jsonl", file)
                _measure_remote(asked, bucket.place(), address, index, report.rows, delay)
    finally:
        shutil.rmtree(WORK, ignore_errors=True)


def _measure_remote(asked: argparse.Namespace, place: Place, address: str, index: Path, rows: int, delay: float) -> None:
    size = (WORK / "rows.jsonl").stat().st_size
    shard = ShardSpec("rows.jsonl", str(index), "", place=place.name, bytes=size)
    for layout, count in _turns(asked.rows, rows):
        places = Places({place.name: place}, str(WORK / "cache"), asked.cache_megabytes << 20)
        httpx.get(f"{address}/counts", trust_env=False)
        told = _read(SourceSpec("rows", (shard,), "chat", "", layout=layout), places, count)
        counted = httpx.get(f"{address}/counts", trust_env=False).json()
        shutil.rmtree(WORK / "cache", ignore_errors=True)
        away = f", {delay * 1000:.0f} ms a request" if delay else ""
        _keep(f"remote: {asked.megabytes} MB, S3 on loopback{away}, layout {layout}", {**told, **counted})


def _turns(few: int, all_rows: int) -> tuple[tuple[OrderLayout, int], ...]:
    return ("rows", few), ("blocks", all_rows)


def _keep(case: str, told: dict[str, float]) -> None:
    rows = told["rows"]
    found: list[dict[str, Any]] = [
        row("headrace", "rows_per_second", case, rows / told["seconds"], "rows/s", runs=1),
        row("headrace", "cpu_microseconds_per_row", case, told["cpu_seconds"] / rows * 1e6, "µs", runs=1),
    ]
    if "requests" in told:
        found.append(row("headrace", "requests_per_thousand_rows", case, told["requests"] / rows * 1000, "requests", runs=1))
        found.append(row("headrace", "fetched_bytes_per_byte", case, told["bytes"] / told["row_bytes"], "bytes", runs=1))
    keep(found, path=FOLDER / "results.json")


def _read(source: SourceSpec, places: Places, rows: int) -> dict[str, float]:
    """Have a fresh process take so many rows."""
    spec = StreamSpec((source,), (MixtureEntry(1, (1.0,)),), seed=1, epochs=1, batch_size=BATCH, max_length=2048,
                      micro_batch_tokens=8192, tokenizer_path="", tokenizer_digest="")
    told = orjson.dumps({"spec": spec.to_json(), "places": places.to_json(), "rows": rows})
    done = subprocess.run([sys.executable, str(FOLDER / "run.py"), "read"], input=told, env=bare_environment(),
                          capture_output=True, check=True)
    return orjson.loads(done.stdout)


def _take() -> dict[str, float]:
    """In the fresh process: read steps until the rows are reached."""
    told = orjson.loads(sys.stdin.buffer.read())
    spec = StreamSpec.from_json(told["spec"])
    rows = 0
    with RowReader(spec.sources, Places.from_json(told["places"])) as reader:
        timetable = Timetable(spec, reader.indexes)
        started, cpu = time.perf_counter(), time.process_time()
        for step in range(1, timetable.plan.total_steps + 1):
            rows += len(reader.read_many(timetable.due(step).rows))
            if rows >= told["rows"]:
                break
        mean = reader.indexes[0].bytes / reader.indexes[0].rows
        return {"rows": rows, "row_bytes": rows * mean, "seconds": time.perf_counter() - started,
                "cpu_seconds": time.process_time() - cpu}


@contextmanager
def _a_store(delay: float) -> Iterator[tuple[Bucket, str]]:
    port = free_port()
    process = subprocess.Popen([sys.executable, str(FOLDER / "server.py"), str(port), str(delay)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(address), "the S3 server did not start")
        yield Bucket(address), address
    finally:
        process.kill()
        process.wait()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/counts", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Read rows in both orders from a disk and from an object store.")
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--cache-megabytes", type=int, default=160, help="more than two windows of blocks (128 MiB)")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that each answer is kept waiting")
    parser.add_argument("--rows", type=int, default=4000, help="to take in layout rows")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:] == ["read"]:
        sys.stdout.buffer.write(orjson.dumps(_take()))
    else:
        main()

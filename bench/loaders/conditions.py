"""The same readers where the data is not at hand: a file whose pages the kernel has dropped, and a file in an object store.

    python bench/loaders/conditions.py [--megabytes 200] [--runs 5] [--environments DIR] [--tokenizer DIR] [--parts cold remote]

`cold:` rows are taken after posix_fadvise(DONTNEED) on the file and on all that a loader keeps beside it: their pages leave
the page cache, while the disk's own cache, if it has one, stays as it is. `remote:` rows are read from moto's S3 server on
loopback, which answers from memory and uses the same cores; its processor time is not counted. Headrace keeps 64 MiB of
blocks; the index is made from the same bytes beforehand.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench" / "loaders" / "peers")]

from side_by_side import PEERS, WORK, Place, place_of  # noqa: E402
from watching import FOLDER, Seen, watch  # noqa: E402

from bench.loaders.results import keep, row  # noqa: E402

BATCHES = 600
REMOTE_PEERS = ("headrace", "huggingface")
COLD_PEERS = ("headrace", "huggingface", "mosaic", "llamafactory")


def main() -> None:
    asked = _arguments()
    place = place_of(asked, asked.megabytes)
    try:
        if "cold" in asked.parts:
            _cold(place, asked.runs)
        if "remote" in asked.parts:
            _remote(place, asked.runs)
    finally:
        if not asked.keep:
            place.file.unlink(missing_ok=True)
            shutil.rmtree(WORK / "peers", ignore_errors=True)


def _cold(place: Place, runs: int) -> None:
    _prepare(place, COLD_PEERS)
    seen: dict[str, list[Seen]] = {name: [] for name in COLD_PEERS}
    for _ in range(runs):
        for name in COLD_PEERS:
            for path in [place.file, *place.work(PEERS[name]).rglob("*")]:
                drop_pages(path)
            seen[name].append(place.run(PEERS[name], "read", "--batches", str(BATCHES)))
            keep(_rows(seen[name], f"cold: {place.case}"))


def _remote(place: Place, runs: int) -> None:
    from tests.remote import BUCKET, KEY, SECRET, a_bucket

    _prepare(place, REMOTE_PEERS)
    with a_bucket() as bucket:
        bucket.upload("rows.jsonl", place.file)
        environment = {"S3_ENDPOINT": bucket.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
                       "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}
        seen: dict[str, list[Seen]] = {name: [] for name in REMOTE_PEERS}
        for _ in range(runs):
            for name in REMOTE_PEERS:
                peer, work = PEERS[name], place.work(PEERS[name])
                shutil.rmtree(work / "cache", ignore_errors=True)
                seen[name].append(watch([str(place.python(peer)), str(FOLDER / peer.program), "read",
                                         f"s3://{BUCKET}/team/rows.jsonl", "--tokenizer", str(place.tokenizer),
                                         "--work", str(work), "--batches", str(BATCHES)], environment=environment))
                keep(_rows(seen[name], f"remote: {place.case}, moto's S3 server on loopback"))


def drop_pages(path: Path) -> None:
    """Ask the kernel to let go of a file's pages; those not yet on the disk are written first."""
    if not path.is_file():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _prepare(place: Place, names: tuple[str, ...]) -> None:
    for name in names:
        if PEERS[name].has_preparation:
            shutil.rmtree(place.work(PEERS[name]), ignore_errors=True)
            place.run(PEERS[name], "prepare")["prepared"]


def _rows(seen: list[Seen], case: str) -> Iterator[dict[str, Any]]:
    system = seen[0]["imported"]["system"]
    rates = [each["read"]["tokens"] / (each["read"]["cpu_seconds"] - each["first_batch"]["cpu_seconds"]) for each in seen]
    speeds = [each["read"]["tokens"] / (each["read"]["seconds"] - each["first_batch"]["seconds"]) for each in seen]
    starts = [each["first_batch"]["seconds"] for each in seen]
    memory = [each.peak["pss_bytes"] - each["imported"]["pss_bytes"] for each in seen]
    for metric, values, unit in (
        ("first_batch_seconds", starts, "s"), ("tokens_per_cpu_second", rates, "tokens/s"),
        ("tokens_per_second", speeds, "tokens/s"), ("private_memory_bytes", memory, "bytes"),
    ):
        yield row(system, metric, case, statistics.median(values), unit, runs=len(seen))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Read where the data is not at hand.")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--environments", type=Path, default=WORK / "environments")
    parser.add_argument("--tokenizer", type=Path, default=WORK / "smollm2")
    parser.add_argument("--parts", nargs="+", choices=["cold", "remote"], default=["cold", "remote"])
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

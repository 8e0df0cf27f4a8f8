"""Two files drawn from at 0.8 and 0.2: how far from exact is what was delivered, at the worst of the first 4,000 rows?

    python bench/loaders/mixing.py [--environments DIR] [--peers headrace huggingface mosaic]

The peers' programs (peers/hf_mixing.py, peers/mosaic_mixing.py) tell from which file each row came. Ours is asked once more
with weights that change at step 101, as a running job's are changed; none of the peers can do that.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench" / "loaders" / "peers")]

from side_by_side import WORK  # noqa: E402
from watching import FOLDER, watch  # noqa: E402

from bench.loaders.results import keep, row  # noqa: E402
from core.data.index import build_index  # noqa: E402
from core.data.pipeline.timetable import Timetable  # noqa: E402
from core.data.rows import open_index  # noqa: E402
from core.data.spec import MixtureEntry, SourceSpec, StreamSpec  # noqa: E402

ROWS, BATCH, FILE_ROWS = 4000, 16, 5000
WEIGHTS, CHANGED = (0.8, 0.2), (0.3, 0.7)
CHANGED_AT = 101
METRIC = "mixing_distance_rows"
PEERS = {"huggingface": "hf_mixing.py", "mosaic": "mosaic_mixing.py"}
_FOLDER = WORK / "mixing"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how exactly loaders mix two files.")
    parser.add_argument("--environments", type=Path, default=WORK / "environments")
    parser.add_argument("--peers", nargs="+", choices=["headrace", *PEERS], default=["headrace", *PEERS])
    asked = parser.parse_args()
    try:
        files = [_written(number) for number in range(len(WEIGHTS))]
        case = f"0.8 / 0.2, {ROWS:,} rows"
        for name in asked.peers:
            if name == "headrace":
                _keep_ours(files, case)
            else:
                system, sources = _of_peer(asked.environments / name, PEERS[name], files)
                keep([row(system, METRIC, case, farthest(sources, [WEIGHTS] * len(sources)), "rows", runs=1)])
    finally:
        shutil.rmtree(_FOLDER, ignore_errors=True)


def farthest(sources: Sequence[int], weights: Sequence[tuple[float, float]]) -> float:
    """The worst distance, after any row, between the rows drawn from the second file and its exact share."""
    drawn = exact = worst = 0.0
    for source, (_, share) in zip(sources, weights, strict=True):
        drawn, exact = drawn + source, exact + share
        worst = max(worst, abs(drawn - exact))
    return worst


def _keep_ours(files: Sequence[Path], case: str) -> None:
    log = (MixtureEntry(1, WEIGHTS), MixtureEntry(CHANGED_AT, CHANGED))
    steps = ROWS // BATCH
    changed = [WEIGHTS if step < CHANGED_AT else CHANGED for step in range(1, steps + 1) for _ in range(BATCH)]
    for told, weights, entries in (("", [WEIGHTS] * ROWS, log[:1]), (f", 0.3 / 0.7 from step {CHANGED_AT}", changed, log)):
        keep([row("headrace", METRIC, case + told, farthest(_ours(files, entries), weights), "rows", runs=1)])


def _ours(files: Sequence[Path], log: tuple[MixtureEntry, ...]) -> list[int]:
    sources = tuple(SourceSpec.of_file(file.stem, str(file), str(file.with_suffix(".index")), "chat") for file in files)
    spec = StreamSpec(sources, log, seed=1, epochs=1, batch_size=BATCH, max_length=2048, micro_batch_tokens=8192,
                      tokenizer_path="", tokenizer_digest="", exhaustion="repeat")
    timetable = Timetable(spec, [open_index(source) for source in sources])
    return [ref.source for step in range(1, ROWS // BATCH + 1) for ref in timetable.due(step).rows]


def _of_peer(environment: Path, program: str, files: Sequence[Path]) -> tuple[str, list[int]]:
    told = watch([str(environment / "bin" / "python"), str(FOLDER / program), str(ROWS), str(BATCH), *map(str, files)])["mixed"]
    return told["system"], told["sources"]


def _written(number: int) -> Path:
    """A small file of chat rows that say which file they are of, and its index."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    file = _FOLDER / f"source-{number}.jsonl"
    rows = ({"source": number, "messages": [{"role": "user", "content": f"{k}"}, {"role": "assistant", "content": "Yes."}]}
            for k in range(FILE_ROWS))
    file.write_bytes(b"".join(orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in rows))
    build_index(file, file.with_suffix(".index"))
    return file


if __name__ == "__main__":
    main()

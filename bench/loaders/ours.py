"""Our loader as a run uses it: `python ours.py SPEC [--steps N] [--position FILE]`, measured by `measure`.

SPEC is a StreamSpec as JSON. The program is as light as a consumer can be: it starts the read-ahead process, takes batches,
and counts.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.loaders.telling import tell
from core.data.ahead import read_ahead
from core.data.spec import Position, StreamSpec

AHEAD_BYTES = 4 << 20
"""So few that the batches made and the batches taken differ by less than a hundredth."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Take batches from our loader.")
    parser.add_argument("spec", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--position", type=Path, help="where to go on from, a Position as JSON")
    asked = parser.parse_args()
    spec = StreamSpec.from_json(orjson.loads(asked.spec.read_bytes()))
    position = Position.from_json(orjson.loads(asked.position.read_bytes())) if asked.position else None
    with read_ahead(spec, position, byte_budget=AHEAD_BYTES) as ahead:
        next(ahead)
        tell("first_batch")
        for _ in islice(ahead, 20):
            pass
        tell("counting")
        rows = tokens = 0
        for batch in islice(ahead, asked.steps):
            rows += len(batch.rows)
            tokens += batch.tokens
        tell("done", rows=rows, tokens=tokens)


if __name__ == "__main__":
    main()

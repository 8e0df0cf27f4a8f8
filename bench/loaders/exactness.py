"""Rows lost and doubled over an epoch, by ranks: each rank's stream is read whole, and where it says so by other ranks later.

    python exactness.py SPEC      a StreamSpec as JSON; tells {"case": [lost, doubled], …}
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.data.pipeline import open_stream
from core.data.spec import Position, StreamSpec

PLANS = {"1 rank": [1], "2 ranks": [2], "3 ranks": [3], "5 ranks": [5], "2, then 3, then 1 rank": [2, 3, 1]}


def main() -> None:
    spec = StreamSpec.from_json(orjson.loads(Path(sys.argv[1]).read_bytes()))
    print(orjson.dumps({case: counted(spec, ranks) for case, ranks in PLANS.items()}).decode())


def counted(spec: StreamSpec, plan: list[int]) -> tuple[int, int]:
    """Read one epoch, an equal part of its steps with each number of ranks; give the rows missing and those seen again."""
    seen: Counter[int] = Counter()
    with open_stream(spec) as whole:
        rows, steps = sum(whole.plan.rows), whole.plan.total_steps
    position = Position()
    for part, ranks in enumerate(plan, start=1):
        end = steps * part // len(plan)
        after = position
        for rank in range(ranks):
            with open_stream(replace(spec, rank=rank, ranks=ranks)) as stream:
                for batch in islice(stream.batches(position), end - position.step):
                    seen.update(ref.row for ref in batch.rows)
                    after = batch.position
        position = after
    return rows - len(seen), sum(count - 1 for count in seen.values())


if __name__ == "__main__":
    main()

"""Take batches for several ranks: `python taker.py SPEC --ranks N --processes P [--apart] [--steps N]`, measured by `measure`.

The ranks stand in one process, so that what is measured is the loading: from one read-ahead for all of them, or, `--apart`,
from one each, as it is without a supervisor.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.loaders.telling import tell
from core.data.ahead import ReadAhead, read_ahead, read_ahead_together
from core.data.spec import Batch, StreamSpec
from core.errors import RunInterrupted

AHEAD_BYTES = 4 << 20
"""So few that the batches made and the batches taken differ by less than a hundredth."""


class _Elsewhere:
    """The loader of a rank that did not start it."""

    pid = 0

    def lost(self) -> RunInterrupted:
        return RunInterrupted("the loader is gone")

    def close(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="Take batches for several ranks.")
    parser.add_argument("spec", type=Path)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--apart", action="store_true", help="a read-ahead for each rank")
    parser.add_argument("--steps", type=int, default=400)
    asked = parser.parse_args()
    spec = StreamSpec.from_json(orjson.loads(asked.spec.read_bytes()))
    with ExitStack() as opened:
        open_all = _apart if asked.apart else _together
        steps = _steps([opened.enter_context(ahead) for ahead in open_all(spec, asked.ranks, asked.processes)])
        next(steps)
        tell("first_batch")
        for _ in islice(steps, 40):
            pass
        tell("counting")
        counted = [(sum(len(batch.rows) for batch in batches), sum(batch.tokens for batch in batches))
                   for batches in islice(steps, asked.steps)]
        tell("done", rows=sum(rows for rows, _ in counted), tokens=sum(tokens for _, tokens in counted))


def _together(spec: StreamSpec, ranks: int, processes: int) -> list[ReadAhead]:
    first, channels = read_ahead_together(spec, None, ranks=ranks, processes=processes, byte_budget=AHEAD_BYTES)
    return [first, *(ReadAhead(channel, _Elsewhere()) for channel in channels)]


def _apart(spec: StreamSpec, ranks: int, processes: int) -> list[ReadAhead]:
    return [read_ahead(replace(spec, rank=rank, ranks=ranks), None, processes=processes, byte_budget=AHEAD_BYTES // ranks)
            for rank in range(ranks)]


def _steps(aheads: Sequence[ReadAhead]) -> Iterator[list[Batch]]:
    while True:
        yield [next(ahead) for ahead in aheads]


if __name__ == "__main__":
    main()

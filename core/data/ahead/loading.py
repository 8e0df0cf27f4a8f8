"""The work of a process that loads: the steps of a stream → blocks, handed over to the ranks of a run.

Who makes the steps is chosen here. One process makes them itself. Of several, this one makes none: it puts together what the
others make (`makers`), and imports nothing that reads. "As many as are needed" begins with one, and the steps go over to
several when the times of loads and steps say that the run is kept waiting (`Depth.processes`), at a step far enough ahead that
they have started by then.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice

import orjson

from core.data.ahead.asked import MOST_PROCESSES, Asked
from core.data.ahead.depth import LEAST, MOST, Depth
from core.data.ahead.made import Made
from core.data.ahead.makers import Makers, Start
from core.data.ahead.outlets import Outlets
from core.data.ahead.process import LoaderProcess
from core.data.ahead.telling import told_as
from core.data.ahead.wire import Kind, pack_holes, write_block
from core.data.bad_rows import BadRows
from core.data.spec import Turn
from core.errors import HeadraceError

MADE_AHEAD = 2
"""Steps that wait in a process that makes its part of them for another."""
START_SECONDS = 0.6
"""What a process needs to its first step, about."""


def load(asked: Asked, channels: Sequence[socket.socket], *, start: Start = LoaderProcess, depth: Depth | None = None,
         most: int = 0) -> None:
    """Hand the steps over, to each rank its part; raises ConnectionError when no rank is left.

    `start` starts the processes that make steps in turn; `most` is what "as many as are needed" may come to, 0 for what the
    free cores allow."""
    depth = depth or Depth(most=max(LEAST, MOST // asked.ranks))
    outlets = Outlets(channels, most_bytes=asked.byte_budget, depth=depth)
    limit = BadRows(asked.stream.max_bad_rows, asked.stream.sources, asked.skipped)
    with _told_to(outlets):
        for made in _timed(_steps(asked, depth, start, most or processes_for(asked.ranks)), depth):
            limit.check(made.faults)
            outlets.hand_over(made.blocks)


def hand_on(asked: Asked, channel: socket.socket) -> None:
    """Make the steps of a turn, and hand the blocks of all ranks to the process that asked for them."""
    from core.data.ahead.making import make, open_settled

    assert asked.turn is not None
    outlets = Outlets([channel], most_bytes=asked.byte_budget, depth=Depth(at_first=MADE_AHEAD), blocks_per_step=asked.ranks)
    is_counted = asked.stream.max_bad_rows is not None
    with _told_to(outlets), open_settled(asked.stream, asked.places) as stream:
        for made in make(stream, asked.position, asked.shares, asked.turn):
            faults = [write_block(Kind.FAULTS, orjson.dumps(pack_holes(made.faults)))] if made.faults and is_counted else []
            outlets.hand_on([*faults, *made.blocks])


@contextmanager
def _told_to(outlets: Outlets) -> Iterator[None]:
    """Say how it ends, and stay until all have heard it."""
    try:
        yield
        outlets.tell_all(Kind.END)
    except HeadraceError as error:
        outlets.tell_all(Kind.ERROR, told_as(error))
    outlets.stay()


def _steps(asked: Asked, depth: Depth, start: Start, most: int) -> Iterator[Made]:
    if asked.processes > 1:
        return _together(asked, start)
    if asked.processes == 1 or most == 1:
        return _alone(asked)
    return _growing(asked, depth, start, most)


def _alone(asked: Asked) -> Iterator[Made]:
    from core.data.ahead.making import make, open_settled

    with open_settled(asked.stream, asked.places) as stream:
        yield from make(stream, asked.position, asked.shares, Turn())


def _together(asked: Asked, start: Start) -> Iterator[Made]:
    with Makers(asked, asked.position, asked.processes, start=start) as makers:
        yield from makers


def _growing(asked: Asked, depth: Depth, start: Start, most: int) -> Iterator[Made]:
    """Make the steps here until several processes are needed; from a border on that lies ahead, they make them."""
    from core.data.ahead.making import make, open_settled

    with ExitStack() as opened:
        with open_settled(asked.stream, asked.places) as stream:
            steps = make(stream, asked.position, asked.shares, Turn())
            for made in steps:
                yield made
                border = made.step + math.ceil(START_SECONDS / depth.load_seconds)
                if depth.processes > 1 and border < stream.plan.total_steps:
                    break
            else:
                return
            after, processes = stream.position_after(border), min(depth.processes, most)
            makers = opened.enter_context(Makers(asked, after, processes, is_start=False, start=start))
            yield from islice(steps, border - made.step)
        yield from makers


def processes_for(ranks: int) -> int:
    """The most that "as many as are needed" may come to: a core for each rank is left alone."""
    return min(MOST_PROCESSES, max(1, len(os.sched_getaffinity(0)) - ranks))


def _timed(steps: Iterator[Made], depth: Depth) -> Iterator[Made]:
    started = time.perf_counter()
    for made in steps:
        depth.loaded(time.perf_counter() - started)
        yield made
        started = time.perf_counter()

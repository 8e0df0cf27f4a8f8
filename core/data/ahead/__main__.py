"""A process that loads: `python -m core.data.ahead PARENT CHANNEL…`, what it is asked for as JSON on standard input (`asked`).

It hands over a step once fewer steps wait to be taken than the depth says (`depth`), and fewer bytes than the budget. It ends
when the stream does and all have gone, when all its channels are closed, and when its parent dies.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys

from core.data.ahead.asked import Asked
from core.data.ahead.loading import hand_on, load
from core.data.ahead.makers import MakerLost
from core.parent import die_with_parent


def main(parent: int, numbers: list[int]) -> int:
    _end_with(parent)
    _allow_blocks_in_flight()
    asked = Asked.from_line(sys.stdin.buffer.read())
    channels = [socket.socket(fileno=number) for number in numbers]
    try:
        load(asked, channels) if asked.turn is None else hand_on(asked, channels[0])
    except ConnectionError:
        return 0  # the run has ended, or wants no more
    except MakerLost as lost:
        print(lost, file=sys.stderr, flush=True)
        return 1
    return 0


def _end_with(parent: int) -> None:
    """Die when the parent does, and leave an interrupt from the keyboard to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not die_with_parent(parent):
        os._exit(1)


def _allow_blocks_in_flight() -> None:
    """Each block that waits is a descriptor on its way; the kernel allows as many as there may be open files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), list(map(int, sys.argv[2:]))))

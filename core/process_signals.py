"""Signals of the process, heard by a thread.

A handler runs in the main thread between any two of its steps, also while that thread holds a lock. One that takes the same
lock, as `threading.Event.set` does while the main thread is in `wait` or `clear`, waits for ever. So the handlers here do
nothing: the interpreter writes the number of each signal into a pipe (`signal.set_wakeup_fd`), and a thread reads it and makes
the calls.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping


def hear(calls: Mapping[int, Callable[[], object]]) -> None:
    """Have a call made for each signal, from a thread; for the main thread of a process, once and until its end."""
    hearing, telling = os.pipe()
    os.set_blocking(telling, False)
    signal.set_wakeup_fd(telling, warn_on_full_buffer=False)  # a full pipe wakes the thread as well
    threading.Thread(target=_listen, args=(hearing, calls), name="signals", daemon=True).start()
    for number in calls:
        signal.signal(number, lambda *_: None)


def _listen(hearing: int, calls: Mapping[int, Callable[[], object]]) -> None:
    while True:
        for number in os.read(hearing, 4096):
            if call := calls.get(number):
                call()


__all__ = ["hear"]

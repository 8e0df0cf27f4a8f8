"""Signals are heard, however many come, and whatever the main thread holds meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

HELD = """
import signal, threading, time
from core.process_signals import hear

event = threading.Event()
hear({signal.SIGUSR1: event.set})
with event._cond:  # as the main thread does within wait and clear
    print("held", flush=True)
    time.sleep(0.3)
event.wait()
print("heard", flush=True)
"""

HOUSE = """
import io
from cli.children import Speaker
from cli.house import House

house = House([], Speaker(io.BytesIO()))
house.listen()
print("kept", flush=True)
house.keep()
print("stopped", flush=True)
"""


def started(program: str) -> subprocess.Popen[str]:
    """A process that has said its first line."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_signal_that_comes_while_the_main_thread_holds_the_event_is_heard() -> None:
    process = started(HELD)
    process.send_signal(signal.SIGUSR1)
    assert process.communicate(timeout=10)[0] == "heard\n"


def test_a_house_that_thousands_of_deaths_are_told_to_still_stops() -> None:
    process = started(HOUSE)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        os.kill(process.pid, signal.SIGCHLD)
    process.terminate()
    assert process.communicate(timeout=10)[0] == "stopped\n"
    assert process.returncode == 0

"""A training child's ties to its supervisor: it reports on a descriptor, hears commands on standard input, and dies with it.

A thread reads the commands, so a stop is heard in every phase, and a silence too. Under a supervisor (`HEADRACE_REPORT_FD` is
set) the child ends at once when its standard input closes, when it hears nothing for 15 seconds (a frozen supervisor may have
lost its lease), or when the thread that started it dies (`core/parent.py`: the tie is to that thread, so a supervisor starts
children from one that lives as long as they do). Run by hand, reports go to standard output and nothing is awaited.

Before anything is trained there is nothing to save, so a stop ends the process from that thread: a load of minutes cannot
delay it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from core.data.spec import Places
from core.errors import RunRejected
from core.parent import die_with_parent
from worker.reports import Given, Line, Ping, Steer, SteerCommitted, Stop, Stopped, read_command

SILENCE_SECONDS = 15.0
GIVEN_SECONDS = 10.0
"""How long the places are waited for, which a supervisor sends before anything else."""
REPORT_FD, PARENT_PID = "HEADRACE_REPORT_FD", "HEADRACE_PARENT_PID"
CHILD = (sys.executable, "-m", "worker.run")
"""Starts a child when the path of its spec is put behind it."""


class Child:
    """Reports out, commands in. Safe to use from any thread."""

    def __init__(self, *, report_fd: int, command_fd: int, is_supervised: bool,
                 silence_seconds: float = SILENCE_SECONDS) -> None:
        self._report_fd, self._command_fd = report_fd, command_fd
        self.is_supervised, self._silence_seconds = is_supervised, silence_seconds
        self._stopping = threading.Event()
        self._writing = threading.Lock()
        self._unstarted_step: int | None = 0
        self._starting = threading.Lock()
        self._on_stop: list[Callable[[], None]] = []
        self._places: Places | None = None
        self._is_told = threading.Event()
        self.steering: queue.SimpleQueue[Steer | SteerCommitted] = queue.SimpleQueue()
        """What the supervisor said of changes of the mixture, in order, for the feed to take."""

    def report(self, line: Line) -> None:
        """Write one report; a supervisor that is gone ends this process."""
        rest = memoryview(line.to_line())
        with self._writing:
            while rest:
                try:
                    rest = rest[os.write(self._report_fd, rest):]
                except BrokenPipeError:
                    leave("nobody reads the reports")

    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def on_stop(self, call: Callable[[], None]) -> None:
        """Call this from the listening thread when a stop arrives: to end what the main thread may be waiting for."""
        self._on_stop.append(call)

    def given_places(self, names: set[str], *, seconds: float = GIVEN_SECONDS) -> Places:
        """Give what opens the places of these names; raise RunRejected when the supervisor, or a hand, does not tell it."""
        if not names:
            return Places()
        self._is_told.wait(seconds)
        if self._places is None:
            raise RunRejected(f"the run reads from places ({', '.join(sorted(names))}) and was not told what opens them; write "
                              '{"kind": "places", "places": {…}} as the first line of standard input', code="places_missing")
        return self._places.only(names)

    def stands_at(self, step: int) -> None:
        """Say where the run stands as long as it has not begun: what a stop is answered with."""
        self._unstarted_step = step

    def begins(self) -> None:
        """From here on there may be something to save: a stop is left to the training loop."""
        with self._starting:
            self._unstarted_step = None

    def listen(self) -> None:
        """Start the thread that hears commands."""
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def _listen(self) -> None:
        rest, heard_at = b"", time.monotonic()
        while True:
            left = heard_at + self._silence_seconds - time.monotonic() if self.is_supervised else None
            ready, _, _ = select.select([self._command_fd], [], [], None if left is None else max(0.0, left))
            if not ready:
                leave(f"heard nothing for {self._silence_seconds:.0f} seconds")
            arrived = os.read(self._command_fd, 65536)
            if not arrived:
                if self.is_supervised:
                    leave("the supervisor is gone")
                self._is_told.set()
                return
            heard_at = time.monotonic()
            *lines, rest = (rest + arrived).split(b"\n")
            for line in filter(None, lines):
                self._obey(read_command(line))

    def _obey(self, command: Line) -> None:
        if isinstance(command, Ping):
            return
        if isinstance(command, Given):
            given = Places.from_json(dataclasses.asdict(command))
            self._places = given if self._places is None else self._places.and_more(given)
            self._is_told.set()
            return
        if isinstance(command, Steer | SteerCommitted):
            self.steering.put(command)
            return
        if not isinstance(command, Stop):
            raise TypeError(f"unknown command {command}")
        self._stopping.set()
        with self._starting:
            if self._unstarted_step is not None:
                self.report(Stopped(self._unstarted_step))
                os._exit(0)
        for call in self._on_stop:
            call()


def open_child(*, silence_seconds: float = SILENCE_SECONDS) -> Child:
    """Tie this process to its supervisor, if it has one, and start to listen."""
    told = os.environ.get(REPORT_FD)
    if told is None:
        child = Child(report_fd=sys.stdout.fileno(), command_fd=sys.stdin.fileno(), is_supervised=False)
    else:
        if not die_with_parent(int(os.environ[PARENT_PID])):
            leave("the supervisor is gone")
        os.set_inheritable(int(told), False)
        child = Child(report_fd=int(told), command_fd=sys.stdin.fileno(), is_supervised=True,
                      silence_seconds=silence_seconds)
    child.listen()
    return child


def leave(why: str) -> NoReturn:
    """End at once, from any thread: the lease is someone else's, or soon will be.

    A standard error that is full, or that nobody reads, must not keep the process here: the word is dropped then."""
    with contextlib.suppress(OSError):
        os.set_blocking(2, False)
        os.write(2, f"child.left why={why!r}\n".encode())
        os.set_blocking(2, True)  # by hand it is a terminal, which outlives this process
    os._exit(1)

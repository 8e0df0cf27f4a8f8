"""The parent of a server's processes: starts them, starts again what dies, stops all in order.

A part that dies is started again in 0.2 seconds, but its starts are kept apart by a time that doubles from 0.2 to 10 seconds,
and that begins anew once the part has lived for ten. A stop goes through the parts in the order of `stops_as`: those that take
work in before those that do it, the bell last; each gets its grace, then KILL. Parts of one order are told together, and their
graces run together. A second request to stop shortens every grace to a second.

A part that was stopped by a signal (SIGSTOP) and not let go on for `stopped_seconds` is killed, and so started again: it may
hold a lock that all others wait for, and does nothing itself. One that a debugger holds is left alone.

Nothing keeps the main thread waiting that is not the stop of a part: what a death entails is done in a thread beside it.
"""

from __future__ import annotations

import math
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cli.children import Speaker, signal_group, state_of
from core.process_signals import hear

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
STEADY_SECONDS = 10.0
HASTE_SECONDS = 1.0
LOOK_SECONDS = 2.0
"""How often children are looked at even if no signal came."""


@dataclass(frozen=True)
class Part:
    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    stops_as: int
    """Parts with the same number are stopped together, smaller numbers first."""
    grace_seconds: float
    when_dead: Callable[[int], None] = lambda pid: None
    """Hears the process id of a dead one, in a thread of its own: it may wait for what is out of reach."""


class Member:
    """A part with its present process, or with the moment of its next start."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.next_start = 0.0
        self.wait_seconds = FIRST_WAIT_SECONDS
        self.has_started = False
        self.stopped_since: float | None = None

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def seconds_stopped(self, now: float) -> float:
        """How long the process is known to be held by a SIGSTOP."""
        if self.process is None or state_of(self.process.pid) != "T":
            self.stopped_since = None
        elif self.stopped_since is None:
            self.stopped_since = now
        return 0.0 if self.stopped_since is None else now - self.stopped_since

    def expect(self, now: float) -> None:
        """Set the next start after a death."""
        if now - self.started_at >= STEADY_SECONDS:
            self.wait_seconds = FIRST_WAIT_SECONDS
        self.next_start = max(now + FIRST_WAIT_SECONDS, self.started_at + self.wait_seconds)
        self.wait_seconds = min(self.wait_seconds * 2, LONGEST_WAIT_SECONDS)


class House:
    """All parts of one server. Use it from the main thread: its children die with the thread that made them."""

    def __init__(self, parts: Sequence[Part], speaker: Speaker, *, stopped_seconds: float = math.inf) -> None:
        self._members = [Member(part) for part in parts]
        self._speaker = speaker
        self._stopped_seconds = stopped_seconds
        self._woken = threading.Event()
        self._stops_asked = 0

    @property
    def is_stopping(self) -> bool:
        return self._stops_asked > 0

    def process(self, name: str) -> subprocess.Popen[bytes] | None:
        """Give the present process of a part; None while it waits to be started again."""
        return next(member.process for member in self._members if member.part.name == name)

    def ask_to_stop(self) -> None:
        """Ask for a stop, as a signal does; asked again, it is a quicker one."""
        self._stops_asked += 1
        self._woken.set()

    def listen(self) -> None:
        """Take the process's signals: INT, TERM and HUP ask for a stop, CHLD says that somebody died.

        A HUP that `nohup` had ignored stays so: the server outlives the terminal."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        hear({**dict.fromkeys(numbers, self.ask_to_stop), signal.SIGCHLD: self._woken.set})

    def start(self) -> None:
        for member in self._members:
            if self.is_stopping:
                return
            self._start(member)

    def keep(self, *, until: Callable[[], bool] = lambda: False, seconds: float | None = None) -> bool:
        """Keep all parts running until a stop is asked for, `until` holds or the time is over; tell whether `until` held."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.is_stopping:
            if until():
                return True
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return False
            self._mend(now)
            self._woken.wait(self._next_look(now, deadline))
            self._woken.clear()
        return False

    def stop(self) -> None:
        """Stop every part in order; safe to call twice."""
        for order in sorted({member.part.stops_as for member in self._members}):
            alive = [m for m in self._members if m.part.stops_as == order and m.is_alive()]
            for member in alive:
                assert member.process is not None
                member.process.terminate()
            asked_at = time.monotonic()
            for member in alive:
                self._wait_for_end(member, asked_at)

    def _mend(self, now: float) -> None:
        for member in self._members:
            if member.process is not None and member.process.poll() is not None:
                self._bury(member, now)
            if member.seconds_stopped(now) > self._stopped_seconds:
                self._speaker.say("serve", f"{member.part.name} was stopped by a signal for more than "
                                           f"{self._stopped_seconds:.0f} s and is killed")
                self._kill(member)
            if member.process is None and now >= member.next_start:
                self._start(member)

    def _bury(self, member: Member, now: float) -> None:
        assert member.process is not None
        code, pid = member.process.returncode, member.process.pid
        member.process = None
        member.expect(now)
        self._speaker.say("serve", f"{member.part.name} (process {pid}) ended with {_ending(code)}; started again in "
                                   f"{member.next_start - now:.1f} s")
        threading.Thread(target=member.part.when_dead, args=(pid,), name=f"after {pid}", daemon=True).start()

    def _start(self, member: Member) -> None:
        member.started_at = time.monotonic()
        try:
            member.process = member.part.start()
        except Exception as error:
            if not member.has_started:
                raise
            member.expect(member.started_at)
            self._speaker.say("serve", f"{member.part.name} did not start ({error}); tried again")
            return
        member.has_started = True
        if member.process.stdout is not None:
            self._speaker.follow(member.part.name, member.process.stdout)

    def _next_look(self, now: float, deadline: float | None) -> float:
        due = [m.next_start for m in self._members if m.process is None]
        if deadline is not None:
            due.append(min(deadline, now + 0.1))
        return max(0.0, min([*due, now + LOOK_SECONDS]) - now)

    def _wait_for_end(self, member: Member, asked_at: float) -> None:
        assert member.process is not None
        while member.process.poll() is None:
            grace = HASTE_SECONDS if self._stops_asked > 1 else member.part.grace_seconds
            if time.monotonic() - asked_at > grace:
                self._speaker.say("serve", f"{member.part.name} was given {grace:.0f} s to stop and is killed")
                self._kill(member)
                return
            time.sleep(0.02)

    def _kill(self, member: Member) -> None:
        """Kill a part; one that the kernel holds (a disk or a driver that hangs) ends when it is let go, and is not awaited."""
        assert member.process is not None
        signal_group(member.process, signal.SIGKILL)
        try:
            member.process.wait(HASTE_SECONDS)
        except subprocess.TimeoutExpired:
            self._speaker.say("serve", f"{member.part.name} (process {member.process.pid}) waits in the kernel and ends when "
                                       "that lets it go; see what its disk or its device waits for")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"

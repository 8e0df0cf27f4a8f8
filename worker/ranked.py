"""The links to all ranks of a run, as one: what a supervisor does to a child, it does to each of them.

Rank 0 speaks for the run: its reports are the run's. Of the others only what concerns the rank itself is passed on: that it
lives, memory that ran out, and how it failed. One rank that leaves badly ends all, at
once: the others would wait for it at their next meeting. That they then miss it is a consequence, so what they say of it
(`rank_lost`) is dropped, and the run ends by the first cause: the failure told first, else the exit of the rank that fell.

Each rank has pipes, a process group and a log of its own: `run.log` is rank 0's, `run-rank-N.log` those of the others; the last
lines of one that fell are added to rank 0's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from worker.link import ChildLink
from worker.ranks import RANK_LOST, members, open_hands, open_meeting
from worker.reports import Alive, Failed, Given, Line, MemoryRecovered, Steer

OWN_WORDS = (Alive, MemoryRecovered, Failed)
"""What a rank other than 0 says for itself."""


class RankedLinks:
    """The ranks of one run; used as a ChildLink is."""

    def __init__(self, links: Sequence[ChildLink]) -> None:
        self._links = list(links)
        self._unreaped = list(links)
        self._left: list[Line] = []
        self._fallen: ChildLink | None = None
        self._has_failed = False

    @classmethod
    def start(cls, command: Sequence[str], *, ranks: int, log_path: Path, environment: Mapping[str, str],
              first: Line | None = None) -> RankedLinks:
        """Start `command` once for each rank, and send `first` to rank 0; all are ended when one cannot be started."""
        links: list[ChildLink] = []
        try:
            with ExitStack() as passed:
                meeting = passed.enter_context(open_meeting()) if ranks > 1 else None
                hands = open_hands(ranks)
                for end in chain.from_iterable(hands):
                    passed.enter_context(end)
                for member in members(ranks, meeting, hands):
                    links.append(ChildLink.start(
                        command, log_path=_log_of(member.rank, log_path), first=None if member.rank else first,
                        environment={**environment, **member.environment()}, passed=member.passed_fds))
        except BaseException:
            for link in links:
                link.reap()
                link.close()
            raise
        return cls(links)

    @property
    def pids(self) -> list[int]:
        return [link.pid for link in self._links]

    @property
    def last_lines(self) -> str:
        return (self._fallen or self._links[0]).last_lines

    @property
    def exit_code(self) -> int | None:
        """None while a rank lives; then that of the rank that fell, 0 when all left well."""
        codes = [link.exit_code for link in self._links]
        if any(code is None for code in codes):
            return None
        return next((code for code in [self._fallen and self._fallen.exit_code, *codes] if code), 0)

    def turn(self, seconds: float, *, is_reading: bool = True) -> list[Line]:
        """As ChildLink's, over all ranks; ends them when one of them has left badly."""
        each = seconds / len(self._links)
        found = [line for link in self._links for line in self._heard(link, link.turn(each, is_reading=is_reading))]
        self._end_with_the_fallen()
        return found

    def send(self, command: Line) -> bool:
        """Send a command to all; False when it was taken by none, since one of them reads nothing.

        Of a pending change of the mixture only rank 0 hears, which proposes for all, and of what opens places too, whose
        process reads for all.
        """
        links = self._links[:1] if isinstance(command, (Steer, Given)) else self._links
        if not all(link.has_room for link in links):
            return False
        for link in links:
            link.send(command)
        return True

    def terminate(self) -> None:
        for link in self._links:
            link.terminate()

    def kill(self) -> None:
        for link in self._links:
            link.kill()

    def reap(self, seconds: float = 10.0) -> list[Line]:
        """Kill what is left of all ranks, wait until all of it is dead, and give the reports that were still in the pipes."""
        self._end_with_the_fallen()
        self.kill()
        deadline = time.monotonic() + seconds
        while self._unreaped:
            self._left += self._heard(self._unreaped[0], self._unreaped[0].reap(max(0.0, deadline - time.monotonic())))
            self._unreaped.pop(0)
        self._tell_the_fallen()
        left, self._left = self._left, []
        return left

    def close(self) -> None:
        for link in self._links:
            link.close()

    def _heard(self, link: ChildLink, lines: Sequence[Line]) -> list[Line]:
        kept = lines if link is self._links[0] else [line for line in lines if isinstance(line, OWN_WORDS)]
        return [line for line in kept if not (isinstance(line, Failed) and self._is_consequence(line))]

    def _is_consequence(self, failed: Failed) -> bool:
        is_one = failed.code == RANK_LOST or self._has_failed
        self._has_failed = self._has_failed or not is_one
        return is_one

    def _end_with_the_fallen(self) -> None:
        """Note the first rank that left badly, one ended by a signal before one that merely missed it, and end the others."""
        if self._fallen is not None:
            return
        bad = [link for link in self._links if link.exit_code]
        if not bad:
            return
        self._fallen = min(bad, key=lambda link: link.exit_code or 0)
        self.kill()

    def _tell_the_fallen(self) -> None:
        """Say in rank 0's log, which people read, what the log of another says."""
        number = self._links.index(self._fallen) if self._fallen else 0
        if self._fallen and number:
            self._links[0].note(f"rank {number} of {len(self._links)} left with {self._fallen.exit_code}, so all were ended; "
                                f"its log ends with:\n{self._fallen.last_lines}")


def _log_of(rank: int, log_path: Path) -> Path:
    return log_path if rank == 0 else log_path.with_name(f"{log_path.stem}-rank-{rank}{log_path.suffix}")

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from cli.serve import TRAIN_GRACE_SECONDS
from worker.leaving import BY_CURFEW, SETTLED_BY_SECONDS, UPLOADED_BY_SECONDS, Curfew, Leaving
from worker.outcome import Ending
from worker.reports import Line, Stop


@dataclass
class Deaf:
    """A child that obeys nothing, and takes a command once it has room."""

    has_room: bool = True
    heard: list[object] = field(default_factory=list)

    def send(self, command: Line) -> bool:
        self.heard += [command] if self.has_room else []
        return self.has_room

    def terminate(self) -> None:
        self.heard.append("TERM")

    def kill(self) -> None:
        self.heard.append("KILL")


class Scene:
    """A child that is to leave, a worker that may be told to end, and a clock that is turned."""

    def __init__(self) -> None:
        self.now, self.stop, self.child = 100.0, threading.Event(), Deaf()
        self.leaving = Leaving(Curfew(self.stop, lambda: self.now), lambda: self.now)

    def wait(self, seconds: float) -> list[object]:
        """Press after so long, and give what the child heard."""
        self.leaving.press(self.child)
        self.now += seconds
        self.leaving.press(self.child)
        heard, self.child.heard = self.child.heard, []
        return heard


def test_a_child_is_asked_once_then_termed_then_killed() -> None:
    scene = Scene()
    assert scene.wait(1) == []
    scene.leaving.ask("cancel")
    assert [scene.wait(0.4), scene.wait(0.2), scene.wait(2)] == [[Stop()], ["TERM"], ["KILL"]]


@pytest.mark.parametrize("ending", ["pause", "preempt", "overtime"])
def test_a_shutdown_shortens_the_patience_of_a_gentler_ending_and_leaves_its_name(ending: Ending) -> None:
    scene = Scene()
    scene.leaving.ask(ending)
    assert scene.wait(5) == [Stop()]
    scene.stop.set()
    assert scene.leaving.ask("shutdown") is False
    assert [scene.wait(BY_CURFEW.term_seconds), scene.wait(1)] == [["TERM"], ["KILL"]]
    assert scene.leaving.ending == ending


def test_a_cancel_takes_over_from_a_pause_and_is_as_short_as_ever() -> None:
    scene = Scene()
    scene.leaving.ask("pause")
    scene.wait(30)
    assert scene.leaving.ask("cancel") is True
    assert [scene.wait(0.6), scene.wait(1.5)] == [["TERM"], ["KILL"]]


def test_a_stop_that_finds_no_room_is_said_again_until_it_is_taken() -> None:
    scene = Scene()
    scene.child.has_room = False
    scene.leaving.ask("pause")
    assert scene.wait(1) == []
    scene.child.has_room = True
    assert scene.wait(1) == [Stop()]


def test_all_that_a_shutdown_takes_lies_within_the_grace_that_serve_gives() -> None:
    assert BY_CURFEW.kill_seconds < UPLOADED_BY_SECONDS < SETTLED_BY_SECONDS <= TRAIN_GRACE_SECONDS - 2

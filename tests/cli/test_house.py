"""The parent of a server's processes, on processes that only sleep."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cli.children import Speaker, start_child, state_of
from cli.house import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, STEADY_SECONDS, House, Member, Part
from tests.waiting import PATIENCE_SECONDS, wait_for


class Lines(io.BytesIO):
    """Collects what is said; no terminal."""


def sleeper(name: str, *, deaf: bool = False, dead: list[int] | None = None, grace: float = 0.6) -> Part:
    trap = "trap '' TERM; " if deaf else ""
    command = ["/bin/sh", "-c", f"{trap}echo {name} lives; while :; do sleep 0.05; done"]
    return Part(name, lambda: start_child(command, environment=os.environ), 1, grace,
                (lambda pid: dead.append(pid)) if dead is not None else lambda pid: None)


def teller(name: str, ends: Path, *, stops_as: int) -> Part:
    """A part that writes its name down when it is told to stop."""
    command = ["/bin/sh", "-c", f"trap 'echo {name} >> {ends}; exit 0' TERM; echo {name} lives; while :; do sleep 0.02; done"]
    return Part(name, lambda: start_child(command, environment=os.environ), stops_as, 5)


def test_a_part_that_dies_is_started_again_and_its_death_is_told() -> None:
    dead: list[int] = []
    lines = Lines()
    house = House([sleeper("a", dead=dead)], Speaker(lines))
    house.start()
    first = house.process("a")
    assert first is not None
    try:
        os.killpg(first.pid, signal.SIGKILL)
        came_back = house.keep(until=lambda: house.process("a") not in (None, first), seconds=PATIENCE_SECONDS)
    finally:
        house.stop()

    assert came_back
    assert dead == [first.pid]
    assert b"ended with signal SIGKILL; started again in 0.2 s" in lines.getvalue()


def test_waits_grow_to_a_bound_and_begin_anew_after_a_steady_life() -> None:
    member = Member(sleeper("a"))
    waits = []
    for _ in range(8):
        member.started_at = 100.0
        member.expect(100.0)
        waits.append(member.next_start - 100.0)
    member.expect(100.0 + STEADY_SECONDS)

    assert waits[:3] == pytest.approx([FIRST_WAIT_SECONDS, 2 * FIRST_WAIT_SECONDS, 4 * FIRST_WAIT_SECONDS])
    assert waits[-1] == pytest.approx(LONGEST_WAIT_SECONDS)
    assert member.next_start == pytest.approx(100.0 + STEADY_SECONDS + FIRST_WAIT_SECONDS)


def test_parts_are_stopped_in_order(tmp_path: Path) -> None:
    lines, ends = Lines(), tmp_path / "ends"
    house = House([teller("last", ends, stops_as=2), teller("first", ends, stops_as=1)], Speaker(lines))
    house.start()
    house.keep(until=lambda: lines.getvalue().count(b"lives") == 2, seconds=PATIENCE_SECONDS)
    house.stop()

    assert ends.read_text().split() == ["first", "last"]


def test_a_part_that_does_not_stop_is_killed_after_its_grace() -> None:
    lines = Lines()
    speaker = Speaker(lines)
    house = House([sleeper("deaf", deaf=True)], speaker)
    house.start()
    house.keep(until=lambda: b"deaf lives" in lines.getvalue(), seconds=PATIENCE_SECONDS)
    process = house.process("deaf")
    assert process is not None
    pid = process.pid
    began = time.monotonic()
    house.stop()

    assert time.monotonic() - began > 0.5
    assert not _lives(pid)
    speaker.close()
    assert b"is killed" in lines.getvalue()


def test_a_part_that_a_signal_stopped_for_too_long_is_killed_and_started_again() -> None:
    lines = Lines()
    speaker = Speaker(lines)
    house = House([sleeper("held")], speaker, stopped_seconds=0.5)
    house.start()
    held = house.process("held")
    assert held is not None
    try:
        held.send_signal(signal.SIGSTOP)
        assert house.keep(until=lambda: house.process("held") not in (None, held), seconds=PATIENCE_SECONDS)
        assert not _lives(held.pid)
    finally:
        house.stop()
    speaker.close()
    assert b"held was stopped by a signal" in lines.getvalue()


def test_a_part_that_goes_on_in_time_is_left_alone() -> None:
    house = House([sleeper("held")], Speaker(Lines()), stopped_seconds=1.0)
    house.start()
    held = house.process("held")
    assert held is not None
    try:
        for _ in range(4):
            held.send_signal(signal.SIGSTOP)
            house.keep(until=lambda: state_of(held.pid) == "T", seconds=PATIENCE_SECONDS)
            held.send_signal(signal.SIGCONT)
            house.keep(seconds=0.4)
        assert house.process("held") is held
    finally:
        house.stop()


def test_a_second_request_to_stop_shortens_the_grace() -> None:
    lines = Lines()
    house = House([dataclasses.replace(sleeper("deaf", deaf=True), grace_seconds=60)], Speaker(lines))
    house.start()
    house.keep(until=lambda: b"deaf lives" in lines.getvalue(), seconds=PATIENCE_SECONDS)
    house.ask_to_stop()
    house.ask_to_stop()
    began = time.monotonic()
    house.stop()

    assert time.monotonic() - began < 60
    assert not house.keep(until=lambda: True)


def test_parts_that_do_not_stop_use_their_grace_up_together() -> None:
    lines = Lines()
    speaker = Speaker(lines)
    house = House([sleeper(f"deaf {number}", deaf=True, grace=2.0) for number in range(10)], speaker)
    house.start()
    house.keep(until=lambda: lines.getvalue().count(b" lives") == 10, seconds=PATIENCE_SECONDS)
    began = time.monotonic()
    house.stop()

    assert time.monotonic() - began < 10 * 2.0
    speaker.close()
    assert lines.getvalue().count(b"is killed") == 10


def test_what_a_death_entails_keeps_no_part_waiting() -> None:
    is_over = threading.Event()
    part = dataclasses.replace(sleeper("a"), when_dead=lambda pid: is_over.wait(20))
    house = House([part], Speaker(Lines()))
    house.start()
    first = house.process("a")
    assert first is not None
    try:
        os.killpg(first.pid, signal.SIGKILL)
        assert house.keep(until=lambda: house.process("a") not in (None, first), seconds=PATIENCE_SECONDS)
    finally:
        is_over.set()
        house.stop()


def test_a_reader_who_does_not_read_keeps_neither_the_parts_nor_the_stop_waiting(tmp_path: Path) -> None:
    spoken = tmp_path / "spoken"
    command = ["/bin/sh", "-c", f"yes | head -c 1000000; touch {spoken}; while :; do sleep 0.05; done"]
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as out:
        speaker = Speaker(out)
        house = House([Part("a", lambda: start_child(command, environment=os.environ), 1, 5)], speaker)
        house.start()
        try:
            assert house.keep(until=spoken.exists, seconds=PATIENCE_SECONDS)
        finally:
            house.stop()
        speaker.say("serve", "stopped")
        speaker.close()
        reader.close()


def test_a_hangup_that_was_ignored_at_the_start_is_ignored_on() -> None:
    program = ("import io, signal; from cli.children import Speaker; from cli.house import House; "
               "signal.signal(signal.SIGHUP, signal.SIG_IGN); House([], Speaker(io.BytesIO())).listen(); "
               "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "True\n"


def test_lines_of_children_come_whole_and_behind_their_names() -> None:
    lines = Lines()
    speaker = Speaker(lines)
    child = start_child(["/bin/sh", "-c", "printf 'one\\ntwo'"], environment=os.environ)
    assert child.stdout is not None
    speaker.follow("part", child.stdout)
    child.wait(PATIENCE_SECONDS)
    wait_for(lambda: lines.getvalue().count(b"\n") == 2)

    assert lines.getvalue().decode() == "part     │ one\npart     │ two\n"


def test_a_child_dies_with_its_parent_however_it_dies(tmp_path: Path) -> None:
    program = ("import os, sys, time; from cli.children import start_child; "
               "child = start_child(['sleep', '60'], environment=os.environ); print(child.pid, flush=True); time.sleep(60)")
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_for(lambda: not _lives(child))


def _lives(pid: int) -> bool:
    return state_of(pid) not in ("", "Z")

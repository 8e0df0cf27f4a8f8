from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from tests.waiting import PATIENCE_SECONDS
from worker.child import Child
from worker.reports import Alive, Failed, Ping, Stop, read_report

LISTEN = """
import os, sys, threading
from worker.child import Child
child = Child(report_fd=1, command_fd=0, is_supervised=True, silence_seconds=float(sys.argv[1]))
{more}
child.listen()
child.report(__import__("worker.reports").reports.Alive(1))
while not child.is_stopping(): threading.Event().wait(0.01)
child.report(__import__("worker.reports").reports.Alive(2))
os._exit(7)
"""


def listening(silence_seconds: float = 60, more: str = "") -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", LISTEN.format(more=more), str(silence_seconds)], bufsize=0,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert read_report(process.stdout.readline()) == Alive(1)
    return process


def say(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(line)


def ending(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    assert process.stderr is not None
    status = process.wait(PATIENCE_SECONDS)
    with process:
        return status, process.stderr.read().decode()


def test_a_stop_is_heard_once_the_run_has_begun() -> None:
    process = listening(more="child.begins()")
    say(process, Stop().to_line())
    assert ending(process)[0] == 7


def test_a_stop_before_that_ends_the_process_with_where_it_stands() -> None:
    process = listening(more="child.stands_at(12); child.is_stopping = lambda: False  # still loading: nobody looks")
    say(process, Stop().to_line())
    assert process.stdout is not None
    assert process.stdout.readline() == b'{"kind":"stopped","step":12}\n'
    assert ending(process)[0] == 0


def test_silence_ends_the_process() -> None:
    status, errors = ending(listening(silence_seconds=0.3))
    assert status == 1
    assert "heard nothing" in errors


def test_pings_keep_it_alive() -> None:
    process = listening(silence_seconds=0.8, more="child.begins()")
    for _ in range(8):
        time.sleep(0.2)
        say(process, Ping().to_line())
    say(process, Stop().to_line())
    assert ending(process)[0] == 7


def test_a_closed_pipe_ends_the_process() -> None:
    process = listening()
    assert process.stdin is not None
    process.stdin.close()
    status, errors = ending(process)
    assert (status, "supervisor is gone" in errors) == (1, True)


FILL_ERRORS = """
os.set_blocking(2, False)
try:
    while os.write(2, b"x"): pass
except BlockingIOError: os.set_blocking(2, True)
"""


def test_silence_ends_a_process_whose_errors_nobody_reads_on() -> None:
    with listening(silence_seconds=0.3, more=FILL_ERRORS) as process:
        try:
            assert process.wait(PATIENCE_SECONDS) == 1
        finally:
            process.kill()


def test_a_supervisor_that_is_gone_with_all_its_pipes_ends_the_process() -> None:
    with listening() as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stderr.close()
        process.stdin.close()
        try:
            assert process.wait(PATIENCE_SECONDS) == 1
        finally:
            process.kill()


def test_commands_may_arrive_in_pieces() -> None:
    process = listening(more="child.begins()")
    both = Ping().to_line() + Stop().to_line()
    say(process, both[:7])
    time.sleep(0.05)
    say(process, both[7:])
    assert ending(process)[0] == 7


def test_reports_nobody_reads_end_the_process() -> None:
    process = listening(more="child.begins()")
    assert process.stdout is not None
    process.stdout.close()
    say(process, Stop().to_line())
    status, errors = ending(process)
    assert (status, "nobody reads" in errors) == (1, True)


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_report_is_one_line_however_long(size: int) -> None:
    theirs, ours = os.pipe()
    child = Child(report_fd=ours, command_fd=theirs, is_supervised=False)
    sent = Failed("user", "code", "x" * size)
    writer = threading.Thread(target=lambda: (child.report(sent), os.close(ours)))
    writer.start()
    with open(theirs, "rb") as reports:
        assert read_report(reports.read()) == sent
    writer.join()

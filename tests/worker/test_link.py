from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from worker.link import ChildLink, child_environment, living_members
from worker.reports import Alive, Line, Ping, Stop


def a_child(folder: Path, program: str) -> ChildLink:
    return ChildLink.start([sys.executable, "-c", program], log_path=folder / "run.log",
                           environment=child_environment(os.environ, {}))


def all_reports(child: ChildLink) -> list[Line]:
    found: list[Line] = []
    while child.exit_code is None:
        found += child.turn(0.05)
    return found + child.reap()


TELL = "import os; tell = lambda text: os.write(int(os.environ['HEADRACE_REPORT_FD']), text)\n"


def test_reports_come_whole_even_when_they_are_written_in_pieces(tmp_path: Path) -> None:
    child = a_child(tmp_path, TELL + """
import time
tell(b'{"kind":"alive",')
time.sleep(0.1)
tell(b'"done":1}\\n{"kind":"alive","done":2}\\n')""")
    assert all_reports(child) == [Alive(1), Alive(2)]
    assert child.exit_code == 0


def test_what_a_library_prints_breaks_no_report(tmp_path: Path) -> None:
    child = a_child(tmp_path, TELL + """
import sys
print('{not a report')
print('oops', file=sys.stderr)
tell(b'{"kind":"alive","done":1}\\n')""")
    assert all_reports(child) == [Alive(1)]
    assert child.last_lines == "oops"


def test_commands_arrive(tmp_path: Path) -> None:
    child = a_child(tmp_path, "import sys; sys.exit(7 if b'stop' in sys.stdin.buffer.readline() else 8)")
    child.send(Stop())
    all_reports(child)
    assert child.exit_code == 7


def test_a_child_that_does_not_read_never_holds_its_supervisor(tmp_path: Path) -> None:
    child = a_child(tmp_path, "import time; time.sleep(600)")
    for _ in range(20_000):
        child.send(Ping())
    child.reap()
    assert child.exit_code == -9


def test_reports_left_unread_hold_the_child_back_and_are_not_lost(tmp_path: Path) -> None:
    child = a_child(tmp_path, TELL + "for n in range(5000): tell(b'{\"kind\":\"alive\",\"done\":%d}\\n' % n)")
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert child.turn(0.05, is_reading=False) == []
    assert child.exit_code is None
    assert all_reports(child) == [Alive(n) for n in range(5000)]


def test_a_kill_ends_the_whole_group(tmp_path: Path) -> None:
    child = a_child(tmp_path, TELL + """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
tell(b'{"kind":"alive","done":1}\\n')
time.sleep(600)""")
    while not child.turn(0.05):
        pass
    assert len(living_members(child.pid)) == 2
    child.reap()
    assert living_members(child.pid) == []


def test_a_grandchild_that_outlives_the_child_is_ended_too(tmp_path: Path) -> None:
    child = a_child(tmp_path, """
import subprocess, sys
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])""")
    all_reports(child)
    assert living_members(child.pid) == []


@pytest.mark.parametrize("line", ["hello", '{"kind":"unknown"}', '{"kind":"alive"}', "[1]"])
def test_a_child_whose_line_is_no_report_is_ended(tmp_path: Path, line: str) -> None:
    child = a_child(tmp_path, TELL + f"import time; tell({line.encode()!r} + b'\\n'); time.sleep(600)")
    assert all_reports(child) == []
    assert child.exit_code == -9
    assert "no report" in (tmp_path / "run.log").read_text() or "report line" in (tmp_path / "run.log").read_text()


def test_the_environment_is_a_short_list() -> None:
    given = {"PATH": "/bin", "HEADRACE_REDIS_URL": "redis://:secret@host", "AWS_SECRET_ACCESS_KEY": "x", "CUDA_HOME": "/cuda"}
    made = child_environment(given, {"OMP_NUM_THREADS": "1"})
    assert made["PATH"] == "/bin"
    assert made["CUDA_HOME"] == "/cuda"
    assert made["OMP_NUM_THREADS"] == "1"
    assert "secret" not in str(made)
    assert "AWS_SECRET_ACCESS_KEY" not in made

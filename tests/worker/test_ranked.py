from __future__ import annotations

import os
import sys
from pathlib import Path

from worker.link import child_environment
from worker.ranked import RankedLinks
from worker.reports import Alive, Failed, Finished, Given, Line, Ping, Steer, Stop

TELL = """
import os, sys, time
rank = int(os.environ["RANK"])
tell = lambda text: os.write(int(os.environ["HEADRACE_REPORT_FD"]), text + b"\\n")
"""


def start(folder: Path, program: str, ranks: int = 3) -> RankedLinks:
    return RankedLinks.start([sys.executable, "-c", TELL + program], ranks=ranks, log_path=folder / "run.log",
                             environment=child_environment(os.environ, {}))


def all_reports(ranked: RankedLinks) -> list[Line]:
    found: list[Line] = []
    while ranked.exit_code is None:
        found += ranked.turn(0.05)
    found += ranked.reap()
    ranked.close()
    return found


def test_rank_0_speaks_for_the_run_and_each_for_its_life(tmp_path: Path) -> None:
    ranked = start(tmp_path, """
tell(b'{"kind":"alive","done":%d}' % rank)
tell(b'{"kind":"finished","step":%d,"trained_tokens":1}' % rank)""")
    told = all_reports(ranked)
    assert sorted(line.done for line in told if isinstance(line, Alive)) == [0, 1, 2]
    assert [line for line in told if isinstance(line, Finished)] == [Finished(0, 1)]
    assert ranked.exit_code == 0


def test_one_that_fails_ends_all_with_its_cause(tmp_path: Path) -> None:
    ranked = start(tmp_path, """
if rank == 1:
    print("no memory here", file=sys.stderr, flush=True)
    tell(b'{"kind":"failed","failure":"memory","code":"out_of_memory","message":"no"}')
    sys.exit(1)
time.sleep(600)""")
    assert all_reports(ranked) == [Failed("memory", "out_of_memory", "no")]
    assert ranked.exit_code == 1
    assert "rank 1 of 3 left with 1" in (tmp_path / "run.log").read_text()
    assert "no memory here" in (tmp_path / "run.log").read_text()


def test_those_that_only_miss_a_killed_rank_do_not_hide_the_cause(tmp_path: Path) -> None:
    ranked = start(tmp_path, """
if rank == 2:
    print("last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), 9)
time.sleep(0.2)
tell(b'{"kind":"failed","failure":"infrastructure","code":"rank_lost","message":"gone"}')
sys.exit(1)""")
    assert all_reports(ranked) == []
    assert (ranked.exit_code, ranked.last_lines) == (-9, "last words")


def test_commands_reach_all_and_a_pending_change_rank_0_alone(tmp_path: Path) -> None:
    ranked = start(tmp_path, """
first = sys.stdin.buffer.readline()
sys.exit(0 if (b'steer' in first) == (rank == 0) else 1)""")
    ranked.send(Steer(1))
    ranked.send(Ping())
    all_reports(ranked)
    assert ranked.exit_code == 0


def test_rank_0_alone_is_told_what_opens_the_places(tmp_path: Path) -> None:
    program = TELL + """
heard = [sys.stdin.buffer.readline() for _ in range(3 if rank == 0 else 1)]
sys.exit(0 if sum(b'places' in line for line in heard) == (2 if rank == 0 else 0) else 1)"""
    given = Given({"web": {"url": "https://example.org"}})
    ranked = RankedLinks.start([sys.executable, "-c", program], ranks=2, log_path=tmp_path / "run.log", first=given,
                               environment=child_environment(os.environ, {}))
    ranked.send(given)
    ranked.send(Ping())
    all_reports(ranked)
    assert ranked.exit_code == 0


def test_all_are_ended_together(tmp_path: Path) -> None:
    ranked = start(tmp_path, "time.sleep(600)")
    ranked.send(Stop())
    ranked.kill()
    assert all_reports(ranked) == []
    assert ranked.exit_code == -9


def test_one_rank_is_told_of_no_others(tmp_path: Path) -> None:
    ranked = RankedLinks.start([sys.executable, "-c", "import os, sys; sys.exit('RANK' in os.environ)"], ranks=1,
                               log_path=tmp_path / "run.log", environment=child_environment(os.environ, {}))
    all_reports(ranked)
    assert ranked.exit_code == 0

from __future__ import annotations

from pathlib import Path

from worker.run_log import RunLog


def a_log(folder: Path) -> RunLog:
    return RunLog(folder / "run.log", limit=1000, head=100, tail=200)


def test_a_short_log_is_kept_as_it_came(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.write(b"one\n")
    log.write(b"two\n")
    assert (tmp_path / "run.log").read_bytes() == b"one\ntwo\n"


def test_a_long_log_keeps_its_head_and_its_tail_and_stays_bounded(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    for number in range(2000):
        log.write(b"line %04d\n" % number)
    kept = (tmp_path / "run.log").read_bytes()
    assert len(kept) <= 1010
    assert kept.startswith(b"line 0000\nline 0001\n")
    assert kept.endswith(b"line 1999\n")
    assert "bytes left out" in kept.decode()


def test_a_log_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    a_log(tmp_path).write(b"one\n")
    a_log(tmp_path).write(b"two\n")
    assert (tmp_path / "run.log").read_bytes() == b"one\ntwo\n"


def test_the_last_lines_are_those_that_say_something(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.write(b"first\n\nsecond\n  \nthird\n")
    assert log.last_lines(2) == "second\nthird"

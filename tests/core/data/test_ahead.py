"""Read-ahead gives what the stream gives, keeps to its budget, and ends with the run or says how it ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from core.data.ahead import ReadAhead, read_ahead, read_ahead_together
from core.data.ahead.wire import Kind, pack_batch, receive, unpack_batch, write_block
from core.data.pipeline import open_stream
from core.data.spec import Batch, Hole, MicroBatch, Position, RowRef
from core.errors import DataError, RunInterrupted
from tests.loaders import Elsewhere
from tests.streams import chat_rows, stream_spec, told, write_source
from tests.waiting import wait_for


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"


def test_batches_are_those_of_the_stream(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, epochs=2, batch_size=5)
    with open_stream(spec) as stream, read_ahead(spec, None) as ahead:
        assert [told(batch) for batch in ahead] == [told(batch) for batch in stream.batches()]


def test_the_smallest_budget_still_gives_every_batch(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, epochs=5, batch_size=1)
    with read_ahead(spec, None, byte_budget=1) as ahead:
        assert [batch.step for batch in ahead] == list(range(1, 61))


def test_no_more_than_the_budget_waits(tmp_path: Path) -> None:
    """A block that nobody has taken is a file of the kernel's; the process stops making more."""
    spec = stream_spec(tmp_path, epochs=50, batch_size=4)
    with open_stream(spec) as stream:
        header, arrays = pack_batch(next(stream.batches()))
    size = len(header) + sum(array.nbytes for array in arrays)
    with read_ahead(spec, None, byte_budget=5 * size) as ahead:
        next(ahead)
        before = -1
        while (now := _cpu_ticks(ahead.pid)) != before:
            before = now
            time.sleep(0.2)
        ahead._channel.setblocking(False)
        waiting = 0
        while True:
            try:
                receive(ahead._channel)
            except BlockingIOError:
                break
            waiting += 1
        assert 3 <= waiting <= 6


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[1].split()
    return int(fields[11]) + int(fields[12])


def test_an_error_arrives_as_the_same_error(tmp_path: Path) -> None:
    rows = chat_rows(5)
    rows[4]["messages"][0]["content"] = "\ufdd0"
    spec = stream_spec(tmp_path, write_source(tmp_path, "bad", rows), is_shuffled=False)
    with read_ahead(spec, None) as ahead:
        assert next(ahead).step == 1
        with pytest.raises(DataError, match="line 5 of source 'bad'"):
            next(ahead)
        with pytest.raises(StopIteration):
            next(ahead)


def test_an_error_at_the_opening_arrives_too(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path)
    (tmp_path / "model" / "tokenizer.json").unlink()
    with read_ahead(spec, None) as ahead, pytest.raises(DataError, match=r"has no tokenizer\.json"):
        next(ahead)


def test_its_death_is_told_with_the_signal(tmp_path: Path) -> None:
    with read_ahead(stream_spec(tmp_path, epochs=50), None, byte_budget=1) as ahead:
        next(ahead)
        os.kill(ahead.pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(ahead.pid))
        with pytest.raises(RunInterrupted, match=r"read-ahead process ended with signal 9 \(SIGKILL\)"):
            for _ in ahead:
                pass


def test_several_processes_give_what_one_gives(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, epochs=3, batch_size=5)
    with open_stream(spec) as stream:
        whole = [told(batch) for batch in stream.batches()]
        position = stream.position_after(2)
    with read_ahead(spec, position, processes=3) as ahead:
        assert [told(batch) for batch in ahead] == whole[2:]


def test_one_process_loads_for_all_ranks_and_goes_on_for_those_that_are_left(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, epochs=50, batch_size=4)
    first, channels = read_ahead_together(spec, None, ranks=3)
    with first:
        second, third = (ReadAhead(channel, Elsewhere()) for channel in channels)
        assert [next(ahead).slots for ahead in (first, second, third)] == [(0, 3), (1,), (2,)]
        second.close()
        assert [(a.step, b.step) for a, b in zip(third, first, strict=True)] == [(step, step) for step in range(2, 151)]
        third.close()


def test_a_process_behind_the_loader_that_dies_is_named(tmp_path: Path) -> None:
    with read_ahead(stream_spec(tmp_path, epochs=500), None, byte_budget=1, processes=2) as ahead:
        next(ahead)
        os.kill(_children(ahead.pid)[1], signal.SIGKILL)
        with pytest.raises(RunInterrupted, match=r"status 1: loader process 2 of 2 ended with signal 9 \(SIGKILL\)"):
            for _ in ahead:
                pass


def test_the_processes_behind_the_loader_die_with_it(tmp_path: Path) -> None:
    with read_ahead(stream_spec(tmp_path, epochs=500), None, byte_budget=1, processes=2) as ahead:
        next(ahead)
        behind = _children(ahead.pid)
        os.kill(ahead.pid, signal.SIGKILL)
        assert len(behind) == 2
        wait_for(lambda: not any(map(is_alive, behind)))


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_an_interrupt_from_another_thread_ends_the_wait(tmp_path: Path) -> None:
    with read_ahead(stream_spec(tmp_path), None) as ahead:
        threading.Timer(0.05, ahead.interrupt).start()
        with pytest.raises(RunInterrupted, match="reading ahead was stopped"):
            list(zip(ahead, iter(lambda: time.sleep(0.1), 0), strict=False))


def test_closing_ends_the_process(tmp_path: Path) -> None:
    ahead = read_ahead(stream_spec(tmp_path, epochs=50), None, byte_budget=1)
    next(ahead)
    ahead.close()
    ahead.close()
    assert not is_alive(ahead.pid)


def test_it_dies_with_the_process_that_opened_it(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, epochs=50)
    program = (
        "import json, os, sys, time\nfrom core.data.ahead import read_ahead\nfrom core.data.spec import StreamSpec\n"
        "ahead = read_ahead(StreamSpec.from_json(json.load(sys.stdin)), None, byte_budget=1)\nnext(ahead)\n"
        "print(ahead.pid, flush=True)\ntime.sleep(60)\n")
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(json.dumps(spec.to_json()))
    parent.stdin.close()
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not is_alive(pid))


def test_it_holds_none_of_the_runs_pipes(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    with read_ahead(stream_spec(tmp_path, epochs=50), None, byte_budget=1) as ahead:
        next(ahead)
        os.close(writing)
        os.set_blocking(reading, False)
        assert os.read(reading, 1) == b""  # the end: nobody else holds the writing end
        os.close(reading)
        assert os.readlink(f"/proc/{ahead.pid}/fd/1") == "/dev/null"


def test_it_knows_no_variable_of_the_runs_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "s3cret")
    with read_ahead(stream_spec(tmp_path), None) as ahead:
        next(ahead)
        environment = Path(f"/proc/{ahead.pid}/environ").read_bytes()
    assert b"s3cret" not in environment
    assert b"TOKENIZERS_PARALLELISM=false" in environment


def test_it_tells_how_long_the_last_batch_was_waited_for(tmp_path: Path) -> None:
    with read_ahead(stream_spec(tmp_path), None) as ahead:
        next(ahead)
        assert 0 < ahead.wait_seconds < 10


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_batch_crosses_unchanged_and_may_be_written_to(is_awaited: bool) -> None:
    source = np.array([1], np.int32)
    micro = [MicroBatch(np.arange(n, dtype=np.int32), np.arange(n) % 3 == 0, np.array([0, n], np.int32), source)
             for n in (1, 7, 30)]
    batch = Batch(3, 0.5, tuple(micro), (RowRef(1, 5),), 9, Position(3, (4, 8), 1),
                  (Hole(RowRef(0, 2), 3, "ümlaut", "a.jsonl", "untrained", True),), 2, {"split": 2}, {"split": 1})
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, write_block(Kind.BATCH, *pack_batch(batch)) as block:
        block.send(theirs, is_awaited=is_awaited)
        received = receive(ours)
    assert received is not None
    assert (received.descriptor is None) == is_awaited
    assert received.kind is Kind.BATCH
    again = unpack_batch(*received.read())
    assert told(again) == told(batch)
    assert all(each.ids.flags.writeable and each.ids.flags.aligned for each in again.micro_batches)


def test_a_batch_without_rows_crosses() -> None:
    batch = Batch(1, 1.0, (), (), 0, Position(1, (4,), 0))
    assert told(unpack_batch(pack_batch(batch)[0], memoryview(b""))) == told(batch)


def test_its_process_imports_only_what_it_reads_with() -> None:
    program = ("import sys, core.data.ahead.__main__; print([name for name in "
               "('torch', 'transformers', 'pydantic', 'sqlalchemy', 'fastapi', 'celery', 'pyarrow') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"

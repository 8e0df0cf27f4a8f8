"""The whole child, as a process: data in, adapter out, whatever happens to it on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core.errors import ConfigurationError, DataError, OutOfMemory, RunRejected
from core.specs.run import RunSpec
from tests.waiting import PATIENCE_SECONDS
from tests.worker.runs import Supervised, adapter, chat_rows, losses, run_spec
from worker.reports import Failed, Finished, Line, PhaseChanged, Saved, Started, StepDone, Stop, Stopped
from worker.run import failure

SHORT = {"epochs": 1}


def go(folder: Path, spec: RunSpec) -> list[Line]:
    """Run to the end; the child must end well."""
    with Supervised(folder, spec) as child:
        child.until()
        assert child.end() == 0, child.errors
        return child.heard


def is_step(number: int):
    return lambda line: isinstance(line, StepDone) and line.step >= number


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return go(folder, run_spec(folder))


def test_a_run_goes_from_rows_to_an_adapter(undisturbed: list[Line]) -> None:
    started = next(line for line in undisturbed if isinstance(line, Started))
    assert (started.from_step, started.parameters) == (0, 133440)
    assert list(losses(undisturbed)) == list(range(1, started.total_steps + 1))
    assert isinstance(undisturbed[-1], Finished)
    assert undisturbed[0] == PhaseChanged("loading")
    first, last = (losses(undisturbed)[step][1] for step in sorted(losses(undisturbed)) if losses(undisturbed)[step][1])
    assert last < first


@pytest.mark.parametrize("step", [1, 7])
def test_killed_at_once_and_resumed_it_ends_in_the_same_bytes(step: int, tmp_path: Path, undisturbed: list[Line]) -> None:
    spec = run_spec(tmp_path)
    with Supervised(tmp_path, spec) as child:
        child.until(is_step(step))
        child.process.kill()
        child.until()
        heard = child.heard
    newest = next((line.folder for line in reversed(heard) if isinstance(line, Saved)), None)
    heard = heard + go(tmp_path, spec.model_copy(update={"resume_from": newest}))
    assert adapter(heard) == adapter(undisturbed)
    assert losses(heard) == losses(undisturbed)


def test_stopped_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path, undisturbed: list[Line]) -> None:
    spec = run_spec(tmp_path, recovery_every_seconds=1e9)
    with Supervised(tmp_path, spec) as child:
        child.until(is_step(4))
        child.say(Stop())
        stopped = child.until(lambda line: isinstance(line, Stopped))
        assert child.end() == 0
        heard = child.heard
    assert isinstance(stopped, Stopped)
    saved = [line for line in heard if isinstance(line, Saved)][-1]
    assert saved.step == stopped.step >= 4
    heard = heard + go(tmp_path, spec.model_copy(update={"resume_from": saved.folder}))
    assert adapter(heard) == adapter(undisturbed)
    assert [line.step for line in heard if isinstance(line, StepDone)] == list(losses(undisturbed))


def test_a_stop_while_it_loads_is_answered_at_once(tmp_path: Path) -> None:
    with Supervised(tmp_path, run_spec(tmp_path)) as child:
        child.until(lambda line: line == PhaseChanged("loading"))
        child.say(Stop())
        child.until()
        assert child.end() == 0
        assert child.heard[-1] == Stopped(0)
        assert not any(isinstance(line, Started) for line in child.heard)


def test_a_child_dies_with_its_supervisors_end_of_the_pipe(tmp_path: Path) -> None:
    with Supervised(tmp_path, run_spec(tmp_path, recovery_every_seconds=1e9)) as child:
        child.until(lambda line: line == PhaseChanged("loading"))
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert child.process.wait(PATIENCE_SECONDS) == 1


def test_a_dead_read_ahead_interrupts_the_run(tmp_path: Path) -> None:
    with Supervised(tmp_path, run_spec(tmp_path, rows=chat_rows(3000), stream={"batch_size": 1}, validation_fraction=0.0)
                    ) as child:
        child.until(is_step(1))
        os.kill(read_ahead_of(child.process.pid), signal.SIGKILL)
        failed = child.until(lambda line: isinstance(line, Failed))
        assert child.end() == 1
    assert isinstance(failed, Failed)
    assert (failed.failure, failed.code) == ("infrastructure", "read_ahead_lost")


def test_a_row_that_cannot_be_trained_on_is_the_users(tmp_path: Path) -> None:
    spec = run_spec(tmp_path)
    file = Path(spec.stream["sources"][0]["shards"][0]["path"])
    file.write_bytes(file.read_bytes().replace(b'"assistant"', b'"assistent"'))
    with Supervised(tmp_path, spec) as child:
        failed = child.until(lambda line: isinstance(line, Failed))
        assert child.end() == 1
    assert isinstance(failed, Failed)
    assert failed.failure == "user"
    assert "Traceback" in child.errors


def test_another_stream_than_the_checkpoints_is_refused(tmp_path: Path, undisturbed: list[Line]) -> None:
    folder = [line.folder for line in undisturbed if isinstance(line, Saved)][-1]
    spec = run_spec(tmp_path, stream={"seed": 6}, resume_from=folder)
    with Supervised(tmp_path, spec) as child:
        failed = child.until(lambda line: isinstance(line, Failed))
    assert isinstance(failed, Failed)
    assert (failed.failure, failed.code) == ("infrastructure", "checkpoint_differs")


@pytest.mark.parametrize(("error", "kind", "code"), [
    (DataError("line 3"), "user", "invalid_training_file"),
    (DataError("the index is gone", code="index_missing"), "infrastructure", "index_missing"),
    (RunRejected("no", code="loss_not_finite"), "user", "loss_not_finite"),
    (ConfigurationError("a pickle"), "user", "configuration"),
    (OutOfMemory("no"), "memory", "out_of_memory"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "infrastructure", "out_of_memory"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "infrastructure", "out_of_memory"),
    (MemoryError(), "infrastructure", "out_of_memory"),
    (OSError(28, "No space left on device"), "infrastructure", "storage_full"),
    (RuntimeError("odd"), "infrastructure", "run_interrupted"),
    (KeyboardInterrupt(), "infrastructure", "run_interrupted"),
])
def test_endings_are_told_apart(error: BaseException, kind: str, code: str) -> None:
    told = failure(error)
    assert (told.failure, told.code) == (kind, code)


def read_ahead_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(child) for child in children if b"core.data.ahead" in Path(f"/proc/{child}/cmdline").read_bytes())

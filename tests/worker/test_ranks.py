"""Whole runs of several ranks: processes of their own on a CPU, started and ended as a supervisor does."""

from __future__ import annotations

import base64
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from core.data.pipeline import open_stream
from core.data.spec import MixtureEntry, RowRef, StreamSpec
from core.errors import ConfigurationError
from core.specs.run import LoraSpec, RunSpec
from tests.waiting import PATIENCE_SECONDS
from tests.worker.runs import run_spec
from worker.link import child_environment
from worker.ranked import RankedLinks
from worker.ranks import Member, members, open_hands, open_meeting, own_threads, read_member
from worker.reports import (
    Failed,
    Finished,
    Line,
    Ping,
    Saved,
    Steer,
    SteerCommitted,
    SteerProposed,
    StepDone,
    Stop,
    Stopped,
)

CALM = LoraSpec(r=4, alpha=8)


class Ranked:
    """The ranks of one run, listened to."""

    def __init__(self, links: RankedLinks) -> None:
        self.links, self.heard = links, []

    def until(self, is_enough: Callable[[Line], bool] = lambda line: False) -> list[Line]:
        """Listen until a report is enough, or until all have left."""
        end, pinged = time.monotonic() + PATIENCE_SECONDS, 0.0
        while self.links.exit_code is None and time.monotonic() < end:
            if time.monotonic() - pinged > 1:
                self.links.send(Ping())
                pinged = time.monotonic()
            told = self.links.turn(0.05)
            self.heard += told
            if any(map(is_enough, told)):
                return self.heard
        assert self.links.exit_code is not None, f"nothing of the kind; heard {self.heard[-3:]}"
        self.heard += self.links.reap()
        return self.heard


@contextmanager
def running(folder: Path, spec: RunSpec) -> Iterator[Ranked]:
    file = folder / "spec.json"
    file.write_text(spec.model_dump_json())
    links = RankedLinks.start([sys.executable, "-m", "worker.run", str(file)], ranks=spec.ranks, log_path=folder / "run.log",
                              environment=child_environment(os.environ, {"OMP_NUM_THREADS": "1"}))
    try:
        yield Ranked(links)
    finally:
        links.reap()
        links.close()


def go(folder: Path, spec: RunSpec, stop_after: int | None = None) -> list[Line]:
    """Run to the end, or stop after a step; all ranks must end well."""
    with running(folder, spec) as ranked:
        if stop_after is not None:
            ranked.until(is_step(stop_after))
            ranked.links.send(Stop())
        ranked.until()
        assert ranked.links.exit_code == 0, (folder / "run.log").read_text()
        return ranked.heard


def is_step(number: int) -> Callable[[Line], bool]:
    return lambda line: isinstance(line, StepDone) and line.step >= number


def steps(heard: list[Line]) -> dict[int, StepDone]:
    return {line.step: line for line in heard if isinstance(line, StepDone)}


def row_losses(heard: list[Line]) -> np.ndarray:
    """The loss of every row of every step, one after another."""
    found = steps(heard)
    return np.concatenate([np.frombuffer(base64.b64decode(found[n].row_losses), "<f4") for n in sorted(found)])


def newest(heard: list[Line]) -> str:
    return next(line.folder for line in reversed(heard) if isinstance(line, Saved))


def adapter(heard: list[Line]) -> dict[str, np.ndarray]:
    return load_file(Path(newest(heard)) / "adapter_model.safetensors")


def assert_alike(heard: list[Line], alone: list[Line]) -> None:
    """The same rows, each once: a row left out would have no loss, a row taken twice would have twice its own."""
    found, expected = steps(heard), steps(alone)
    assert list(found) == list(expected)
    for name in ("rows_digest", "examples", "tokens", "trained_tokens", "source_tokens", "source_drawn", "truncated"):
        assert [getattr(s, name) for s in found.values()] == [getattr(s, name) for s in expected.values()]
    for name in ("train_loss", "train_mean_token_accuracy", "grad_norm"):
        wanted = [getattr(s, name) for s in expected.values()]
        assert [getattr(s, name) for s in found.values()] == pytest.approx(wanted, abs=1e-5)
    assert [s.full_valid_loss for s in found.values()] == [
        None if s.full_valid_loss is None else pytest.approx(s.full_valid_loss, abs=1e-5) for s in expected.values()]
    assert np.allclose(row_losses(heard), row_losses(alone), atol=1e-4)
    mine, theirs = adapter(heard), adapter(alone)
    assert all(np.allclose(mine[name], theirs[name], atol=2e-4) for name in theirs)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    folder = tmp_path_factory.mktemp("alone")
    return go(folder, run_spec(folder, lora=CALM))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """Two ranks, with dropout, undisturbed."""
    folder = tmp_path_factory.mktemp("calm")
    return go(folder, run_spec(folder, ranks=2))


def test_three_ranks_go_where_one_goes(tmp_path: Path, alone: list[Line]) -> None:
    """Some steps have two rows, so that a rank has none of its own in them."""
    heard = go(tmp_path, run_spec(tmp_path, lora=CALM, ranks=3))
    assert isinstance(heard[-1], Finished)
    assert_alike(heard, alone)


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path: Path, alone: list[Line]) -> None:
    spec = run_spec(tmp_path, lora=CALM, recovery_every_seconds=1e9)
    heard = go(tmp_path, spec.model_copy(update={"ranks": 2}), stop_after=3)
    assert isinstance(heard[-1], Stopped)
    heard += go(tmp_path, spec.model_copy(update={"ranks": 3, "resume_from": newest(heard)}), stop_after=9)
    heard += go(tmp_path, spec.model_copy(update={"resume_from": newest(heard)}))
    assert isinstance(heard[-1], Finished)
    assert_alike(heard, alone)


def test_a_rank_that_is_killed_ends_all_and_the_run_goes_on_exactly(tmp_path: Path, calm: list[Line]) -> None:
    """With dropout: each rank draws its own numbers, and goes on with them."""
    spec = run_spec(tmp_path / "killed", ranks=2)
    with running(tmp_path / "killed", spec) as ranked:
        ranked.until(is_step(4))
        os.kill(ranked.links.pids[1], signal.SIGKILL)
        ranked.until()
        assert ranked.links.exit_code == -signal.SIGKILL
        assert not any(isinstance(line, Failed) for line in ranked.heard)
        assert not any(map(psutil.pid_exists, ranked.links.pids))
        heard = ranked.heard
    heard += go(tmp_path / "killed", spec.model_copy(update={"resume_from": newest(heard)}))
    assert [s.train_loss for s in steps(heard).values()] == [s.train_loss for s in steps(calm).values()]
    assert all(np.array_equal(adapter(heard)[name], tensor) for name, tensor in adapter(calm).items())


def test_a_read_ahead_that_is_killed_ends_all_and_the_run_goes_on_exactly(tmp_path: Path, calm: list[Line]) -> None:
    """One process loads for both ranks, a child of rank 0; here two others make the steps for it."""
    spec = run_spec(tmp_path, ranks=2, loader_processes=2)
    with running(tmp_path, spec) as ranked:
        ranked.until(is_step(4))
        loaders = [psutil.Process(pid).children() for pid in ranked.links.pids]
        assert list(map(len, loaders)) == [1, 0]
        assert len(loaders[0][0].children()) == 2
        loaders[0][0].kill()
        ranked.until()
        told = [line for line in ranked.heard if isinstance(line, Failed)]
        assert [(failed.failure, failed.code) for failed in told] == [("infrastructure", "read_ahead_lost")]
        heard = ranked.heard
    heard += go(tmp_path, spec.model_copy(update={"resume_from": newest(heard)}))
    assert [s.train_loss for s in steps(heard).values()] == [s.train_loss for s in steps(calm).values()]
    assert Path(newest(heard), "adapter_model.safetensors").read_bytes() == Path(
        newest(calm), "adapter_model.safetensors").read_bytes()


def test_a_change_of_the_mixture_holds_from_one_step_on_all_ranks(tmp_path: Path) -> None:
    """Rank 0 proposes the step; the others wait for the same commit, and all read on by it."""
    spec = run_spec(tmp_path, ranks=2, lora=CALM, validation_fraction=0.0)
    stream = StreamSpec.from_json(spec.stream)
    with running(tmp_path, spec) as ranked:
        ranked.until(is_step(2))
        ranked.links.send(Steer(1))
        proposed = next(line for line in ranked.until(lambda line: isinstance(line, SteerProposed))
                        if isinstance(line, SteerProposed))
        rows = tuple(RowRef(0, row) for row in range(0, 40, 2))
        steered = replace(stream, mixture=(*stream.mixture, MixtureEntry(proposed.from_step, (1.0,), rows)))
        ranked.links.send(SteerCommitted(1, steered.to_json()))
        ranked.until()
        assert ranked.links.exit_code == 0, (tmp_path / "run.log").read_text()
    with open_stream(steered) as opened:
        expected = {batch.step: (f"{batch.digest:016x}", len(batch.rows)) for batch in opened.batches()}
    assert {n: (s.rows_digest, s.examples) for n, s in steps(ranked.heard).items()} == expected


def test_a_row_at_fault_is_told_once(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, ranks=2)
    file = Path(spec.stream["sources"][0]["shards"][0]["path"])
    file.write_bytes(file.read_bytes().replace(b'"assistant"', b'"assistent"'))
    with running(tmp_path, spec) as ranked:
        told = [line for line in ranked.until() if isinstance(line, Failed)]
    assert [failed.failure for failed in told] == ["user"]


def test_a_process_that_is_one_of_another_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the spec asks for 2 ranks and WORLD_SIZE is 1"):
        read_member({}, ranks=2)
    assert read_member({}, ranks=1) == Member()


def test_members_read_what_they_are_told() -> None:
    hands = open_hands(3)
    with open_meeting() as meeting:
        told = members(3, meeting, hands)
    assert [read_member(member.environment(), ranks=3) for member in told] == told
    assert [len(member.hand_fds) for member in told] == [2, 1, 1]
    for end in chain.from_iterable(hands):
        end.close()
    assert [member.meeting_fd is not None for member in told] == [True, False, False]
    assert Member().environment() == {}


def test_ranks_share_the_threads_and_each_has_one() -> None:
    assert [own_threads(8, ranks) for ranks in (1, 2, 3, 16)] == [8, 4, 2, 1]

"""Batches → a trained adapter.

    for each batch:   accumulate its micro-batches · update · note the border
    at a border:      evaluate, where it is due · report the step · save, where it is due

The *border* is the state between two steps: weights and moments as they are, the position after the step, and the random state
noted there. Everything that can be interrupted (micro-batches, evaluations, samples) is interrupted by raising, and what is
saved then is the last border. A step that was stopped in its evaluation is saved together with its figures, unreported; the run
that goes on evaluates first and then reports it: each step is reported once, with all that belongs to it.

On CUDA the figures of a step are read while the next one runs, unless something at its border needs them.

Several ranks each run this loop, on their share of the rows, and *meet* wherever one could go another way than the others:
after its part of a step, of an evaluation, of the samples. A rank that was told to stop leaves its part and says so at the
meeting; then all leave the step, at the same border. So no rank waits for one that has left, and what is decided by a clock
is decided by rank 0 for all.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch

from core.data.spec import Batch, MicroBatch
from core.errors import RunInterrupted
from core.specs.run import RunSpec
from worker.held_out import HeldOut
from worker.reports import (
    Alive,
    CheckpointKind,
    Finished,
    Line,
    MemoryProbed,
    MemoryRecovered,
    Phase,
    PhaseChanged,
    Sampled,
    StepDone,
    Stopped,
    Warned,
)
from worker.training.around import Surroundings
from worker.training.checkpointing import Elsewhere, Saver, snapshot
from worker.training.due import checkpoint_due, evaluation_due
from worker.training.evaluation import Tally, Validation, evaluate
from worker.training.lineage import check_trained
from worker.training.metrics import StepRecord, Timing
from worker.training.model import Model
from worker.training.optimizer import Optimizer, learning_rate_at
from worker.training.probe import Probing, probe
from worker.training.sampling import Sampler
from worker.training.state import State
from worker.training.step import Layout, StopAsked, Sums, accumulate, add_up
from worker.training.waiting import DataWatch

ALIVE_SECONDS = 10.0
"""A run that works says something at least so often, a single forward pass apart."""
METRICS = ("train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy", "full_valid_loss",
           "full_valid_mean_token_accuracy")


T = TypeVar("T")


class Words(NamedTuple):
    """What a rank says at a meeting; whole numbers, since they cross between processes."""

    is_stopped: int
    """This rank left its part, since it was told to stop."""
    wants_recovery: int
    """It is time for a recovery point; rank 0's word counts."""
    limit_tokens: int
    """What running out of memory has taught; 0 for nothing."""
    waited_microseconds: int
    proposed: int
    """Number of a change of the mixture whose commit is awaited before the next step; 0 for none."""


class Training:
    """One run, from the border it starts at. `names` gives those of the stream's sources, in its order; they become more when
    a source joins on the way."""

    def __init__(self, spec: RunSpec, state: State, *, model: Model, optimizer: Optimizer, saver: Saver | Elsewhere,
                 names: Callable[[], list[str]], validation: Callable[[int], HeldOut] | None, sampler: Sampler | None,
                 around: Surroundings, probing: Probing | None = None) -> None:
        self._spec, self._state = spec, state
        self._model, self._optimizer, self._saver = model, optimizer, saver
        self._names, self._validation, self._sampler = names, validation, sampler
        self._around, self._said_at = around, around.clock()
        self._group, self._steering = around.group, around.steering
        self._recovery_step: int | None = None
        self._is_fed = False
        self._layout = Layout(state.limit_tokens, self._memory_recovered, model.device.room)
        self._probing = probing
        self._random_state = model.device.random_state()
        self._open: tuple[StepRecord, Timing] | None = None
        self._watch = DataWatch()
        self._last = StepDone(**state.last) if state.last else None
        self._tokens = self._looks = 0
        self._saved_at = self._mark = around.clock()

    def run(self, batches: Iterator[Batch], *, wait_seconds: Callable[[], float], random_state: dict[str, torch.Tensor] | None
            ) -> None:
        """Train what is left and report the end: Finished, or Stopped once the last border is durable.

        `wait_seconds` tells how long the last batch was awaited; `random_state` is that of the checkpoint the run starts
        from, put back right before the first batch.
        """
        self._saver.open(self._state.step)
        try:
            self._sample_before()
            if random_state:
                self._model.device.restore_random_state(random_state)
                self._random_state = random_state
            self._train(batches, wait_seconds)
        except StopAsked:
            self._stop()

    def _train(self, batches: Iterator[Batch], wait_seconds: Callable[[], float]) -> None:
        self._together(self._check)
        self._probe()
        if self._state.unreported:
            self._report_step(StepDone(**self._state.unreported))
        self._phase("waiting_for_data")
        self._mark = self._around.clock()
        while self._state.step < self._spec.total_steps:
            self._step(batches, wait_seconds)
            if not self._model.device.is_cuda or self._is_anything_due():
                self._settle()
        self._settle()
        self._sample()
        self._phase("saving")
        self._together(self._await_last_save)
        self._report(Finished(self._state.step, self._tokens))

    def _probe(self) -> None:
        """Try the longest rows, unless it is known how much fits; all ranks take the least that one of them found."""
        probing = self._probing
        if probing is None or self._layout.limit_tokens is not None or self._state.step == self._spec.total_steps:
            return
        self._phase("probing")

        def part() -> MemoryProbed:
            probed = probe(probing, self._model, self._optimizer, before_each=self._before_micro_batch,
                           undo=self._back_to_border)
            self._layout.limit_tokens = probed.limit_tokens
            return probed

        probed, told = self._together(part)
        self._back_to_border()
        limit = self._layout.limit_tokens = min(words.limit_tokens for words in told)
        self._state = replace(self._state, limit_tokens=limit)
        self._report(replace(probed, limit_tokens=limit))

    def _next(self, batches: Iterator[Batch]) -> Batch:
        """The next batch, with a look at the stop sign while it is awaited; a dead source is no reason to miss a stop."""
        self._check()
        try:
            batch = next(batches)
        except StopIteration:
            self._check()
            self._settle()
            raise RunInterrupted(f"the stream ended after step {self._state.step} of {self._spec.total_steps}; "
                                 "its read-ahead process died", code="stream_ended") from None
        except Exception:
            self._check()
            raise
        if not self._is_fed:
            self._phase("training")
        self._is_fed = True
        return batch

    def _accumulated(self, batches: Iterator[Batch]) -> tuple[Batch, Sums]:
        """This rank's part of the next step: its batch, with the gradients and sums of its own rows."""
        batch = self._next(batches)

        def work(parts: Iterable[MicroBatch]) -> Sums:
            return accumulate(tuple(parts), batch, self._model, self._optimizer, before_each=self._before_micro_batch)

        return batch, self._layout.run(batch.micro_batches, work, self._back_to_border)

    def _step(self, batches: Iterator[Batch], wait_seconds: Callable[[], float]) -> None:
        (batch, sums), told = self._together(lambda: self._accumulated(batches), wait_seconds)
        self._agree(batch.step, told)
        norm = torch.zeros_like(sums.loss)
        if batch.trained_tokens:
            sums = add_up(sums, self._optimizer, self._group)
            norm = self._optimizer.update(batch.step)
        rate = learning_rate_at(batch.step, self._spec.total_steps, self._spec.optimizer)
        skipped = self._state.skipped
        record = StepRecord(batch, sums, norm, skipped_before=skipped, learning_rate=rate,
                            is_scaled=self._optimizer.scaler is not None)
        self._settle()
        self._open = record, self._timing(max(words.waited_microseconds for words in told) / 1e6)
        self._random_state = self._model.device.random_state()
        self._state = replace(self._state, step=batch.step, position=batch.position, limit_tokens=self._layout.limit_tokens,
                              seen=self._state.seen.after(batch, skipped), skipped=skipped.with_rows(batch.faults))
        self._tokens += record.tokens

    def _together(self, part: Callable[[], T], wait_seconds: Callable[[], float] = lambda: 0.0) -> tuple[T, list[Words]]:
        """Do this rank's part and meet the others; give what it made and what each rank said.

        Raises StopAsked, on every rank, when one of them left its part.
        """
        made: list[T] = []
        with contextlib.suppress(StopAsked):
            made.append(part())
        mine = Words(not made, self._is_recovery_time(), self._layout.limit_tokens or 0, round(wait_seconds() * 1e6),
                     self._steering.proposed())
        told = [Words(*words) for words in self._group.exchange(mine)]
        if any(words.is_stopped for words in told):
            raise StopAsked
        return made[0], told

    def _agree(self, step: int, told: Sequence[Words]) -> None:
        """Take on, as every rank does, what the ranks said of this step."""
        first, limits = told[0], [words.limit_tokens for words in told if words.limit_tokens]
        self._recovery_step = step if first.wants_recovery else None
        self._layout.limit_tokens = min(limits, default=None)
        if first.proposed and not self._group.is_first:
            self._steering.expect(first.proposed)

    def _is_recovery_time(self) -> bool:
        return self._around.clock() - self._saved_at >= self._spec.recovery_every_seconds

    def _settle(self) -> None:
        """Report the step whose figures are still open, and do what its border asks for."""
        if self._open is None:
            return
        self._report_step(self._read_open())

    def _read_open(self) -> StepDone:
        assert self._open is not None
        (record, timing), self._open = self._open, None
        done = record.read(timing, names=self._names(), seen=self._state.seen, last=self._last,
                           memory_bytes=self._model.device.memory_bytes())
        for told in map(Warned, record.batch.warnings):
            self._report(told)
        waiting = self._watch.note(done.step, step_seconds=timing.step_seconds, wait_seconds=timing.data_wait_seconds,
                                   loading=record.batch.loading, examples=done.examples)
        if waiting:
            self._report(waiting)
        return done

    def _report_step(self, done: StepDone) -> None:
        if self._is_evaluation_due(done.step):
            self._state = replace(self._state, unreported=dataclasses.asdict(done))
            done = _with_validation(done, self._evaluate(done.step))
            self._state = replace(self._state, unreported=None)
        self._last = done
        self._state = replace(self._state, last=dataclasses.asdict(replace(done, row_losses="", skipped=[])))
        self._report(done)
        if done.step == self._spec.total_steps:
            check_trained(self._state.seen)
        self._save_if_due(done.step)
        self._mark = self._around.clock()

    def _evaluate(self, step: int) -> Validation | None:
        assert self._validation is not None
        self._phase("evaluating")
        held_out = self._validation(step)

        def part() -> Tally:
            try:
                return evaluate(held_out, self._model, self._layout, before_each=lambda micro: self._check(),
                                on_batch=lambda done: self._report(Alive(done)))
            except Exception:
                self._check()  # a batch that was awaited when the stop came
                raise

        tally, _ = self._together(part)
        self._phase("training")
        return tally.over(self._group, self._model.device).validation(held_out.sources)

    def _sample_before(self) -> None:
        if self._state.step == 0:
            self._sample()

    def _sample(self) -> None:
        """Rank 0 answers the prompts; the others wait for it."""
        if not self._spec.sample_prompts:
            return
        self._phase("sampling")
        answers, _ = self._together(lambda: self._sampler.answer(self._model, self._check) if self._sampler else [])
        self._report(Sampled(self._state.step, answers))

    def _save_if_due(self, step: int) -> None:
        kind = self._due(step)
        if kind is None:
            return
        random_states = self._group.collect(self._random_state)
        if self._group.is_first and self._saver.can_save(kind, step):
            self._save(kind, random_states)

    def _save(self, kind: CheckpointKind, random_states: Sequence[dict[str, torch.Tensor]]) -> None:
        told = dataclasses.asdict(self._last) if self._last else {}
        scaler = self._optimizer.scaler
        state = replace(self._state, scaler=scaler.state_dict() if scaler else None)
        taken = snapshot(state, self._model, self._optimizer, random_states)
        self._saver.save(taken, kind, {name: told[name] for name in METRICS if told.get(name) is not None})
        self._saved_at = self._around.clock()

    def _stop(self) -> None:
        self._optimizer.clear()
        if self._open:
            self._state = replace(self._state, unreported=dataclasses.asdict(self._read_open()))
        self._phase("saving")
        random_states = self._group.collect(self._random_state)
        self._saver.hurry()
        self._saver.wait()
        if self._group.is_first and self._is_border_unsaved():
            self._save("recovery", random_states)
        self._saver.wait()
        self._report(Stopped(self._state.step))

    def _is_border_unsaved(self) -> bool:
        """Of the last step's border, only one without its evaluation is a recovery point; else it is the final one or none."""
        is_final = self._state.step == self._spec.total_steps and self._state.unreported is None
        return self._state.step != self._saver.kept_step and not is_final

    def _await_last_save(self) -> None:
        """Wait for the last checkpoint, also for room for it; leave when it cannot be kept before a stop."""
        self._saver.wait(self._hurry_when_stopping)
        if self._group.is_first and self._saver.kept_step != self._state.step:
            raise StopAsked

    def _hurry_when_stopping(self) -> None:
        if self._around.is_stopping():
            self._saver.hurry()
        self._say_alive()

    def _due(self, step: int) -> CheckpointKind | None:
        return checkpoint_due(self._spec, step, recovery_step=self._recovery_step)

    def _is_evaluation_due(self, step: int) -> bool:
        return self._validation is not None and evaluation_due(self._spec, step)

    def _is_anything_due(self) -> bool:
        return self._is_evaluation_due(self._state.step) or self._due(self._state.step) is not None

    def _before_micro_batch(self, micro: MicroBatch) -> None:
        self._check()
        self._around.before_micro_batch(micro)

    def _check(self) -> None:
        """Look at the stop sign, between micro-batches, batches and tokens; in a long step, say that there is life."""
        if self._around.is_stopping():
            raise StopAsked
        self._say_alive()

    def _say_alive(self) -> None:
        self._looks += 1
        if self._around.clock() - self._said_at >= ALIVE_SECONDS:
            self._report(Alive(self._looks))

    def _back_to_border(self) -> None:
        self._optimizer.clear()
        self._model.device.restore_random_state(self._random_state)
        self._model.device.free_caches()

    def _memory_recovered(self, micro_batches: int, limit_tokens: int) -> None:
        self._report(MemoryRecovered(self._state.step + 1, micro_batches, limit_tokens))

    def _timing(self, waited: float) -> Timing:
        now = self._around.clock()
        timing = Timing(now - self._mark, waited)
        self._mark = now
        return timing

    def _report(self, line: Line) -> None:
        self._said_at = self._around.clock()
        self._around.report(line)

    def _phase(self, phase: Phase) -> None:
        self._report(PhaseChanged(phase))


def _with_validation(done: StepDone, found: Validation | None) -> StepDone:
    if found is None:
        return done
    return replace(done, valid_loss=found.loss, valid_mean_token_accuracy=found.accuracy, full_valid_loss=found.loss,
                   full_valid_mean_token_accuracy=found.accuracy, source_valid_losses=found.source_losses)

"""A change of the mixture while a whole child trains: the answer is a step, and the run is the one that was given the log."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.data.spec import MixtureEntry, RowRef, SourceSpec, StreamSpec
from core.settings import Settings
from core.specs.run import RunSpec
from tests.worker.runs import Supervised, chat_rows, registered, run_spec
from worker.reports import Finished, Given, Line, Saved, Steer, SteerCommitted, SteerProposed, StepDone, Warned
from worker.steering import Steering


def sources(folder: Path) -> tuple[SourceSpec, SourceSpec]:
    a, b = registered(folder / "a"), registered(folder / "b", chat_rows(70)[40:])
    return dataclasses.replace(a, name="a"), dataclasses.replace(b, name="b")


def spec_of(folder: Path, *log: MixtureEntry, **changes) -> RunSpec:
    """A run over two sources whose log begins with equal weights."""
    stream = {"sources": sources(folder / "data"), "mixture": (MixtureEntry(1, (1.0, 1.0)), *log)}
    return run_spec(folder, stream=stream, validation_fraction=0.0, **changes)


def with_entry(spec: RunSpec, entry: MixtureEntry) -> StreamSpec:
    stream = StreamSpec.from_json(spec.stream)
    return dataclasses.replace(stream, mixture=(*stream.mixture, entry))


def history(heard: list[Line]) -> dict[int, tuple]:
    """All that steps report of what they were trained on and what came of it."""
    return {line.step: (line.train_loss, line.rows_digest, line.row_losses, line.source_drawn, line.source_losses)
            for line in heard if isinstance(line, StepDone)}


def adapter(heard: list[Line]) -> bytes:
    last = [line for line in heard if isinstance(line, Saved)][-1]
    assert last.checkpoint == "final"
    return (Path(last.folder) / "adapter_model.safetensors").read_bytes()


def seen(heard: list[Line]) -> dict:
    return [line for line in heard if isinstance(line, Saved)][-1].seen


def finish(folder: Path, spec: RunSpec) -> list[Line]:
    with Supervised(folder, spec) as child:
        child.until()
        assert child.end() == 0, child.errors
        return child.heard


def is_step(number: int):
    return lambda line: isinstance(line, StepDone) and line.step >= number


def is_proposal(line: Line) -> bool:
    return isinstance(line, SteerProposed)


CHANGED = {"weights": (0.2, 0.8), "quarantined": (RowRef(0, 3), RowRef(1, 4), RowRef(1, 9))}


def test_a_change_while_running_is_the_run_whose_log_had_it_from_the_start(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with Supervised(tmp_path, spec) as child:
        child.until(is_step(4))
        child.say(Steer(1))
        proposed = child.until(is_proposal)
        assert isinstance(proposed, SteerProposed)
        child.say(SteerCommitted(1, with_entry(spec, MixtureEntry(proposed.from_step, **CHANGED)).to_json()))
        child.until()
        assert child.end() == 0, child.errors
    done_before = [line.step for line in child.heard[: child.heard.index(proposed)] if isinstance(line, StepDone)]
    assert proposed.from_step > done_before[-1] + 1
    assert isinstance(child.heard[-1], Finished)
    twin = finish(tmp_path, spec_of(tmp_path / "twin", MixtureEntry(proposed.from_step, **CHANGED)))
    assert history(child.heard) == history(twin)
    assert adapter(child.heard) == adapter(twin)
    assert seen(child.heard) == seen(twin)


def test_a_change_that_the_ledger_refuses_changes_nothing(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with Supervised(tmp_path, spec) as child:
        child.until(is_step(2))
        child.say(Steer(1))
        child.until(is_proposal)
        child.say(SteerCommitted(1, None))
        child.until()
        assert child.end() == 0, child.errors
    assert history(child.heard) == history(finish(tmp_path, spec_of(tmp_path / "twin")))


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_kill_around_the_commit_leaves_a_run_that_goes_on_exactly(is_committed: bool, tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with Supervised(tmp_path, spec) as child:
        child.until(is_step(4))
        child.say(Steer(1))
        proposed = child.until(is_proposal)
        assert isinstance(proposed, SteerProposed)
        steered = with_entry(spec, MixtureEntry(proposed.from_step, **CHANGED))
        if is_committed:
            child.say(SteerCommitted(1, steered.to_json()))
            child.until(is_step(proposed.from_step + 1))
        child.until(lambda line: isinstance(line, Saved))
        first = list(child.heard)
    assert is_committed or not any(is_step(proposed.from_step)(line) for line in first)
    saved = [line for line in first if isinstance(line, Saved)]
    again = finish(tmp_path, spec.model_copy(update={"stream": steered.to_json(), "resume_from": saved[-1].folder}))
    twin = finish(tmp_path, spec_of(tmp_path / "twin", MixtureEntry(proposed.from_step, **CHANGED)))
    assert {**history(first), **history(again)} == history(twin)
    assert adapter(again) == adapter(twin)
    assert seen(again) == seen(twin)


def test_two_changes_in_a_row_hold_one_after_the_other(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with Supervised(tmp_path, spec) as child:
        child.until(is_step(2))
        stream, steps = StreamSpec.from_json(spec.stream), []
        for number, weights in ((1, (0.0, 1.0)), (2, (1.0, 0.25))):
            child.say(Steer(number))
            proposed = child.until(is_proposal)
            assert isinstance(proposed, SteerProposed)
            steps.append(MixtureEntry(proposed.from_step, weights))
            stream = dataclasses.replace(stream, mixture=(*stream.mixture, steps[-1]))
            child.say(SteerCommitted(number, stream.to_json()))
        child.until()
        assert child.end() == 0, child.errors
    assert steps[1].from_step > steps[0].from_step
    assert history(child.heard) == history(finish(tmp_path, spec_of(tmp_path / "twin", *steps)))


def test_a_source_that_joins_is_evaluated_on_from_its_step_on_also_after_a_kill(tmp_path: Path) -> None:
    a, b = sources(tmp_path / "data")
    spec = run_spec(tmp_path, stream={"sources": (a,)}, validation_fraction=0.3, eval_every_steps=1)
    joined = dataclasses.replace(StreamSpec.from_json(spec.stream), sources=(a, b))
    with Supervised(tmp_path, spec) as child:
        child.until(is_step(2))
        child.say(Steer(1))
        proposed = child.until(is_proposal)
        assert isinstance(proposed, SteerProposed)
        joined = dataclasses.replace(joined, mixture=(*joined.mixture, MixtureEntry(proposed.from_step, (0.5, 0.5))))
        child.say(SteerCommitted(1, joined.to_json()))
        child.until(is_step(proposed.from_step + 1))
        child.until(lambda line: isinstance(line, Saved))
        first = list(child.heard)
    resumed = [line for line in first if isinstance(line, Saved)][-1].folder
    again = finish(tmp_path, spec.model_copy(update={"stream": joined.to_json(), "resume_from": resumed}))
    told = {line.step: line for line in [*first, *again] if isinstance(line, StepDone)}
    assert [set(told[step].source_valid_losses) for step in sorted(told)] == [
        {"a", "b"} if step >= proposed.from_step else {"a"} for step in sorted(told)]
    assert all(line.valid_loss for line in told.values())


class Between:
    """A keeper without news, a scribe with one answer, and a child: all that a Steering stands between."""

    pending = None

    def __init__(self, answer: SteerCommitted) -> None:
        self.answers, self.noted, self.heard = [answer], [], []

    def take_answers(self) -> list[SteerCommitted]:
        answers, self.answers = self.answers, []
        return answers

    def note(self, report: Line) -> None:
        self.noted.append(report)

    def send(self, command: Line) -> bool:
        self.heard.append(command)
        return True


def test_an_answer_waits_until_the_operators_file_is_in_order_and_the_log_says_so_once(tmp_path: Path) -> None:
    (source,) = sources(tmp_path)[:1]
    there = dataclasses.replace(source, shards=tuple(dataclasses.replace(shard, place="lake") for shard in source.shards))
    answer = SteerCommitted(1, dataclasses.replace(StreamSpec.from_json(spec_of(tmp_path).stream), sources=(there,)).to_json())
    between = Between(answer)
    steering = Steering(between, between, Settings(home=tmp_path), project="acme")  # type: ignore[arg-type]
    (tmp_path / "places.toml").write_text("[places.lake]")
    for _ in range(2):
        steering.turn(between)  # type: ignore[arg-type]
    assert between.heard == []
    (told,) = between.noted
    assert isinstance(told, Warned)
    assert "places.lake.url is missing" in told.message
    (tmp_path / "places.toml").write_text('[places.lake]\nurl = "file:///srv"')
    steering.turn(between)  # type: ignore[arg-type]
    assert [type(line) for line in between.heard] == [Given, SteerCommitted]

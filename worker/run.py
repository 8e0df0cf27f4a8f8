"""The training child: `python -m worker.run SPEC`, from a RunSpec in a JSON file to an adapter in a folder.

It knows folders and numbers: no database, no Redis, no key. In order: read the spec, tie up with the supervisor, read where the
run stands, start the read-ahead process, and only then import torch, so that the first batch is ready when the model is.
Every ending is one report: Finished, Stopped, or Failed with whose fault it is; the traceback goes to standard error.
Exit code 0 after Finished and Stopped, 1 after Failed.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.data.packing import made_up_step
from core.data.spec import MicroBatch, Position, StreamSpec
from core.errors import ConfigurationError, DataError, HeadraceError, OutOfMemory, RequestError, RunRejected
from core.specs.run import RunSpec
from core.specs.versions import read_run_spec
from worker.child import Child, open_child
from worker.feed import Feed
from worker.held_out import HeldOutRows, stream_after
from worker.ranks import Member, read_member
from worker.reports import Alive, Failed, FailureKind, PhaseChanged, Started
from worker.sharing import Sharing, open_sharing, share_of
from worker.shortage import is_out_of_memory
from worker.training.state import Origin, State, read_state

if TYPE_CHECKING:
    from worker.training.loop import Training

SETTINGS = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
            "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE"}
"""For the libraries, unless the environment says otherwise. Nothing is fetched, no bars are drawn into the log, and torch's
threads sleep while they wait for each other: spinning, two threads on cores shared with others ran at 7 tokens/s where
sleeping ones ran at 45."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m worker.run SPEC", file=sys.stderr)
        return 2
    child = open_child()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        run(read_run_spec(Path(arguments[0]).read_bytes()), child)
    except BaseException as error:
        traceback.print_exc()
        child.report(failure(error))
        return 1
    return 0


def run(spec: RunSpec, child: Child) -> None:
    """Train what is left of `spec`; returns after Finished or Stopped was reported."""
    child.report(PhaseChanged("loading"))
    member = read_member(os.environ, ranks=spec.ranks)
    stream = StreamSpec.from_json(spec.stream)
    state = where_it_stands(spec, stream)
    child.stands_at(state.step)
    sharing = open_sharing(member, places=lambda read: child.given_places(read.place_names), is_stopping=child.is_stopping)
    with ExitStack() as opened:
        feed = None
        if state.step < spec.total_steps:
            feed = opened.enter_context(Feed(stream, state.position, total_steps=spec.total_steps, child=child,
                                             open_ahead=partial(sharing.open, processes=spec.loader_processes),
                                             skipped=state.skipped))
            child.on_stop(feed.interrupt)
        ties = _Ties(child, member, sharing, feed)
        training, restored = _build(spec, lambda: feed.stream if feed else stream, state, ties, opened)
        child.begins()
        training.run(feed or iter(()), wait_seconds=lambda: feed.wait_seconds if feed else 0.0, random_state=restored)


@dataclass(frozen=True)
class _Ties:
    """To whom a run belongs: its supervisor, the other ranks, its rows."""

    child: Child
    member: Member
    sharing: Sharing
    feed: Feed | None


def where_it_stands(spec: RunSpec, stream: StreamSpec) -> State:
    if spec.resume_from is None:
        return State(position=Position(), limit_tokens=spec.limit_tokens)
    state = read_state(Path(spec.resume_from), origin_of(spec, lambda: stream))
    return replace(state, limit_tokens=min((n for n in (state.limit_tokens, spec.limit_tokens) if n), default=None))


def origin_of(spec: RunSpec, stream: Callable[[], StreamSpec]) -> Origin:
    """What a checkpoint is checked against; `stream` gives what is read now, whose mixture log grows."""
    return Origin(stream().fingerprint(), lambda step: stream().mixture_digest(step), schedule_of(spec))


def schedule_of(spec: RunSpec) -> dict:
    """What must not change between two runs of a job, beside the stream."""
    return {"total_steps": spec.total_steps, **spec.optimizer.model_dump()}


def failure(error: BaseException) -> Failed:
    """Say whose fault an ending is: the user's, the memory's, or the infrastructure's.

    A base model's folder that is refused counts with the user's: no retry would change it. An index that is gone does not: it
    was ours to keep, and the next run may fetch it again. The memory's is what does not fit after less was tried. Memory that
    ran out elsewhere, as while the model is loaded, may be another process's doing, so it counts with the infrastructure's.
    """
    if isinstance(error, (DataError, RunRejected, RequestError, ConfigurationError)) and error.code != "index_missing":
        return _failed("user", error)
    return _failed("memory" if isinstance(error, OutOfMemory) else "infrastructure", error)


def _failed(kind: FailureKind, error: BaseException) -> Failed:
    if isinstance(error, HeadraceError):
        return Failed(kind, error.code, error.message, error.param)
    cause = f"{type(error).__name__}: {error}"[:500]
    if is_out_of_memory(error):
        return Failed(kind, "out_of_memory", (
            f"memory ran out where no smaller micro-batch helps, as while the model is loaded ({cause}); see whether another "
            "process uses the device, else choose a smaller base model or a larger device"))
    return Failed(kind, "storage_full" if getattr(error, "errno", None) == 28 else "run_interrupted", cause)


def _build(spec: RunSpec, stream: Callable[[], StreamSpec], state: State, ties: _Ties, opened: ExitStack
           ) -> tuple[Training, dict | None]:
    """Import torch and build all that trains; the random state of the checkpoint is handed on, to be restored last."""
    child, member, feed = ties.child, ties.member, ties.feed
    gc.disable()  # thousands of modules come, none goes: a fifth of the time would be spent looking for garbage
    from worker.training.device import open_device

    child.report(Alive(1))
    from worker.training.around import Steering, Surroundings
    from worker.training.checkpointing import Elsewhere, Saver, restore
    from worker.training.group import open_group
    from worker.training.loop import Training
    from worker.training.model import build_model
    from worker.training.optimizer import build_optimizer
    from worker.training.probe import Probing
    from worker.training.publishing import KEPT_BY_HAND, KEPT_UNDER_SUPERVISOR
    from worker.training.sampling import Sampler
    from worker.training.space import Room

    gc.enable()
    gc.freeze()
    child.report(Alive(2))
    device = open_device(spec.device, spec.dtype, threads=spec.threads, seed=spec.seed, rank=member.rank)
    base = Path(spec.base_model)
    model = build_model(
        base, device=device, lora=spec.lora, base_model_name=spec.base_model_name,
        initial_adapter=Path(spec.initial_adapter) if spec.initial_adapter else None,
        gradient_checkpointing=spec.gradient_checkpointing)
    child.report(Alive(3))
    optimizer = build_optimizer(model.parameters, spec.optimizer, total_steps=spec.total_steps,
                                is_scaled=device.dtype_name == "fp16")
    restored = restore(Path(spec.resume_from), model, optimizer, rank=member.rank) if spec.resume_from else None
    if restored is None and (member.rank or spec.resume_from):
        restored = device.fresh_random_state(spec.seed, rank=member.rank, step=state.step)
    if optimizer.scaler is not None and state.scaler:
        optimizer.scaler.load_state_dict(state.scaler)
    group = open_group(member, place=device.place)
    saver = Saver(Path(spec.folder), base_model=base, origin=origin_of(spec, stream), report=child.report,
                  keep=KEPT_UNDER_SUPERVISOR if child.is_supervised else KEPT_BY_HAND,
                  room=Room(Path(spec.folder), min_free_bytes=spec.min_free_bytes, report=child.report),
                  ) if group.is_first else Elsewhere()
    sampler = Sampler(base, spec.sample_prompts, spec.sample_max_tokens) if spec.sample_prompts and group.is_first else None
    steering = Steering(lambda: feed.proposed, feed.expect) if feed else Steering()
    child.report(Started(
        from_step=state.step, total_steps=spec.total_steps, parameters=model.base_parameters,
        trainable_parameters=sum(p.numel() for p in model.parameters.values()), device=spec.device, dtype=device.dtype_name,
        ranks=spec.ranks,
        warnings=[] if model.can_pack else ["this architecture cannot share a row between examples; each goes alone"]))
    training = Training(
        spec, state, model=model, optimizer=optimizer, saver=saver,
        names=lambda: [source.name for source in stream().sources],
        validation=_validation(spec, ties, stream, state.step, opened), sampler=sampler,
        around=Surroundings(child.report, child.is_stopping, group=group, steering=steering),
        probing=Probing(lambda: longest_step(stream(), member), stream().micro_batch_tokens) if spec.probes else None)
    return training, restored


def _validation(spec: RunSpec, ties: _Ties, stream: Callable[[], StreamSpec], step: int, opened: ExitStack
                ) -> HeldOutRows | None:
    """What gives this rank's share of the rows to evaluate on; `stream` gives what is trained on now: sources may join it."""
    if spec.validation is None:
        return None
    told = StreamSpec.from_json(spec.validation)
    rows = opened.enter_context(closing(HeldOutRows(
        lambda step: stream_after(told, stream(), step), ties.sharing.open, is_read_elsewhere=bool(ties.member.hand_fds),
        share=lambda read: share_of(read, ties.member))))
    ties.child.on_stop(rows.interrupt)
    rows.open(step)
    return rows


def longest_step(stream: StreamSpec, member: Member) -> Sequence[MicroBatch]:
    """A rank's share of a step of the longest rows. Rows in places are not fetched for it, and which rows of Parquet are long
    is not known: made-up ones, as long as a row may be, stand for them."""
    rows = -(-stream.batch_size // member.ranks)
    if stream.place_names or any(shard.kind == "parquet" for source in stream.sources for shard in source.shards):
        return made_up_step(rows, length=stream.max_length, budget_tokens=stream.micro_batch_tokens)
    from core.data.pipeline import open_stream

    with open_stream(share_of(stream, member)) as opened:
        return opened.longest_step(rows)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)

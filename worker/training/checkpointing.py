"""The state of a step's border → a folder that survives anything, and back.

A save is a snapshot in memory (at the border, while training waits) and a write (in a thread, while training goes on), which
publishes a folder whole or not at all (`publishing.py`). One write runs at a time; the next save waits for it. When the disk
has no room (`space.py`), a checkpoint is left out and training goes on; the last step's waits for room, until the run is told
to stop.

Reading back trusts nothing that the manifest does not vouch for and unpickles nothing.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from core.errors import RunInterrupted
from worker.model_folder import TOKENIZER_FILES
from worker.reports import CheckpointKind, Line, Saved
from worker.training.model import Model, adapter_files, load_adapter
from worker.training.optimizer import Optimizer
from worker.training.publishing import KEPT_BY_HAND, Publisher
from worker.training.space import Room, is_full
from worker.training.state import Origin, State

LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 3000.0
"""How long the last checkpoint waits for room, holding its device, before the run is given up."""


@dataclass(frozen=True)
class Snapshot:
    """Everything a checkpoint holds, apart from the run that goes on."""

    state: State
    adapter: dict[str, torch.Tensor]
    adapter_config: bytes
    moments: dict[str, torch.Tensor]
    random_state: dict[str, torch.Tensor]

    @property
    def bytes(self) -> int:
        """What it takes on the disk, but for a few KB."""
        return sum(tensor.nbytes for part in (self.adapter, self.moments, self.random_state) for tensor in part.values())


def snapshot(state: State, model: Model, optimizer: Optimizer, random_states: Sequence[dict[str, torch.Tensor]]) -> Snapshot:
    """Copy the run's tensors to the host; `random_states` are those of the ranks, in their order."""
    adapter, config = adapter_files(model)
    joined = {_of_rank(rank) + name: tensor for rank, state in enumerate(random_states) for name, tensor in state.items()}
    return Snapshot(replace(state, ranks=len(random_states)), _copied(adapter), config, _copied(optimizer.tensors()), joined)


def restore(folder: Path, model: Model, optimizer: Optimizer, *, rank: int = 0) -> dict[str, torch.Tensor] | None:
    """Put a verified checkpoint's tensors in place; return the rank's random state, which the caller restores last.

    None for a rank that the checkpoint knows nothing of: it was written by fewer.
    """
    load_adapter(model.peft, load_file(folder / "adapter_model.safetensors"), folder)
    optimizer.restore(load_file(folder / "optimizer.safetensors"))
    saved, prefix = load_file(folder / "rng.safetensors"), _of_rank(rank)
    mine = {name.removeprefix(prefix): tensor for name, tensor in saved.items()
            if name.startswith(prefix) and "." not in name.removeprefix(prefix)}
    return mine or None


def _of_rank(rank: int) -> str:
    """What stands before the names of a rank's random state; nothing for rank 0."""
    return f"rank{rank}." if rank else ""


class Elsewhere:
    """Stands where a Saver does on the ranks that write nothing."""

    is_busy = False
    kept_step = 0

    def can_save(self, kind: CheckpointKind, step: int) -> bool:
        return False

    def open(self, from_step: int) -> None:
        pass

    def save(self, taken: Snapshot, kind: CheckpointKind, metrics: dict[str, float]) -> None:
        raise AssertionError("rank 0 alone writes checkpoints")

    def wait(self, before_each: Callable[[], None] = lambda: None) -> None:
        pass

    def hurry(self) -> None:
        pass


class Saver:
    """Writes checkpoints of one run into `folder/checkpoints`."""

    def __init__(self, folder: Path, *, base_model: Path, origin: Origin, report: Callable[[Line], None],
                 keep: int = KEPT_BY_HAND, room: Room | None = None) -> None:
        self._publisher = Publisher(folder, keep=keep)
        self._room = room or Room(folder, min_free_bytes=0, report=report)
        self._is_hurried = threading.Event()
        self.kept_step = 0
        """The step of the border that was saved last, or that the run began at."""
        self._tokenizer_files = [base_model / name for name in TOKENIZER_FILES if (base_model / name).is_file()]
        self._origin = origin
        self._report = report
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def open(self, from_step: int) -> None:
        """Make the folder and clear it of what no one can name: unfinished writes, and recovery points ahead of the start."""
        self.kept_step = from_step
        self._publisher.open(from_step)

    @property
    def is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def can_save(self, kind: CheckpointKind, step: int) -> bool:
        """Say whether to take a snapshot at this border; no while another recovery point is written, or the disk is short."""
        if kind == "recovery" and self.is_busy:
            return False
        if kind == "final" or self.is_busy or not self._room.is_short or self._room.is_back(step=step):
            return True
        self._leave_out(step, kind)
        return False

    def save(self, taken: Snapshot, kind: CheckpointKind, metrics: dict[str, float]) -> None:
        """Begin to write a snapshot, after the write before it has ended."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(taken, kind, metrics), name="checkpoint-writer")
        self._thread.start()

    def wait(self, before_each: Callable[[], None] = lambda: None) -> None:
        """Wait until what was begun is durable and reported, or left out; raises what the write raised.

        `before_each` is called now and then; what it raises ends the waiting."""
        while self._thread is not None:
            before_each()
            self._thread.join(LOOK_SECONDS)
            if not self._thread.is_alive():
                self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def hurry(self) -> None:
        """From here on no save waits for room: it takes from what is kept free, or is left out."""
        self._is_hurried.set()

    def _write(self, taken: Snapshot, kind: CheckpointKind, metrics: dict[str, float]) -> None:
        """Write, or leave it out for want of room; the last step's waits for room as long as nobody hurries it."""
        given_up_at = time.monotonic() + PATIENCE_SECONDS
        try:
            while True:
                is_last_try = kind != "final" or self._is_hurried.is_set()
                if self._is_written(taken, kind, metrics):
                    break
                if is_last_try:
                    self._leave_out(taken.state.step, kind)
                    break
                if time.monotonic() > given_up_at:
                    raise RunInterrupted(f"the disk had no room for the last checkpoint for {PATIENCE_SECONDS:.0f} seconds; "
                                         "make room: the job goes on from the checkpoint before it", code="storage_full")
                self._is_hurried.wait(LOOK_SECONDS)
        except BaseException as error:
            self._error = error

    def _leave_out(self, step: int, kind: CheckpointKind) -> None:
        if kind == "listed":
            self._room.miss(step)

    def _is_written(self, taken: Snapshot, kind: CheckpointKind, metrics: dict[str, float]) -> bool:
        """Write a snapshot and report it; False when there is no room for it."""
        step = taken.state.step
        if not self._room.is_there(taken.bytes, step=step, from_reserve=self._is_hurried.is_set()):
            return False
        try:
            published = self._publisher.publish(step, kind, partial(self._write_files, taken, kind))
        except Exception as error:
            if not is_full(error):
                raise
            self._room.ran_out(taken.bytes, step=step)
            return False
        self.kept_step = step
        self._room.saved(published.bytes, step=step)
        self._report(Saved(step, kind, str(published.folder), published.digest, published.bytes,
                           taken.state.position.to_json(), metrics, taken.state.seen.to_json()))
        self._publisher.prune()
        return True

    def _write_files(self, taken: Snapshot, kind: CheckpointKind, aside: Path) -> None:
        save_file(taken.adapter, aside / "adapter_model.safetensors", metadata={"format": "pt"})
        save_file(taken.moments, aside / "optimizer.safetensors")
        save_file(taken.random_state, aside / "rng.safetensors")
        (aside / "adapter_config.json").write_bytes(taken.adapter_config)
        (aside / "state.json").write_bytes(taken.state.to_json(origin=self._origin, torch_version=torch.__version__))
        for file in aside.iterdir():
            file.chmod(0o644)
        for file in self._tokenizer_files if kind != "recovery" else []:
            shutil.copyfile(file, aside / file.name)


def _copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import RunInterrupted
from core.specs.run import OptimizerSpec
from core.storage import manifest
from tests.tiny_model import tiny_base
from tests.worker.making import FINGERPRINT, ORIGIN, run_spec, tiny, train
from worker.reports import Line, Saved
from worker.training.checkpointing import Saver, Snapshot, snapshot
from worker.training.optimizer import build_optimizer
from worker.training.state import State, read_state


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Saved]:
    heard: list[Line] = []
    train(run_spec(tmp_path_factory.mktemp("trained")), report=heard.append)
    return [line for line in heard if isinstance(line, Saved)]


def saver(folder: Path, heard: list[Line]) -> Saver:
    made = Saver(folder, base_model=tiny_base(), origin=ORIGIN, report=heard.append)
    made.open(0)
    return made


def taken(step: int) -> Snapshot:
    return Snapshot(State(step=step), {"a": torch.ones(3)}, b"{}\n", {"w.exp_avg": torch.zeros(3)},
                    {"cpu": torch.get_rng_state()})


def read(folder: str, **changes) -> State:
    return read_state(Path(folder), replace(ORIGIN, **changes))


def test_what_was_reported_verifies(trained: list[Saved]) -> None:
    for saved in trained:
        found = manifest.verify(Path(saved.folder), saved.manifest_digest)
        assert found.bytes == saved.bytes
        assert saved.position == read(saved.folder).position.to_json()


def test_a_listed_checkpoint_is_a_whole_adapter(trained: list[Saved]) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32)
    PeftModel.from_pretrained(base, trained[0].folder)
    assert AutoTokenizer.from_pretrained(trained[0].folder).chat_template


def test_adapter_files_hold_no_path_and_no_time(trained: list[Saved]) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        content = (Path(trained[0].folder) / name).read_bytes()
        assert str(tiny_base()).encode() not in content
        assert trained[0].folder.encode() not in content


def test_no_file_is_a_pickle(trained: list[Saved]) -> None:
    assert {path.suffix for path in Path(trained[0].folder).iterdir()} <= {".json", ".safetensors", ".jinja"}


def test_a_byte_that_changed_is_noticed_before_anything_is_loaded(trained: list[Saved], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained[0].folder, folder)
    content = bytearray((folder / "optimizer.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "optimizer.safetensors").write_bytes(content)
    with pytest.raises(manifest.FolderDamaged, match=r"optimizer\.safetensors"):
        read(str(folder))


def test_another_stream_is_refused_with_both_fingerprints(trained: list[Saved]) -> None:
    with pytest.raises(RunInterrupted, match=f"{FINGERPRINT}.*{'1e' * 16}"):
        read(trained[0].folder, fingerprint="1e" * 16)


def test_another_mixture_up_to_its_step_is_refused_with_both_digests(trained: list[Saved]) -> None:
    with pytest.raises(RunInterrupted, match=r"mixture digest up to 3, this run has changed at 3"):
        read(trained[0].folder, mixture_digest=lambda step: f"changed at {step}")


def test_another_schedule_is_refused_with_both(trained: list[Saved]) -> None:
    with pytest.raises(RunInterrupted, match=r"'total_steps': 6.*'total_steps': 7"):
        read(trained[0].folder, schedule={"total_steps": 7})


def test_a_save_is_reported_only_when_it_lies_under_its_name(tmp_path: Path) -> None:
    seen: list[bool] = []
    made = Saver(tmp_path, base_model=tiny_base(), origin=ORIGIN,
                 report=lambda line: seen.append(isinstance(line, Saved) and bool(manifest.verify(Path(line.folder)))))
    made.open(0)
    made.save(taken(1), "listed", {})
    made.wait()
    assert seen == [True]
    assert not list(tmp_path.glob("checkpoints/.tmp-*"))


def test_a_snapshot_is_not_touched_by_the_training_that_goes_on() -> None:
    model = tiny()
    optimizer = build_optimizer(model.parameters, OptimizerSpec(learning_rate=1e-3), total_steps=1)
    copied = snapshot(State(), model, optimizer, {})
    before = {name: tensor.clone() for name, tensor in copied.adapter.items()}
    with torch.no_grad():
        for parameter in model.parameters.values():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in copied.adapter.items())


def test_debris_of_a_crash_is_cleared_at_the_next_start(tmp_path: Path) -> None:
    heard: list[Line] = []
    debris = tmp_path / "checkpoints" / ".tmp-step-00000004"
    debris.mkdir(parents=True)
    (debris / "adapter_model.safetensors").write_bytes(b"half")
    saver(tmp_path, heard)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_recovery_points_ahead_of_the_start_are_cleared_and_those_behind_count(tmp_path: Path) -> None:
    heard: list[Line] = []
    first = saver(tmp_path, heard)
    for step in (3, 5, 8):
        first.save(taken(step), "recovery", {})
    first.wait()
    again = Saver(tmp_path, base_model=tiny_base(), origin=ORIGIN, report=heard.append)
    again.open(5)
    again.save(taken(6), "recovery", {})
    again.wait()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000005-recovery", "step-00000006-recovery"]


def test_a_save_takes_the_place_of_one_that_nobody_heard_of(tmp_path: Path) -> None:
    heard: list[Line] = []
    made = saver(tmp_path, heard)
    made.save(taken(1), "listed", {})
    made.wait()
    (tmp_path / "checkpoints/step-00000001/state.json").write_bytes(b"torn")
    made.save(taken(1), "listed", {})
    made.wait()
    manifest.verify(tmp_path / "checkpoints/step-00000001")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_a_write_that_fails_is_raised_at_the_next_wait_and_leaves_nothing(tmp_path: Path) -> None:
    heard: list[Line] = []
    made = saver(tmp_path, heard)
    (tmp_path / "checkpoints").rmdir()
    (tmp_path / "checkpoints").write_bytes(b"")
    made.save(taken(1), "listed", {})
    with pytest.raises(OSError, match="checkpoints"):
        made.wait()
    assert heard == []


def test_random_states_survive_a_file(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    save_file({"cpu": state}, tmp_path / "rng.safetensors")
    drawn = torch.rand(3)
    torch.set_rng_state(load_file(tmp_path / "rng.safetensors")["cpu"])
    assert torch.equal(torch.rand(3), drawn)


def test_files_are_readable_by_others(trained: list[Saved]) -> None:
    assert all(os.stat(path).st_mode & 0o044 for path in Path(trained[0].folder).iterdir())

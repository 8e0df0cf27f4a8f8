from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from core.checkpoints.models import Checkpoint
from core.data.spec import StreamSpec
from core.db.session import Ledger
from core.errors import RunInterrupted, Unavailable
from core.jobs.claims import Claim
from core.models.service import delete_model
from core.specs.run import RunSpec
from core.storage import manifest
from core.storage.artifacts import Artifacts
from core.storage.manifest import FolderDamaged
from tests import factories
from tests.worker.places import a_claim, a_place
from worker.compute import Compute, compute_for
from worker.run_spec import build_run_spec, fetch_parts, find_restorable, write_spec
from worker.supervisor import Place

CPU = Compute("cpu", "fp32", 512, 1, None)


def a_spec(place: Place, claim: Claim, compute: Compute = CPU) -> RunSpec:
    with place.ledger.read() as session:
        return build_run_spec(session, claim.job, claim.run, compute=compute, artifacts=place.artifacts,
                              settings=place.settings, restored=None)


def test_the_spec_carries_every_choice_of_the_plan(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    options = {"warmup_ratio": 0.25, "weight_decay": 0.1, "schedule": "linear", "eval_every_steps": 3, "sample_prompts": ["hi"]}
    claim = a_claim(place, total_steps=8, lora={"r": 4}, options=options, validation_split=0.25)
    spec = a_spec(place, claim)
    assert (spec.total_steps, spec.epoch_ends, spec.seed) == (8, [4, 8], 7)
    assert (spec.optimizer.warmup_steps, spec.optimizer.weight_decay, spec.optimizer.schedule) == (2, 0.1, "linear")
    assert (spec.lora.r, spec.lora.alpha) == (4, 8.0)
    assert (spec.eval_every_steps, spec.sample_prompts) == (3, ["hi"])
    assert spec.folder == str(tmp_path / "storage" / claim.run.folder_key)
    assert StreamSpec.from_json(spec.stream).micro_batch_tokens == 512
    assert spec.validation is not None
    assert StreamSpec.from_json(spec.validation).part == "validation"


def test_two_attempts_read_the_same_stream(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    claim = a_claim(place)
    other = Compute("cuda", "bf16", 8192, 4, "1")
    first, second = (StreamSpec.from_json(a_spec(place, claim, compute).stream) for compute in (CPU, other))
    assert first.fingerprint() == second.fingerprint()


def test_a_run_begins_with_the_model_that_was_deleted_since_its_job_was_taken_in(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    first = a_claim(place)
    with place.ledger.write() as session:
        name = factories.succeed(session, first).fine_tuned_model or ""
    claim = a_claim(place, model=name)
    with place.ledger.write() as session:
        delete_model(session, claim.job.project_id, name, now=factories.NOW)
        assert compute_for(session, claim.job, (), settings=place.settings, artifacts=place.artifacts).device == "cpu"
    final = place.artifacts.path(f"{first.run.folder_key}/checkpoints/step-12-final")
    assert a_spec(place, claim).initial_adapter == str(final)


def test_a_spec_is_written_whole_and_holds_no_secret(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    spec = a_spec(place, a_claim(place))
    path = write_spec(spec)
    assert RunSpec.model_validate(orjson.loads(path.read_bytes())).model_dump(mode="json") == spec.model_dump(mode="json")
    assert [entry.name for entry in path.parent.iterdir()] == ["spec.json"]


def a_saved(artifacts: Artifacts, step: int) -> Checkpoint:
    key = f"jobs/j/runs/000001-r/checkpoints/step-{step}"
    folder = artifacts.path(key)
    folder.mkdir(parents=True)
    (folder / "adapter").write_bytes(b"weights")
    return Checkpoint(job_id="j", step=step, folder_key=key, manifest_digest=manifest.seal(folder).digest)


def test_a_damaged_or_missing_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    newest, older, oldest = (a_saved(artifacts, step) for step in (3, 2, 1))
    artifacts.delete(newest.folder_key)
    (artifacts.path(older.folder_key) / "adapter").write_bytes(b"weightz")
    restored, damaged = find_restorable([newest, older, oldest], artifacts)
    assert (restored, [checkpoint for checkpoint, _ in damaged]) == (oldest, [newest, older])


def test_a_checkpoint_that_this_host_cannot_read_is_not_taken_for_damaged(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    newest, older = (a_saved(artifacts, step) for step in (2, 1))
    told = artifacts.path(newest.folder_key) / manifest.NAME
    told.unlink()
    told.symlink_to(told)  # the system refuses to follow it, as it may refuse any read
    with pytest.raises(Unavailable) as caught:
        find_restorable([newest, older], artifacts)
    assert caught.value.code == "host_fault"


def test_a_folder_that_is_not_mounted_has_lost_no_checkpoint(tmp_path: Path) -> None:
    found = [a_saved(Artifacts(tmp_path / "mounted"), step) for step in (2, 1)]
    with pytest.raises(Unavailable, match="see that the folder of the storage is mounted"):
        find_restorable(found, Artifacts(tmp_path / "empty"))


def test_a_job_none_of_whose_checkpoints_is_whole_begins_anew(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    found = [a_saved(artifacts, step) for step in (2, 1)]
    for checkpoint in found:
        artifacts.delete(checkpoint.folder_key)
    restored, damaged = find_restorable(found, artifacts)
    assert (restored, [checkpoint for checkpoint, _ in damaged]) == (None, found)


class Lost(Artifacts):
    """A storage that has lost what it is asked for."""

    def fetch(self, key: str) -> Path:
        raise FolderDamaged(f"{key} has no manifest in the storage")


def test_an_index_that_the_storage_has_lost_is_no_fault_of_the_jobs(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    claim = a_claim(place)
    with sqlite_ledger.read() as session, pytest.raises(RunInterrupted, match="register the data set again") as caught:
        fetch_parts(session, claim.job, Lost(tmp_path))
    assert caught.value.code == "index_missing"

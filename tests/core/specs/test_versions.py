from __future__ import annotations

import orjson
import pytest

from core.errors import RunRejected
from core.specs.job import SPEC_VERSION, JobSpec
from core.specs.run import RUN_SPEC_VERSION, OptimizerSpec, RunSpec
from core.specs.versions import read_job_spec, read_run_spec, up_to_date

JOB = {"model": "tiny", "training_file": "file-1"}


def run_spec(**changes: object) -> bytes:
    spec = RunSpec(folder="/r", base_model="/m", base_model_name="tiny", seed=1, stream={}, total_steps=1, epoch_ends=[1],
                   optimizer=OptimizerSpec(learning_rate=1e-3), lora={})  # pyright: ignore[reportArgumentType]
    return orjson.dumps({**spec.model_dump(mode="json"), **changes})


def test_a_spec_of_this_release_is_read() -> None:
    assert read_job_spec(JSON := JobSpec(**JOB).model_dump(mode="json"), SPEC_VERSION).model_dump(mode="json") == JSON
    assert read_run_spec(run_spec()).version == RUN_SPEC_VERSION


def test_a_spec_from_before_a_field_was_added_means_what_it_meant() -> None:
    """What the first release wrote had no micro-batch to choose, and a run none to probe."""
    told = JobSpec.model_validate({**JOB, "options": {"max_length": 99}}).model_dump(mode="json")
    del told["options"]["micro_batch_tokens"]
    assert read_job_spec(told, 1).options.micro_batch_tokens == "auto"  # pyright: ignore[reportOptionalMemberAccess]
    old = orjson.loads(run_spec())
    for field in ("probes", "limit_tokens"):
        del old[field]
    assert read_run_spec(orjson.dumps(old)).probes is False


@pytest.mark.parametrize("version", [SPEC_VERSION + 1, 99])
def test_a_spec_of_a_later_release_is_refused_in_words(version: int) -> None:
    with pytest.raises(RunRejected, match=rf"the spec of the job has version {version}, and this release reads versions 1 to "
                                          r"1; let a worker of that release run it, or upgrade this one"):
        read_job_spec(JOB, version)
    with pytest.raises(RunRejected, match=rf"the spec of the run has version {version}"):
        read_run_spec(run_spec(version=version))


def test_a_spec_that_no_step_leads_from_is_refused() -> None:
    with pytest.raises(RunRejected, match=r"has version 0, .* submit the job again"):
        read_job_spec(JOB, 0)


def test_a_field_that_this_release_does_not_know_is_named() -> None:
    with pytest.raises(RunRejected, match=r"does not fit this release: 'warp': Extra inputs"):
        read_job_spec({**JOB, "warp": 9}, 1)
    with pytest.raises(RunRejected, match=r"does not fit this release: 'warp'"):
        read_run_spec(run_spec(warp=9))


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"version": "two"}'])
def test_a_file_that_is_no_spec_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(RunRejected) as raised:
        read_run_spec(content)
    assert raised.value.code == "spec_unreadable"


def test_steps_lead_from_each_version_to_the_next() -> None:
    steps = {1: lambda told: {"b": told["a"]}, 2: lambda told: {**told, "c": 3}}
    assert up_to_date({"a": 1}, 1, newest=3, steps=steps) == {"b": 1, "c": 3}
    assert up_to_date({"b": 1}, 2, newest=3, steps=steps) == {"b": 1, "c": 3}
    assert up_to_date({"a": 1}, 1, newest=4, steps=steps) is None

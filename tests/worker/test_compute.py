from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.db.session import Ledger
from core.devices.models import Device
from core.errors import RunRejected
from core.estimates.shape import ModelShape, read_shape
from core.jobs.claims import Claim
from core.settings import Settings
from core.specs.job import TrainingOptions
from tests import factories
from tests.tiny_model import tiny_base
from tests.worker.places import a_claim, a_place
from worker.compute import Compute, as_before, compute_of
from worker.run_spec import build_run_spec, write_spec
from worker.supervisor import Place

AUTO = TrainingOptions()


def some(shape: ModelShape | None) -> ModelShape:
    assert shape is not None
    return shape


def a_device(kind: str, ordinal: int, memory_bytes: int = 80 << 30) -> Device:
    return Device(id=f"dev_{ordinal}", host="host", kind=kind, ordinal=ordinal, name="a device", memory_bytes=memory_bytes,
                  seen_at=factories.NOW)


def write(place: Place, claim: Claim, compute: Compute) -> None:
    with place.ledger.read() as session:
        write_spec(build_run_spec(session, claim.job, claim.run, compute=compute, artifacts=place.artifacts,
                                  settings=place.settings, restored=None))


def test_a_leased_card_is_the_only_one_that_the_child_sees() -> None:
    compute = compute_of([a_device("cuda", 3)], Settings(threads=2), AUTO)
    assert (compute.device, compute.visible, compute.threads, compute.ranks) == ("cuda", "3", 2, 1)


def test_each_device_has_a_rank_and_they_share_the_threads() -> None:
    compute = compute_of([a_device("cuda", number) for number in (1, 3, 4)], Settings(threads=8), AUTO)
    assert (compute.visible, compute.ranks, compute.threads) == ("1,3,4", 3, 2)
    assert compute.chosen.endswith("3 ranks share the rows of each step")


@pytest.mark.parametrize(("has_bf16", "dtype"), [(False, "fp32"), (True, "bf16")])
def test_a_cpu_computes_in_what_it_has_instructions_for(has_bf16: bool, dtype: str) -> None:
    compute = compute_of([a_device("cpu", 0)], Settings(threads=2), AUTO, has_bf16=has_bf16)
    assert (compute.device, compute.dtype, compute.visible) == ("cpu", dtype, None)
    assert compute.chosen.startswith(f"Training computes in {dtype}")


def test_a_cpu_that_is_asked_for_bf16_refuses_in_words() -> None:
    with pytest.raises(RunRejected, match=r"options\.precision is 'bf16', and the CPU of this worker does not multiply it"):
        compute_of([a_device("cpu", 0)], Settings(threads=2), TrainingOptions(precision="bf16"), has_bf16=False)


def test_a_smaller_card_gets_a_smaller_micro_batch() -> None:
    shape = dataclasses.replace(some(read_shape(tiny_base())), parameters=8_000_000_000)
    small, large = (compute_of([a_device("cuda", 0, memory)], Settings(threads=2), AUTO, shape=shape).micro_batch_tokens
                    for memory in (18 << 30, 80 << 30))
    assert small < large


def test_a_micro_batch_that_is_asked_for_is_taken_on_any_device() -> None:
    asked = TrainingOptions(micro_batch_tokens=1024)
    assert [compute_of([a_device(kind, 0)], Settings(threads=2), asked).micro_batch_tokens for kind in ("cpu", "cuda")] == [
        1024, 1024]


def test_a_later_attempt_computes_as_the_first_did(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    claim = a_claim(place)
    cpu, card = Compute("cpu", "fp32", 512, 1, None, chosen="new"), Compute("cuda", "fp16", 8192, 4, "0", chosen="new")
    write(place, claim, Compute("cpu", "fp32", 256, 3, None))
    with sqlite_ledger.read() as session:
        again = as_before(session, claim.job, cpu, [a_device("cpu", 0)], place.artifacts)
        elsewhere = as_before(session, claim.job, card, [a_device("cuda", 0)], place.artifacts)
    assert again == Compute("cpu", "fp32", 256, 3, None)
    assert elsewhere == card


def test_another_number_of_devices_is_another_number_of_ranks(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    claim = a_claim(place)
    write(place, claim, Compute("cpu", "fp32", 512, 4, None))
    two = Compute("cpu", "fp32", 512, 2, None, ranks=2, chosen="two")
    with sqlite_ledger.read() as session:
        assert as_before(session, claim.job, two, [a_device("cpu", 0), a_device("cpu", 1)], place.artifacts) == two

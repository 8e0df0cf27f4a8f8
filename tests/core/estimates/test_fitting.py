from __future__ import annotations

from core.devices.models import Device
from core.estimates.fitting import Group, fit_on, groups_of, load_of, needs_of, plan_on, way_on
from core.estimates.memory import Way
from core.estimates.shape import ModelShape
from core.specs.job import JobSpec

SHAPE = ModelShape.from_config({"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336,
                                "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}, 8_030_000_000)
GIB = 1 << 30


def load(*, batch_size: int = 8, longest: int = 1024, **options: object):
    spec = JobSpec.model_validate({"model": "m", "training_file": "file-1", "options": options})
    return load_of(spec, SHAPE, batch_size=batch_size, longest_tokens=longest)


def card(gigabytes: int, count: int = 1) -> Group:
    return Group("host", "cuda", "a card", gigabytes * GIB, count, (gigabytes * GIB,) * count)


def test_a_job_fits_where_its_longest_example_fits_alone() -> None:
    assert fit_on(load(), card(24)).reason is None
    small = fit_on(load(), card(16))
    assert small.reason is not None
    assert small.reason.startswith("it has 16.0 GiB of memory, and the longest example alone takes a device of 19.")
    assert "lower options.max_length or lora.r" in small.reason


def test_longer_examples_need_more() -> None:
    assert needs_of(load(longest=256))["cuda"] < needs_of(load(longest=8192))["cuda"]


def test_several_devices_must_be_on_one_host() -> None:
    assert fit_on(load(devices=2), card(24, count=2)).reason is None
    assert fit_on(load(devices=2), card(24)).reason == "the host has 1 that would do, and options.devices asks for 2"


def test_devices_of_one_kind_and_host_train_together_though_some_are_larger() -> None:
    def group(kind: str, gigabytes: int, host: str = "host") -> Device:
        return Device(host=host, kind=kind, name=f"{gigabytes} GB", memory_bytes=gigabytes * GIB)

    two = load(devices=2)
    found = groups_of([group("cuda", 80), group("cuda", 24), group("cuda", 16), group("cpu", 64), group("cuda", 24, "other")])
    fitting = [(each.host, each.name) for each in found if fit_on(two, each).reason is None]
    assert fitting == [("host", "80 GB"), ("host", "24 GB")]


def test_a_cpu_computes_in_no_fp16() -> None:
    cpu = Group("host", "cpu", "x86_64", 64 * GIB, 1, (64 * GIB,))
    assert fit_on(load(), cpu).reason is None
    refused = fit_on(load(precision="fp16"), cpu)
    assert refused.reason == "options.precision is 'fp16', and no CPU computes in it; ask for 'auto'"
    assert set(needs_of(load(precision="fp16"))) == {"cuda"}
    assert needs_of(load(precision="bf16"))["cpu"] < needs_of(load())["cpu"]
    assert way_on("cuda", "auto") == Way("bf16", is_cuda=True)


def test_a_step_with_few_tokens_takes_no_more_memory_than_they_do() -> None:
    """A budget of thousands of tokens is not reckoned with where a step has a few hundred."""
    way = Way("bf16", is_cuda=True)
    few, many = plan_on(load(batch_size=2, longest=100), way, 80 * GIB), plan_on(load(batch_size=256), way, 80 * GIB)
    assert few.micro_batch_tokens == many.micro_batch_tokens
    assert few.memory.activations < many.memory.activations / 10


def test_a_micro_batch_that_is_asked_for_is_reckoned_with() -> None:
    way = Way("bf16", is_cuda=True)
    found = [plan_on(load(batch_size=256, micro_batch_tokens=tokens), way, 80 * GIB) for tokens in (1024, 4096)]
    assert [planned.micro_batch_tokens for planned in found] == [1024, 4096]
    assert found[0].memory.total < found[1].memory.total

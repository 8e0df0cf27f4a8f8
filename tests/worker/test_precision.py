from __future__ import annotations

import pytest

from core.devices.discovery import Capability
from core.errors import RunRejected
from worker.precision import can_multiply, choose

Gpus = list[tuple[str, Capability | None]]
A100, T4, P100, P40, ODD = ("A100", (8, 0)), ("T4", (7, 5)), ("P100", (6, 0)), ("P40", (6, 1)), ("odd", None)


@pytest.mark.parametrize(("gpus", "expected"), [
    ([], ["fp32"]), ([A100], ["bf16", "fp16", "fp32"]), ([("B200", (10, 0))], ["bf16", "fp16", "fp32"]),
    ([T4], ["fp16", "fp32"]), ([P100], ["fp16", "fp32"]), ([P40], ["fp32"]), ([ODD], ["fp16", "fp32"]),
    ([A100, T4], ["fp16", "fp32"]), ([A100, ODD], ["fp16", "fp32"]),
])
def test_what_all_devices_multiply_the_best_first(gpus: Gpus, expected: list[str]) -> None:
    assert can_multiply(gpus) == expected
    assert choose("auto", gpus).dtype == expected[0]


@pytest.mark.parametrize(("gpus", "words"), [
    ([], "Training computes in fp32 (float32): this CPU multiplies the shorter kinds only by detours"),
    ([A100], "Training computes in bf16 (bfloat16): A100 has compute capability 8.0 and multiplies it"),
    ([A100, T4], "fp16 (float16 with a loss scaler): T4 has compute capability 7.5, and bf16 begins at 8.0"),
    ([P40], "fp32 (float32): P40 has compute capability 6.1, and bf16 begins at 8.0 and fast fp16 at 7.0"),
    ([ODD], "fp16 (float16 with a loss scaler): the driver does not say what odd multiplies"),
])
def test_the_choice_is_told_with_its_reason(gpus: Gpus, words: str) -> None:
    assert words in choose("auto", gpus).sentence()


def test_a_cpu_with_instructions_for_bf16_takes_it_unless_fp32_is_asked_for() -> None:
    assert can_multiply([], has_bf16=True) == ["bf16", "fp32"]
    assert choose("auto", [], has_bf16=True).sentence().endswith("in bf16 (bfloat16): this CPU has instructions for it")
    assert choose("fp32", [], has_bf16=True).dtype == "fp32"


def test_what_is_asked_for_is_taken_where_it_is_there() -> None:
    assert choose("fp32", [A100]).dtype == "fp32"
    assert choose("fp16", [T4]).sentence().endswith("options.precision asks for it")


@pytest.mark.parametrize(("asked", "gpus", "words"), [
    ("bf16", [], r"the CPU of this worker does not multiply it; ask for 'auto' or 'fp32'"),
    ("bf16", [T4], r"is 'bf16', and T4 does not multiply it; ask for 'auto' or 'fp16' or 'fp32'"),
    ("fp16", [P40], r"P40 does not multiply it"),
])
def test_what_is_not_there_is_refused_with_what_is(asked, gpus: Gpus, words: str) -> None:
    with pytest.raises(RunRejected, match=words) as caught:
        choose(asked, gpus)
    assert (caught.value.code, caught.value.param) == ("precision_unavailable", "options.precision")

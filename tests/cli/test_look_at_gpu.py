from __future__ import annotations

import pytest

from cli.look_at_gpu import gpu_finding
from core.devices.discovery import Driver
from core.devices.service import FoundDevice

CPU = FoundDevice(kind="cpu", ordinal=0, name="a processor", memory_bytes=8 << 30)
GPU = FoundDevice(kind="cuda", ordinal=0, name="NVIDIA L4", memory_bytes=24 << 30)
DRIVER = Driver(version="570.1", cuda="12.8", gpus=2)


@pytest.mark.parametrize(("torch_cuda", "verdict", "words"), [
    ("12.8", "ok", "NVIDIA L4 (25.8 GB), driver 570.1, CUDA 12.8"), ("12.9", "ok", "NVIDIA L4"), ("", "ok", "NVIDIA L4"),
    (None, "fault", "torch is a build without CUDA: install one for CUDA 12.8 or older, or set HEADRACE_DEVICE=cpu"),
    ("13.0", "fault", "needs CUDA 13.0: update the driver, or install a torch for CUDA 12.8")])
def test_a_gpu_that_torch_cannot_use_is_a_fault_that_says_what_to_do(torch_cuda: str | None, verdict: str, words: str) -> None:
    found = gpu_finding([GPU], DRIVER, is_cpu_asked=False, visible=None, torch_cuda=torch_cuda)
    assert found.verdict == verdict
    assert words in found.says


@pytest.mark.parametrize(("driver", "visible", "words"), [
    (None, None, "no NVIDIA driver answers"), (DRIVER, "7", "CUDA_VISIBLE_DEVICES='7' shows none of its 2 GPUs; unset it"),
    (DRIVER, None, "knows of no GPU; see `nvidia-smi`")])
def test_training_on_the_cpu_is_told_plainly_with_its_cause(driver: Driver | None, visible: str | None, words: str) -> None:
    found = gpu_finding([CPU], driver, is_cpu_asked=False, visible=visible, torch_cuda=None)
    assert found.verdict == "note"
    assert found.says.startswith("no GPU: jobs train on the CPU")
    assert words in found.says


def test_training_on_the_cpu_is_well_where_it_was_asked_for() -> None:
    found = gpu_finding([CPU], DRIVER, is_cpu_asked=True, visible=None, torch_cuda=None)
    assert found.verdict == "ok"
    assert found.says.endswith("as HEADRACE_DEVICE=cpu asks")

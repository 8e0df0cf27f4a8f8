from __future__ import annotations

from pathlib import Path

import pytest

from core.devices.discovery import cpu_multiplies_bf16, find_cpu, find_devices, find_gpus, visible
from core.errors import ConfigurationError

UUIDS = ["GPU-aaaa", "GPU-bbbb", "GPU-cccc"]


def shown(setting: str | None) -> list[int]:
    return visible(setting, 3, UUIDS.__getitem__)


@pytest.mark.parametrize("setting, expected", [
    (None, [0, 1, 2]), ("", []), ("1", [1]), ("2,0", [2, 0]), ("GPU-bb", [1]), ("0,7,1", [0]), ("-1", []), ("0, 2", [0, 2]),
])
def test_visible_devices_are_read_as_cuda_reads_them(setting: str | None, expected: list[int]) -> None:
    assert shown(setting) == expected


def test_the_cpu_is_one_device_with_its_memory() -> None:
    cpu = find_cpu()
    assert (cpu.kind, cpu.ordinal) == ("cpu", 0)
    assert cpu.memory_bytes > 1 << 28


@pytest.mark.parametrize(("told", "expected"), [
    ("flags\t\t: fpu avx512f avx512_bf16\n", True), ("flags\t\t: fpu avx512f amx_bf16 amx_tile\n", True),
    ("Features\t: fp asimd bf16 i8mm\n", True), ("flags\t\t: fpu avx2\nbugs\t\t: bf16\n", False), ("", False),
])
def test_the_kernel_tells_whether_a_cpu_multiplies_bf16(told: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{told}")
    assert cpu_multiplies_bf16(tmp_path / "cpuinfo") is expected
    assert not cpu_multiplies_bf16(tmp_path / "missing")


def test_cpu_that_was_asked_for_is_all_there_is() -> None:
    assert find_devices("cpu") == [find_cpu()]


@pytest.mark.skipif(bool(find_gpus()), reason="this machine has a GPU")
def test_a_gpu_that_is_demanded_and_not_there_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="HEADRACE_DEVICE is 'cuda'"):
        find_devices("cuda")
    assert find_devices("auto") == [find_cpu()]

"""What this host computes on: its NVIDIA GPUs by NVML, else its CPU. No torch, so it costs nothing at a worker's start."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.devices.service import FoundDevice
from core.errors import ConfigurationError

Wanted = Literal["auto", "cpu", "cuda"]
Capability = tuple[int, int]
"""What an NVIDIA GPU can do, as CUDA numbers it: (8, 0) is the A100."""
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""As Linux names them: the first two on x86, the last on ARM."""


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver of this host."""

    version: str
    cuda: str
    """The newest CUDA that it runs, such as "13.0"."""
    gpus: int
    """How many there are, whether or not CUDA_VISIBLE_DEVICES shows them."""


def find_devices(wanted: Wanted) -> list[FoundDevice]:
    """List the devices that train workers of this host use; raise ConfigurationError when GPUs are demanded and none is
    there."""
    gpus = [] if wanted == "cpu" else find_gpus()
    if wanted == "cuda" and not gpus:
        raise ConfigurationError(
            "HEADRACE_DEVICE is 'cuda' and no NVIDIA GPU answers on this host; install its driver, or set HEADRACE_DEVICE=auto"
        )
    return gpus or [find_cpu()]


def find_cpu() -> FoundDevice:
    """The whole CPU as one device: runs on it take turns."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return FoundDevice(kind="cpu", ordinal=0, name=platform.processor() or platform.machine(), memory_bytes=memory)


def find_gpus() -> list[FoundDevice]:
    """List the GPUs that CUDA_VISIBLE_DEVICES leaves visible, by their number for NVML; none without a driver."""
    with _nvml() as nvml:
        if nvml is None:
            return []
        shown = visible(os.environ.get("CUDA_VISIBLE_DEVICES"), nvml.nvmlDeviceGetCount(), lambda n: _uuid(nvml, n))
        return [_gpu(nvml, number) for number in shown]


def find_driver() -> Driver | None:
    """Ask NVML for the driver; None without one."""
    with _nvml() as nvml:
        if nvml is None:
            return None
        cuda = int(nvml.nvmlSystemGetCudaDriverVersion())
        return Driver(version=_text(nvml.nvmlSystemGetDriverVersion()), cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
                      gpus=nvml.nvmlDeviceGetCount())


def capability_of(ordinal: int) -> Capability | None:
    """Ask the driver what a GPU can do; None where it does not say."""
    with _nvml() as nvml:
        try:
            major, minor = nvml.nvmlDeviceGetCudaComputeCapability(nvml.nvmlDeviceGetHandleByIndex(ordinal))
        except Exception:  # no driver, no such GPU, a driver too old to know: all mean that nothing is known
            return None
        return int(major), int(minor)


def cpu_multiplies_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Ask the kernel whether this host's CPU has instructions for products of bfloat16."""
    with contextlib.suppress(OSError), open(cpuinfo) as file:
        for line in file:
            name, _, told = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return not BF16_FLAGS.isdisjoint(told.split())
    return False


def visible(setting: str | None, count: int, uuid_of: Callable[[int], str]) -> list[int]:
    """Read CUDA_VISIBLE_DEVICES as CUDA does: numbers or UUIDs (or their beginnings), up to the first that is not there."""
    if setting is None:
        return list(range(count))
    numbers: list[int] = []
    for name in (part.strip() for part in setting.split(",")):
        found = [n for n in range(count) if name and (name == str(n) or uuid_of(n).startswith(name))]
        if not found:
            break
        numbers.append(found[0])
    return numbers


@contextmanager
def _nvml() -> Iterator[Any]:
    """Open NVML; give None where the package or the driver is missing."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, number: int) -> FoundDevice:
    gpu = nvml.nvmlDeviceGetHandleByIndex(number)
    memory = nvml.nvmlDeviceGetMemoryInfo(gpu).total
    return FoundDevice(kind="cuda", ordinal=number, name=_text(nvml.nvmlDeviceGetName(gpu)), memory_bytes=int(memory))


def _uuid(nvml: Any, number: int) -> str:
    return _text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(number)))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

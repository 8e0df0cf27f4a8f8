"""Whether runs get to the devices of this host: its GPUs through driver and torch, or plainly its CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cli.finding import Finding
from cli.look_at_versions import cuda_of_torch
from cli.output import size
from core.devices.discovery import Driver, find_devices, find_driver
from core.devices.service import FoundDevice
from core.settings import Settings


def look_at_gpu(settings: Settings) -> Finding:
    """Say what this host trains on; GPUs that are demanded and not there are told by ConfigurationError."""
    return gpu_finding(find_devices(settings.device), find_driver(), is_cpu_asked=settings.device == "cpu",
                       visible=os.environ.get("CUDA_VISIBLE_DEVICES"), torch_cuda=cuda_of_torch())


def gpu_finding(devices: Sequence[FoundDevice], driver: Driver | None, *, is_cpu_asked: bool, visible: str | None,
                torch_cuda: str | None) -> Finding:
    """Judge what was found; `torch_cuda` as `cuda_of_torch` gives it."""
    if devices[0].kind == "cpu":
        here = f"jobs train on the CPU ({os.cpu_count()} cores)"
        if is_cpu_asked:
            return Finding("device", "ok", f"{here}, as HEADRACE_DEVICE=cpu asks")
        return Finding("device", "note", f"no GPU: {here}; {_why_none(driver, visible)}")
    assert driver is not None
    here = (f"{', '.join(f'{device.name} ({size(device.memory_bytes)})' for device in devices)}, driver {driver.version}, "
            f"CUDA {driver.cuda}")
    if torch_cuda is None:
        return Finding("device", "fault", f"{here}; but the installed torch is a build without CUDA: install one for CUDA "
                                          f"{driver.cuda} or older, or set HEADRACE_DEVICE=cpu")
    if torch_cuda and _major(torch_cuda) > _major(driver.cuda):
        return Finding("device", "fault", f"{here}; but the installed torch needs CUDA {torch_cuda}: update the driver, or "
                                          f"install a torch for CUDA {driver.cuda}")
    return Finding("device", "ok", here)


def _why_none(driver: Driver | None, visible: str | None) -> str:
    if driver is None:
        return ("no NVIDIA driver answers. With a GPU in this machine: install its driver until `nvidia-smi` lists it (in a "
                "container: --gpus all), and the package nvidia-ml-py, which `make install` brings")
    if visible is not None:
        return (f"driver {driver.version} answers, and CUDA_VISIBLE_DEVICES={visible[:80]!r} shows none of its "
                f"{driver.gpus} GPUs; unset it, or name one that `nvidia-smi -L` lists")
    return f"driver {driver.version} answers and knows of no GPU; see `nvidia-smi`"


def _major(cuda: str) -> int:
    """A driver runs what was built for its own major version or an older one."""
    return int(cuda.partition(".")[0])

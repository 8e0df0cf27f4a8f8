from __future__ import annotations

import subprocess
import sys

import pytest

from core.devices.discovery import find_gpus


@pytest.mark.skipif(bool(find_gpus()), reason="this machine has a GPU")
def test_without_a_gpu_the_check_says_so_in_a_line_and_claims_nothing() -> None:
    told = subprocess.run([sys.executable, "-m", "tests.gpu.check"], capture_output=True, text=True, check=False, timeout=120)
    assert (told.returncode, told.stdout.count("\n")) == (2, 1)
    assert "no NVIDIA GPU" in told.stdout

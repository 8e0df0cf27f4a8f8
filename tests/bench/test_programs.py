"""Each program under bench/ runs as `make bench` starts it: by its path, with nothing asked of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(ROOT.glob("bench/*/run.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.parent.name)
def test_a_benchmark_needs_no_argument(program: Path) -> None:
    done = subprocess.run([sys.executable, str(program), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    usage = done.stdout.split("\n\n")[0]
    assert re.sub(r"\[[^][]*(\[[^][]*\])?[^][]*\]", "", usage).split() == ["usage:", "run.py"]

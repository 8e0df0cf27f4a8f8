"""What the loader process is before it does anything: its imports, measured by `measure`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

_STARTED = time.process_time()

import core.data.ahead.__main__  # noqa: E402
import core.data.pipeline.opening  # noqa: E402, F401

_SPENT = time.process_time() - _STARTED

from bench.loaders.telling import tell  # noqa: E402

tell("done", rows=0, tokens=0, cpu_microseconds=round(_SPENT * 1e6))

"""How the stream's small processes are started: by which command, in which environment.

They import numpy, orjson, jinja2 and tokenizers; what they are told comes by standard input, and no key of the starter's
environment reaches them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
_ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "FASTOKENS_BPE_THREADS": "1",
               "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def python_command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def bare_environment() -> dict[str, str]:
    """What a process of ours needs to run on one core, and no more."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    path = os.pathsep.join([_ROOT, *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, **_ONE_THREAD, "PYTHONPATH": path, "PYTHONUTF8": "1"}

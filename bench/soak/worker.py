"""`python -m bench.soak.worker --queue …`: a worker as `python -m worker` is, whose children are the small trainer.

SOAK_TRAINER holds the trainer's options. It is read here alone: a server's own workers have no such door.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys

from worker.__main__ import main

OPTIONS = "SOAK_TRAINER"
TRAINER = (sys.executable, "-m", "bench.soak.trainer")

if __name__ == "__main__":
    status = main(child=[*TRAINER, *shlex.split(os.environ.get(OPTIONS, ""))])
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(status)

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.db.session import Ledger
from tests.core.jobs.simulation import World

SCHEDULES = int(os.environ.get("HEADRACE_TEST_SCHEDULES", "12"))
"""Random schedules of each kind; each has four jobs, three workers and a hundred verbs."""
VERBS = 100


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_random_schedules_keep_every_promise(seed: int, sqlite_template: Path, tmp_path: Path):
    path = tmp_path / "world.db"
    shutil.copy(sqlite_template, path)
    ledger = Ledger(f"sqlite:///{path}", durability="NORMAL", pool_size=2)
    try:
        World(ledger, seed).run(VERBS)
    finally:
        ledger.close()


def test_random_schedules_keep_every_promise_on_both_databases(ledger: Ledger):
    World(ledger, 20261124).run(VERBS)

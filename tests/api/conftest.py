"""A served application for each test module, on SQLite. Tests that need both databases take `ledger` and serve it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from core.db.session import Ledger
from tests.api.serving import House, serving

structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    shutil.copy(sqlite_template, home / "headrace.db")
    ledger = Ledger(f"sqlite:///{home / 'headrace.db'}", durability="NORMAL")
    with serving(ledger, home, max_body_bytes=64 * 1024, max_file_bytes=1024 * 1024) as house:
        yield house
    ledger.close()

"""SIGKILL around saving: whatever the moment, only whole checkpoints are listed. All moments are in bench/soak/saving.py."""

from __future__ import annotations

from pathlib import Path

from bench.soak.saving import SAVES, Stage

KILLS = 40


def test_a_kill_at_any_moment_of_saving_leaves_only_whole_checkpoints(sqlite_url: str, tmp_path: Path) -> None:
    stage = Stage(sqlite_url, tmp_path)
    found = stage.kill_at(list(range(7, stage.points, stage.points // KILLS)), at_random=10)
    assert found.words == []
    assert found.kills >= KILLS
    assert set(found.by_newest) >= {0, *(step for step, _ in SAVES[:-1])}  # kills came before, between and after the rows

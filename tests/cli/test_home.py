"""The home: made for its owner, held by one server, refused in words where it is not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cli.errors import CommandRefused
from cli.home import hold_home, home_holder, make_home, open_ledger, require_home, settings_for


def test_the_option_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "environment"))

    assert settings_for(tmp_path / "option").home == tmp_path / "option"
    assert settings_for(None).home == tmp_path / "environment"


def test_a_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    make_home(tmp_path / "a" / "b")

    assert stat.S_IMODE(os.stat(tmp_path / "a" / "b").st_mode) == 0o700


def test_a_home_that_is_not_there_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match=r"nowhere is not there; start `headrace serve` once"):
        require_home(settings_for(tmp_path / "nowhere"))


def test_a_folder_without_a_database_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match=r"holds no headrace.db"), open_ledger(settings_for(tmp_path)):
        pass
    assert not (tmp_path / "headrace.db").exists()


def test_a_held_home_is_refused_with_its_holder(tmp_path: Path) -> None:
    words = rf"process {os.getpid()}\) holds the home"
    with hold_home(tmp_path), pytest.raises(CommandRefused, match=words), hold_home(tmp_path):
        pass


def test_a_home_is_free_again_after_its_holder(tmp_path: Path) -> None:
    assert home_holder(tmp_path) is None
    with hold_home(tmp_path):
        assert home_holder(tmp_path) == str(os.getpid())
    assert home_holder(tmp_path) is None
    with hold_home(tmp_path):
        pass


def test_a_home_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "serve.lock").mkdir()  # as a disk or an owner refuses: also root
    with (pytest.raises(CommandRefused, match=r"home cannot be written \(.*serve\.lock\); give it to this user"),
          hold_home(tmp_path / "home")):
        pass


def test_a_home_that_is_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(CommandRefused, match=r"home cannot be written \(File exists"):
        make_home(tmp_path / "home")

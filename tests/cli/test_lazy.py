"""Commands are imported when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli.main import COMMANDS, app

LOADED = """
import sys
from cli.main import app
try: app(["jobs", "list"])
except Exception as error: print(type(error).__name__)
print(*sorted(sys.modules.keys() & {"sqlalchemy", "numpy", "torch", "fastapi"}))
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_found_where_the_list_says(name: str) -> None:
    assert get_command(app).commands[name].get_short_help_str()  # pyright: ignore[reportAttributeAccessIssue]


def test_a_command_of_the_client_loads_nothing_of_the_server() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "CommandRefused\n\n", done.stderr


def test_a_name_that_is_nearly_one_is_told_the_right_one() -> None:
    done = CliRunner().invoke(app, ["jobz"])
    assert done.exit_code == 2
    assert "Did you mean 'jobs'?" in done.output

"""The pages lead somewhere, and name commands that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())

    for link in links:
        if not link.startswith("http"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_of_a_page_are_there(page: Path) -> None:
    root = get_command(app)
    for line in _command_lines(page.read_text()):
        words = line.split()[1:]
        command = root
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            if not re.fullmatch(r"[a-z]+", words[0]):
                break
            assert words[0] in command.commands, f"{page.name}: {line}"  # pyright: ignore[reportAttributeAccessIssue]
            command = command.commands[words.pop(0)]  # pyright: ignore[reportAttributeAccessIssue]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for option in re.findall(r"(?<!\S)--[a-z-]+", " ".join(words)):
            assert option in known, f"{page.name}: {option} of {line}"


def test_make_targets_that_the_readme_names_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))

    named = set(re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / "README.md").read_text(), flags=re.M))

    assert {"demo", "test"} <= named <= targets


def test_variables_that_the_compose_file_sets_are_settings() -> None:
    from core.settings import Settings

    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    named = {name for service in compose["services"].values() for name in service.get("environment", {})}
    named |= set(re.findall(r"^(HEADRACE_[A-Z_]+)=", (ROOT / "headrace.env.example").read_text(), flags=re.M))

    assert named
    assert named <= {f"HEADRACE_{name.upper()}" for name in Settings.model_fields}


def _command_lines(text: str) -> list[str]:
    """Lines of code blocks that begin with `headrace`, and commands in backticks."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(headrace [a-z][^`]*)`", text)
    lines += re.findall(r"\$\((headrace [^)]*)\)", text)
    found = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [re.sub(r"[\[\]]", " ", line) for line in found if line.startswith("headrace ")]

"""Commands that are imported when one is asked for: `headrace jobs list` need not wait for what `headrace serve` takes.

    app = typer.Typer(cls=group_of({"serve": Command("cli.serve", "serve", "On the server's machine"), ...}))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group


@dataclass(frozen=True)
class Command:
    """Where a command is written: a function, or the typer.Typer of a noun."""

    module: str
    name: str
    panel: str
    """The heading of the help that it stands under."""


class _Loaded(Mapping[str, Any]):
    """Commands by name, as click keeps them; looking one up imports it."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands

    def __getitem__(self, name: str) -> Any:
        command = self._commands[name]
        holder = typer.Typer(rich_markup_mode="rich")
        written = getattr(import_module(command.module), command.name)
        if isinstance(written, typer.Typer):
            holder.add_typer(written, name=name, rich_help_panel=command.panel)
        else:
            holder.command(name, rich_help_panel=command.panel)(written)
        return get_group(holder).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)


def group_of(commands: Mapping[str, Command]) -> type[TyperGroup]:
    """Make the class of a group whose commands are these, in this order."""

    class Group(TyperGroup):
        def __init__(self, **told: Any) -> None:
            super().__init__(**told)
            self.commands = _Loaded(commands)  # pyright: ignore[reportAttributeAccessIssue]

    return Group

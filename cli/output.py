"""How commands speak: what was asked for on standard output, all else on standard error.

With `--json` standard output holds one JSON document (or one a line, where a command streams) and nothing else, so that it can
be piped. Without it, tables and words, in colour only where a terminal is looking.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]

NARROW = 100
"""Columns of a table where no terminal tells its width."""


def out() -> Console:
    """Standard output; as wide as it needs where no terminal cuts it, so that ids stay whole in a pipe."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = max(NARROW, 200)
    return console


def err() -> Console:
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE, default=str))
    sys.stdout.buffer.flush()


def print_plain(text: str) -> None:
    """Print a value that scripts read: no colour, no wrapping, no markup."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the person at the terminal something beside the answer."""
    err().print(text, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print a table, or the words `empty` (on standard error) where there is no row."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    if table.row_count == 0:
        say(empty)
        return
    out().print(table)


def print_fields(fields: Sequence[tuple[str, Any]]) -> None:
    """Print names and values below each other; a value of None is left out."""
    width = max((len(name) for name, value in fields if value is not None), default=0)
    for name, value in fields:
        if value is not None:
            out().print(f"[dim]{name:<{width}}[/dim]  {escape(str(value))}", soft_wrap=True)


def when(seconds: float | None) -> str | None:
    """Show Unix seconds as a local time."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: int | None) -> str | None:
    if count is None:
        return None
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return None


def duration(seconds: float | None) -> str:
    """Show seconds as people say them: 42 s, 3 min 05 s, 2 h 10 min, 6 d 05 h."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"

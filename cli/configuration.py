"""`python -m cli.configuration`: write the table of settings into `docs/configuration.md`, between its two marks.

The table comes from `core.settings.Settings`: each field's name, default and description. A test compares the two.
"""

from __future__ import annotations

from pathlib import Path

from pydantic_core import PydanticUndefined

from core.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
BEGIN, END = "<!-- settings: written by python -m cli.configuration -->", "<!-- end of settings -->"
COMPUTED_DEFAULTS = {"home": "`~/.local/share/headrace`"}
"""Defaults that depend on the machine, as the page tells them."""


def table() -> str:
    """Compose the table, one row a setting, in the order of the class."""
    rows = ["| Variable | Default | Says |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = COMPUTED_DEFAULTS.get(name) or _shown(field.default)
        rows.append(f"| `HEADRACE_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    """Give the page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _shown(default: object) -> str:
    return "" if default in ("", None, PydanticUndefined) else f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))

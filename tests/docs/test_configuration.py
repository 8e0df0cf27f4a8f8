"""The configuration page tells the settings as they are."""

from __future__ import annotations

from cli.configuration import PAGE, table, with_table


def test_the_page_holds_the_table_of_the_settings() -> None:
    page = PAGE.read_text()

    assert page == with_table(page), "run: python -m cli.configuration"


def test_the_table_has_a_row_with_words_for_every_setting() -> None:
    from core.settings import Settings

    rows = [row for row in table().splitlines() if row.startswith("| `HEADRACE_")]

    assert len(rows) == len(Settings.model_fields)
    assert all(len(row.split("|")[3].strip()) > 20 for row in rows)

"""The benchmark's page says what the results say."""

from __future__ import annotations

from bench.loaders.page import PAGE, TABLES, Figures, targets_table, with_tables
from bench.loaders.plot import FIGURES, drawn
from bench.loaders.results import read


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    page = PAGE.read_text()

    assert all(f"<!-- {name} -->" in page for name in TABLES)
    assert page == with_tables(page, read()), "run: python bench/loaders/plot.py"


def test_the_pictures_are_those_of_the_results() -> None:
    pictures = drawn(Figures(read()))

    assert pictures
    assert {name: (FIGURES / name).read_text() for name in pictures} == pictures, "run: python bench/loaders/plot.py"


def test_a_target_is_judged_by_its_figure() -> None:
    rate = {("headrace", "tokens_per_cpu_second", "200 MB"): {"value": 5.4e6},
            ("datasets 5 streaming", "tokens_per_cpu_second", "200 MB"): {"value": 0.5e6}}

    table = targets_table(Figures(rate)).splitlines()

    assert table[2].endswith("5.40 M | **missed** |")
    assert table[3].endswith("10.8 × | reached |")
    assert "not measured" in table[4]

"""The benchmark's page says what the results say."""

from __future__ import annotations

from bench.loaders.mixing import farthest
from bench.loaders.page import PAGE, TABLES, Figures, loaders_table, targets_table, with_tables
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


def test_a_new_file_costs_registering_and_a_start() -> None:
    peer = "llamafactory 1 streaming"
    rows = {(peer, "register_seconds", "1 GB, CPU time beyond imports"): {"value": 2.5},
            (peer, "first_batch_cpu_seconds", "1 GB"): {"value": 5.0},
            ("datasets 5 streaming", "first_batch_cpu_seconds", "1 GB"): {"value": 1.5}}

    last = [line.rstrip(" |").rpartition("| ")[2] for line in loaders_table(Figures(rows), "1 GB").splitlines()[2:]]

    assert last == ["1.50 s", "7.50 s"]


def test_the_distance_of_a_mixture_is_the_worst_on_the_way() -> None:
    assert farthest([0, 0, 0, 0, 1], [(0.8, 0.2)] * 5) == 0.8
    assert farthest([1, 0], [(0.5, 0.5), (0.0, 1.0)]) == 0.5

"""results.json → docs/figures/*.svg and the tables of docs/benchmarks.md: `python bench/loaders/plot.py`.

The pictures are bars written as SVG by hand: no library, the same bytes for the same results, readable on light and dark.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.loaders.page import COLUMNS, ONE_PROCESS, OURS, PAGE, Figures, label, with_tables  # noqa: E402
from bench.loaders.results import read  # noqa: E402

FIGURES = ROOT / "docs" / "figures"
WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 210, 110, 22, 10, 44
_COLOURS = {OURS: "#1f7a8c", ONE_PROCESS: "#5aa9b8"}
_PEER = "#9a9a9a"


@dataclass(frozen=True)
class Chart:
    name: str
    title: str
    metric: str
    is_more_better: bool


CHARTS = (
    Chart("loaders-speed", "tokens a CPU second, tokenised, shuffled and masked", "tokens_per_cpu_second", True),
    Chart("loaders-first-batch", "CPU time of a start, from the process to its first batch", "first_batch_cpu_seconds", False),
    Chart("loaders-memory", "resident memory of all processes, imports and all", "peak_rss_bytes", False),
    Chart("loaders-registering", "CPU time before a file can be read", "register_seconds", False),
)


def drawn(figures: Figures, size: str = "200 MB") -> dict[str, str]:
    """Every picture, by the name of its file; one without a figure is left out."""
    pictures = {}
    for chart in CHARTS:
        column = next(column for column in COLUMNS if column.metric == chart.metric)
        values = figures.by_system(chart.metric, *(case.format(size) for case in column.cases))
        if values:
            told = "more is better" if chart.is_more_better else "less is better"
            pictures[f"{chart.name}.svg"] = bars(f"{chart.title}; {size}; {told}", values, column.show)
    return pictures


def bars(title: str, values: Mapping[str, float], show: Callable[[float], str]) -> str:
    height = TOP + len(values) * (BAR + GAP) + 10
    most = max(values.values())
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" '
             f'font-size="13"><title>{escape(title)}</title>',
             "<style>text{fill:#333}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>",
             f'<text x="8" y="22" font-weight="bold">{escape(title)}</text>']
    for number, (system, value) in enumerate(values.items()):
        y = TOP + number * (BAR + GAP)
        width = max(1.0, (WIDTH - LEFT - RIGHT) * value / most)
        colour = _COLOURS.get(system, _PEER)
        parts += [f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(label(system))}</text>',
                  f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
                  f'<text x="{LEFT + width + 6:.1f}" y="{y + 16}">{escape(show(value))}</text>']
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    rows = read()
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name, picture in drawn(Figures(rows)).items():
        (FIGURES / name).write_text(picture)
    PAGE.write_text(with_tables(PAGE.read_text(), rows))


if __name__ == "__main__":
    main()

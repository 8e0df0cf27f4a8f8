"""The waits of a week as a picture: how many jobs of each priority have started after so long, with and without preemption.

Curves written as SVG by hand, the same bytes for the same results, readable on light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 380, 60, 44, 20, 44
FIRST, LAST = 1.0, 172_800.0
MARKS = {1.0: "1 s", 10.0: "10 s", 60.0: "1 min", 600.0: "10 min", 3600.0: "1 h", 21_600.0: "6 h", 86_400.0: "1 day"}
COLOURS = {"urgent": "#c8553d", "usual": "#1f7a8c", "patient": "#8a8a8a"}


def drawn(curves: Mapping[tuple[str, bool], Sequence[float]]) -> str:
    """Draw the share of jobs that started within a time, by priority's name and whether preemption was on."""
    title = "Share of jobs that have started after a wait; dashed: without preemption"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" '
             f'font-size="13"><title>{escape(title)}</title>',
             "<style>text{fill:#333}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>",
             f'<text x="8" y="22" font-weight="bold">{escape(title)}</text>', *_axes()]
    for (name, is_preempting), waits in curves.items():
        dash = "" if is_preempting else ' stroke-dasharray="5 4"'
        parts.append(f'<polyline fill="none" stroke="{COLOURS[name]}" stroke-width="2"{dash} points="{_points(waits)}"/>')
    for number, name in enumerate(COLOURS):
        y = HEIGHT - BOTTOM - 60 + 20 * number
        parts += [f'<line x1="{WIDTH - 120}" x2="{WIDTH - 90}" y1="{y}" y2="{y}" stroke="{COLOURS[name]}" stroke-width="3"/>',
                  f'<text x="{WIDTH - 82}" y="{y + 4}">{name}</text>']
    return "\n".join([*parts, "</svg>", ""])


def _axes() -> list[str]:
    parts = []
    for seconds, name in MARKS.items():
        x = _x(seconds)
        parts += [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#8884"/>',
                  f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{name}</text>']
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100)
        parts += [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>',
                  f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>']
    return parts


def _points(waits: Sequence[float]) -> str:
    """A point at each hundredth of the jobs."""
    marks = [min(len(waits) - 1, round(part / 100 * (len(waits) - 1))) for part in range(101)]
    return " ".join(f"{_x(waits[mark]):.1f},{_y(part / 100):.1f}" for part, mark in enumerate(marks))


def _x(seconds: float) -> float:
    part = math.log(min(LAST, max(FIRST, seconds)) / FIRST) / math.log(LAST / FIRST)
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)


__all__ = ["drawn"]

"""Draws bars as SVG. Pure: it takes numbers and returns text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from bench.report import Report
from bench.row import CPU, RATE, Figure
from bench.summary import Spread

_WIDTH: Final = 760
_LEFT: Final = 190
_RIGHT: Final = 90
_BAR: Final = 16
_STEP: Final = 24
_TITLE: Final = 44
_OURS: Final = "#1f6f8b"
_OTHERS: Final = "#b8c4cc"
_OWN: Final = (
    "ours",
    "workers",
    "backlog",
    "enqueue_validated",
    "enqueue_built",
    "callbacks",
    "inbound",
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. The line in it reaches from the smallest to the largest run."""

    name: str
    spread: Spread
    text: str
    is_ours: bool


def draw(report: Report) -> str:
    """Return the picture of a run: one panel for the CPU, one for the rate, one for the ratios."""
    panels = [(figure.label, _bars(report, figure)) for figure in (CPU, RATE)]
    ratios = [
        Bar(name, Spread(value, value, value), f"{value:.2f}", is_ours=True)
        for name, value in report.ratios.items()
    ]
    drawn, top = [], 0
    for title, bars in [*panels, ("Ratios: larger is better for us", ratios)]:
        if bars:
            drawn.append(_panel(title, bars, top))
            top += _TITLE + _STEP * len(bars)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + _STEP}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{top + _STEP}" fill="white"/>\n'
        + "".join(drawn)
        + "</svg>\n"
    )


def _bars(report: Report, figure: Figure) -> list[Bar]:
    measured = report.measured
    return [
        Bar(
            row.name,
            spread,
            f"{spread.median:.{figure.digits}f}",
            is_ours=row.name.startswith(_OWN),
        )
        for row in report.rows
        if figure in row.figures and (spread := measured.get(row.name, {}).get(figure.key))
    ]


def _panel(title: str, bars: Sequence[Bar], top: int) -> str:
    scale = (_WIDTH - _LEFT - _RIGHT) / (max(bar.spread.most for bar in bars) or 1)
    lines = [f'<text x="8" y="{top + 28}" font-weight="bold">{escape(title)}</text>\n']
    for at, bar in enumerate(bars):
        y = top + _TITLE + at * _STEP
        least, median, most = (
            value * scale for value in (bar.spread.least, bar.spread.median, bar.spread.most)
        )
        middle = y + _BAR / 2
        lines.append(
            f'<text x="8" y="{y + 12}">{escape(bar.name)}</text>\n'
            f'<rect x="{_LEFT}" y="{y}" width="{median:.1f}" height="{_BAR}" '
            f'fill="{_OURS if bar.is_ours else _OTHERS}"/>\n'
            f'<line x1="{_LEFT + least:.1f}" x2="{_LEFT + most:.1f}" y1="{middle}" y2="{middle}" '
            'stroke="black"/>\n'
            f'<text x="{_LEFT + most + 6:.1f}" y="{y + 12}">{escape(bar.text)}</text>\n'
        )
    return "".join(lines)

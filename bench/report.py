"""The result of a run: what is written to `latest.json`, and the table that is printed."""

import json
import os
import platform
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.row import CPU, CPU_AND_RATE, RATE, Figure, Row
from bench.summary import Runs, Spread, ratios, spreads

MAX_LABEL_WIDTH = 45
_NAME_WIDTH = 18
_CELL_WIDTH = 29


@dataclass(frozen=True, slots=True)
class Report:
    """One run. `mock`: which mock the rows shared.

    `not_measured`: row → why this machine cannot run it. `failed`: row → the error.
    """

    rows: Sequence[Row]
    runs: Runs
    rounds: int
    is_quick: bool
    mock: str
    sizes: Mapping[str, int]
    not_measured: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    def mock_of(self, row: Row) -> str:
        """Return which mock answered a row: `nginx`, `bundled` or `none`."""
        return {"shared": self.mock, "tls": self.mock, "scripted": "bundled", "none": "none"}[
            row.mock
        ]

    @property
    def measured(self) -> dict[str, dict[str, Spread]]:
        """The spread of each figure of each row."""
        return spreads(self.runs)

    @property
    def ratios(self) -> dict[str, float]:
        """The ratios whose figures were measured."""
        return ratios(self.measured)

    def to_json(self) -> str:
        """Return everything, with every single run, as JSON."""
        measured = self.measured
        return json.dumps(
            {
                "rows": {
                    row.name: {
                        "what": row.what,
                        "mock": self.mock_of(row),
                        "size": self.sizes[row.name],
                        "figures": {
                            figure.key: {
                                "label": figure.label,
                                "unit": figure.unit,
                                **asdict(measured[row.name][figure.key]),
                                "runs": [run[figure.key] for run in self.runs[row.name]],
                            }
                            for figure in row.figures
                        },
                    }
                    for row in self.rows
                    if row.name in measured
                },
                "ratios": self.ratios,
                "not_measured": dict(self.not_measured),
                "failed": dict(self.failed),
                "options": {"rounds": self.rounds, "quick": self.is_quick, "mock": self.mock},
                "where": {
                    "python": platform.python_version(),
                    "machine": platform.machine(),
                    "cores": os.cpu_count(),
                },
            },
            indent=2,
        )

    def table(self) -> str:
        """Return the table: the median of each figure, with its smallest and largest value."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        measured = self.measured
        rows = [row for row in self.rows if row.name in measured]
        if any(row.figures == CPU_AND_RATE for row in rows):
            yield f"{'':{_NAME_WIDTH}}{CPU.label:>{_CELL_WIDTH}}{RATE.label:>{_CELL_WIDTH}}"
        for row in rows:
            if row.figures == CPU_AND_RATE:
                found = measured[row.name]
                cells = (shown(found[figure.key], figure) for figure in CPU_AND_RATE)
                yield f"{row.name:{_NAME_WIDTH}}" + "".join(
                    f"{cell:>{_CELL_WIDTH}}" for cell in cells
                )
        for row in rows:
            if row.figures != CPU_AND_RATE:
                yield ""
                yield from textwrap.wrap(f"{row.name}: {row.what}", 80, subsequent_indent="  ")
                for figure in row.figures:
                    cell = shown(measured[row.name][figure.key], figure)
                    yield f"  {figure.label:{MAX_LABEL_WIDTH}}{cell:>26} {figure.unit}".rstrip()
        if self.ratios:
            yield ""
            yield from (f"{name:38}{value:6.2f}" for name, value in self.ratios.items())
        yield ""
        yield f"Median of {self.rounds} rounds (smallest to largest)."
        yield from (f"{name} was not measured: {why}." for name, why in self.not_measured.items())
        yield from (f"{name} failed." for name in self.failed)
        yield self._about_the_mock()
        if self.is_quick:
            yield "A quick run only shows that the rows run; draw no conclusion from its numbers."

    def _about_the_mock(self) -> str:
        if self.mock == "nginx":
            return "Mock of Twilio: nginx, and the bundled one for rows that need a script."
        return "Mock of Twilio: bundled, which shares the cores with what is measured."

    def write(self, folder: Path, picture: str) -> None:
        """Write `latest.json` and `latest.svg`."""
        folder.mkdir(exist_ok=True)
        (folder / "latest.json").write_text(self.to_json() + "\n")
        (folder / "latest.svg").write_text(picture)


def shown(spread: Spread, figure: Figure) -> str:
    """Return a spread as text: the median, and in parentheses the smallest and the largest."""
    least, median, most = (
        f"{value:.{figure.digits}f}" for value in (spread.least, spread.median, spread.most)
    )
    return f"{median} ({least} to {most})"

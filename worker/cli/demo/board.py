"""What the demo shows while it plays: a live table on a terminal, plain lines elsewhere."""

from collections import Counter, deque
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from worker.cli.demo.demo_script import ScriptRow

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_MAX_SHOWN_ROWS: Final = 14


class Shown(Protocol):
    """What the board shows of a result."""

    end: str
    reason: str | None
    status: str | None


class Board:
    """Shows rows as they come out. Use it as a context manager."""

    def __init__(self, console: "Console", total: int) -> None:
        self._console = console
        self._total = total
        self._minute = 0
        self._event = ""
        self._last: deque[tuple[str, ...]] = deque(maxlen=_MAX_SHOWN_ROWS)
        self._ends: Counter[str] = Counter()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(
                self._render(), console=self._console, refresh_per_second=12, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, minute: int) -> None:
        """Show that the clock moved."""
        self._minute = minute
        self._refresh()

    def say(self, event: str) -> None:
        """Show what a person or the demo did."""
        self._event = f"{played(self._minute)}  {event}"
        if self._live is None:
            self._console.print(self._event, markup=False, highlight=False)
        self._refresh()

    def done(self, minute: int, row: ScriptRow, result: Shown) -> None:
        """Show the result of a row."""
        self._ends[result.end] += 1
        line = (played(minute), row.name, result.end, result.reason or "", result.status or "")
        self._last.append(line)
        if self._live is None:
            # 80 columns in all. A name that is too long for its column pushes the rest of its line
            # to the right.
            widths = (7, 24, 9, 23, 11)
            text = " ".join(part.ljust(width) for part, width in zip(line, widths, strict=True))
            self._console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)
        self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._render())

    def _render(self) -> "RenderableType":
        from rich.table import Table

        done = sum(self._ends.values())
        ends = " · ".join(f"{end} {count}" for end, count in self._ends.most_common())
        table = Table(
            title=f"played clock {played(self._minute)} · {done} of {self._total} · {ends}",
            caption=self._event,
            title_justify="left",
            caption_justify="left",
            box=None,
            expand=True,
        )
        for column in ("played", "message", "end", "reason", "status"):
            table.add_column(column, no_wrap=True)
        for line in self._last:
            table.add_row(*line)
        return table


def played(minute: int) -> str:
    """Return minutes after the start as hours and minutes."""
    return f"+{minute // 60:02d}:{minute % 60:02d}"

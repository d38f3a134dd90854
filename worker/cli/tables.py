"""Lays out rows for a screen of any width: as a table if it fits, otherwise as one block per row.

No word is ever broken.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len

GAP: Final = "  "


def lay_out(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the lines of a table with a heading, or of one block per row.

    Blocks are used when a column would be narrower than one of its words. A single word that is
    longer than the screen is alone on its line and whole, so that it can still be copied.
    """
    widths = _widths(
        [[column, *(row[at] for row in rows)] for at, column in enumerate(columns)], width
    )
    if widths is None:
        return list(_blocks(columns, rows, width))
    return [line for row in (columns, *rows) for line in _lines(row, widths)]


def wrap(text: str, width: int) -> list[str]:
    """Return a text as one or more lines of at most `width` columns, broken only at spaces."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if not lines[-1] or cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _widths(cells_of_columns: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return the width of each column, or None if one would be narrower than its longest word."""
    wanted = [max(map(cell_len, cells)) for cells in cells_of_columns]
    widths = [
        max((cell_len(word) for cell in cells for word in cell.split()), default=0)
        for cells in cells_of_columns
    ]
    spare = width - sum(widths) - len(GAP) * (len(widths) - 1)
    if spare < 0:
        return None
    # Spare columns go to all alike, so that short columns stay on one line and the longest wraps.
    while spare and (hungry := [at for at, most in enumerate(wanted) if widths[at] < most]):
        for at in hungry[:spare]:
            widths[at] += 1
        spare -= min(spare, len(hungry))
    return widths


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    cells = [wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        yield GAP.join(
            _padded(part, width) for part, width in zip(parts, widths, strict=True)
        ).rstrip()


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield each row as lines of name and value, without empty cells.

    An empty line separates the rows.
    """
    name_width = max(map(cell_len, columns))
    for number, row in enumerate(rows):
        if number:
            yield ""
        for column, cell in zip(columns, row, strict=True):
            if not cell:
                continue
            for at, line in enumerate(wrap(cell, width - name_width - len(GAP))):
                yield GAP.join((_padded("" if at else column, name_width), line))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))

"""Which rows run, and in which order. Pure."""

from collections.abc import Iterator, Sequence

from bench.row import Row

QUICK_ROUNDS = 3


class UnknownRowError(Exception):
    """`--rows` names a row that does not exist. The text lists those that do."""


def chosen(rows: Sequence[Row], names: Sequence[str], *, is_quick: bool) -> list[Row]:
    """Return the rows to run, in the order of `rows`.

    Without names: every row that needs no request and, when quick, has a quick size. A row that is
    named runs in any case. Raises UnknownRowError.
    """
    if unknown := set(names) - {row.name for row in rows}:
        raise UnknownRowError(
            f"There is no row {', '.join(sorted(unknown))}. "
            f"The rows are {', '.join(row.name for row in rows)}."
        )
    if names:
        return [row for row in rows if row.name in names]
    return [
        row for row in rows if not row.on_request and not (is_quick and row.sizes.quick is None)
    ]


def size_of(row: Row, *, is_quick: bool) -> int:
    """Return how large a row is in this run."""
    return row.sizes.full if not is_quick or row.sizes.quick is None else row.sizes.quick


def turns(rows: Sequence[Row], rounds: int, *, is_quick: bool) -> Iterator[tuple[int, Row]]:
    """Yield (round, row), rounds counted from 1. Every round runs each row once.

    Every second round runs backwards: a row then does not always come after the same other row, and
    a machine that slows down evenly costs all rows the same. A quick run has situations in its
    first round only.
    """
    for number in range(1, rounds + 1):
        for row in rows if number % 2 else reversed(rows):
            if number == 1 or not is_quick or row.group == "comparison":
                yield number, row

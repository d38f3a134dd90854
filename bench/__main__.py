"""Measures speed in rounds that run every row in turn, and prints medians and ratios.

It writes bench/results/latest.json and a picture, latest.svg.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from bench.mock_server import shared_mock
from bench.picture import draw
from bench.registry import ROWS
from bench.report import Report
from bench.row import Row
from bench.row_runner import RowError, run_row
from bench.schedule import QUICK_ROUNDS, UnknownRowError, chosen, size_of, turns

RESULTS = Path(__file__).parent / "results"


def measure(rows: Sequence[Row], rounds: int, *, is_quick: bool) -> Report:
    """Run the rows in turn, and print each when it is done. A row that fails runs no more."""
    results: dict[str, list[dict[str, float]]] = {}
    failed: dict[str, str] = {}
    with shared_mock() as mock:
        not_measured = {row.name: why for row in rows if (why := _missing(row, mock.tls_url))}
        able = [row for row in rows if row.name not in not_measured]
        sizes = {row.name: size_of(row, is_quick=is_quick) for row in able}
        for number, row in turns(able, rounds, is_quick=is_quick):
            if row.name in failed:
                continue
            try:
                results.setdefault(row.name, []).append(run_row(row, sizes[row.name], mock))
            except RowError as error:
                # An hour of other rows is not thrown away for one that fails.
                failed[row.name] = str(error)
                del results[row.name]
            word = "failed" if row.name in failed else "done"
            print(f"round {number} of {rounds}: {row.name} {word}", file=sys.stderr, flush=True)
        return Report(able, results, rounds, is_quick, mock.kind, sizes, not_measured, failed)


def _missing(row: Row, tls_url: str) -> str | None:
    """Return why a row cannot run on this machine, or None."""
    if row.mock == "tls" and not tls_url:
        return "openssl is not on the PATH"
    return row.missing() if row.missing is not None else None


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave in order, so that every process and store of the run is stopped."""
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds of fewer and smaller rows"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="5 by default, 3 with --quick")
    parser.add_argument(
        "--rows", default="", metavar="A,B", help="only these rows; `--list` names them"
    )
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    return parser


def main() -> int:
    """Parse the options, run the rows, print the table, and write the results."""
    parser = _parser()
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{row.name:18}{row.what}" for row in ROWS))
        return 0
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else 5)
    if rounds < 1:
        parser.error("--rounds is at least 1")
    names = [name.strip() for name in options.rows.split(",") if name.strip()]
    try:
        rows = chosen(ROWS, names, is_quick=options.quick)
    except UnknownRowError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, _end)
    report = measure(rows, rounds, is_quick=options.quick)
    for text in report.failed.values():
        print(f"bench: {text}", file=sys.stderr)
    print(report.table())
    report.write(RESULTS, draw(report))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

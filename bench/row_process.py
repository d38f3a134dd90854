"""Runs one row in a process of its own, and prints its figures.

    .venv/bin/python -m bench.row_process MODULE ROW PLACE

`PLACE` is the JSON of `row.Place`.
"""

import importlib
import json
import sys

import uvloop

from bench.row import Place, Row


async def run(module: str, name: str, place: Place) -> dict[str, float]:
    """Run the row of this name, and return its figures."""
    rows: tuple[Row, ...] = importlib.import_module(module).ROWS
    row = next(row for row in rows if row.name == name)
    return dict(await row.measure(place))


def main() -> None:
    """Run the row that the arguments name."""
    module, name, place = sys.argv[1:]
    print(json.dumps(uvloop.run(run(module, name, Place.parse(place)))), flush=True)


if __name__ == "__main__":
    main()

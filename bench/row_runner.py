"""Runs each row in a process of its own, against a store of its own, for a bounded time."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.mock_server import SharedMock
from bench.registry import MODULES
from bench.row import Place, Row
from worker.runtime.embedded_store import start


class RowError(Exception):
    """A row failed or took too long. The text names it and has its last lines."""


def run_row(row: Row, size: int, mock: SharedMock, limit: float | None = None) -> dict[str, float]:
    """Run a row once and return its figures. Raises RowError.

    `limit`: seconds, the row's own by default.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = start(Path(folder), environ={"PATH": os.environ.get("PATH", "")})
        try:
            place = Place(store.url, mock.base_url, size, mock.tls_url, mock.ca_file)
            output = _run(row, place, row.limit if limit is None else limit)
        finally:
            store.stop()
    figures: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    if missing := {figure.key for figure in row.figures} ^ figures.keys():
        raise RowError(f"the row {row.name} declares other figures than it returns: {missing}")
    return figures


def _run(row: Row, place: Place, limit: float) -> str:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.row_process", MODULES[row.name], row.name, place.encode()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A group of its own, so that what the row started ends with it.
        process_group=0,
    )
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise RowError(f"the row {row.name} took longer than {limit:.0f} s") from error
    finally:
        # The processes that a row starts end by themselves when it does, because their input
        # closes. Its group is killed only while it runs, so that the id is still its own.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if process.returncode:
        raise RowError(f"the row {row.name} failed:\n{errors[-2000:]}")
    return output

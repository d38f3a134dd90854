"""Runs the rows interleaved, prints medians and ratios, writes bench/results/latest.json."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.runtime.embedded_store import start

HERE = Path(__file__).parent
ROWS = ("raw_loop", "ours", "vanilla_arq")
HANG_GUARD = 300.0


@contextmanager
def mock_api() -> Iterator[str]:
    """Run the bundled mock API in a process of its own, and yield its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.mock_api"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.terminate()
        process.wait()


def run_row(row: str, store_url: str, base_url: str, messages: int) -> dict[str, float]:
    """Run one row in a process of its own.

    Returns CPU seconds, wall seconds, and how many messages were sent.
    """
    arguments = [base_url] if row == "raw_loop" else [store_url, base_url]
    finished = subprocess.run(
        [sys.executable, "-m", f"bench.rows.{row}", *arguments, str(messages)],
        capture_output=True,
        text=True,
        timeout=HANG_GUARD,
        check=False,
    )
    if finished.returncode:
        sys.exit(f"bench: the row {row} failed:\n{finished.stderr[-2000:]}")
    answer: dict[str, float] = json.loads(finished.stdout.strip().splitlines()[-1])
    return answer


def measure(rounds: int, messages: int) -> dict[str, list[dict[str, float]]]:
    """Run every row once per round, in turn, so that a noisy minute affects all of them."""
    results: dict[str, list[dict[str, float]]] = {row: [] for row in ROWS}
    with mock_api() as base_url:
        for number in range(rounds):
            for row in ROWS:
                with tempfile.TemporaryDirectory() as folder:
                    store = start(Path(folder), environ=os.environ)
                    try:
                        results[row].append(run_row(row, store.url, base_url, messages))
                    finally:
                        store.stop()
            print(f"round {number + 1} of {rounds} done", flush=True)
    return results


def summarise(results: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """Compute medians and ranges of CPU seconds per 1,000 messages and of rates, and two ratios."""
    cpu = {
        row: [1000 * run["cpu"] / run["messages"] for run in runs] for row, runs in results.items()
    }
    rate = {row: [run["messages"] / run["wall"] for run in runs] for row, runs in results.items()}
    middle = {row: statistics.median(values) for row, values in cpu.items()}
    return {
        "rows": {
            row: {
                "cpu_seconds_per_1000": [min(cpu[row]), middle[row], max(cpu[row])],
                "messages_per_second": [
                    min(rate[row]),
                    statistics.median(rate[row]),
                    max(rate[row]),
                ],
            }
            for row in results
        },
        "ratios": {
            "raw loop / ours, CPU": middle["raw_loop"] / middle["ours"],
            "vanilla arq / ours, CPU": middle["vanilla_arq"] / middle["ours"],
        },
    }


def show(summary: dict[str, object], rounds: int) -> None:
    """Print the summary as a table: median (minimum to maximum)."""
    rows, ratios = summary["rows"], summary["ratios"]
    assert isinstance(rows, dict)
    assert isinstance(ratios, dict)
    print(f"\n{'':14}{'CPU s per 1,000':>28}{'messages/s':>28}   median of {rounds} (min to max)")
    for row, values in rows.items():
        low, mid, high = values["cpu_seconds_per_1000"]
        slow, rate, fast = values["messages_per_second"]
        print(
            f"{row:14}{f'{mid:.3f} ({low:.3f} to {high:.3f})':>28}"
            f"{f'{rate:.0f} ({slow:.0f} to {fast:.0f})':>28}"
        )
    for name, value in ratios.items():
        print(f"{name}: {value:.2f}")
    print("mock API: bundled (shares this machine's cores)")


def main() -> None:
    """Parse the options, run the rows, and print and write the summary."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1,000 messages")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=5000)
    options = parser.parse_args()
    rounds, messages = (3, 1000) if options.quick else (options.rounds, options.messages)
    summary = summarise(measure(rounds, messages))
    show(summary, rounds)
    summary["where"] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    summary["options"] = {"rounds": rounds, "messages": messages, "mock_api": "bundled"}
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "latest.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()

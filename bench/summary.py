"""Medians, ranges and ratios of what the rows returned. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""Row → one dictionary of figures for each run."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The smallest, the middle and the largest of a figure's runs."""

    least: float
    median: float
    most: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure divided by another, each the median of one run's rounds.

    `above` and `below` are (row, figure). `times`: what `below` is multiplied by.
    """

    label: str
    above: tuple[str, str]
    below: tuple[str, str]
    times: int = 1


RATIOS: Final = (
    Ratio("raw loop / ours, CPU", ("raw_loop", "cpu"), ("ours", "cpu")),
    Ratio("raw loop / ours over TLS, CPU", ("raw_loop_tls", "cpu"), ("ours_tls", "cpu")),
    Ratio("client loop / ours, CPU", ("client_loop", "cpu"), ("ours", "cpu")),
    Ratio("client loop / ours over TLS, CPU", ("client_loop_tls", "cpu"), ("ours_tls", "cpu")),
    Ratio("vanilla arq / ours, CPU", ("vanilla_arq", "cpu"), ("ours", "cpu")),
    Ratio("BullMQ and axios / ours, CPU", ("bullmq", "cpu"), ("ours", "cpu")),
    Ratio("raw loop / one worker at 200 ms, CPU", ("raw_loop_200ms", "cpu"), ("workers_1", "cpu")),
    Ratio("2 workers / 2 x one, rate", ("workers_2", "rate"), ("workers_1", "rate"), 2),
    Ratio("4 workers / 4 x one, rate", ("workers_4", "rate"), ("workers_1", "rate"), 4),
    Ratio("8 workers / 8 x one, rate", ("workers_8", "rate"), ("workers_1", "rate"), 8),
    Ratio("100,000 queued / 1,000, rate", ("backlog_100k", "rate"), ("backlog_1k", "rate")),
    Ratio("1,000 queued / 100,000, CPU", ("backlog_1k", "cpu"), ("backlog_100k", "cpu")),
    Ratio("1,000,000 queued / 100,000, rate", ("backlog_1m", "rate"), ("backlog_100k", "rate")),
    Ratio("100,000 queued / 1,000,000, CPU", ("backlog_100k", "cpu"), ("backlog_1m", "cpu")),
    Ratio(
        "send_many, validated / arq, rate", ("enqueue_validated", "rate"), ("enqueue_arq", "rate")
    ),
    Ratio(
        "send_many, built before / arq, rate", ("enqueue_built", "rate"), ("enqueue_arq", "rate")
    ),
    Ratio("callbacks / bare web, rate", ("callbacks", "rate"), ("bare_web", "rate")),
    Ratio("bare web / callbacks, CPU", ("bare_web", "cpu"), ("callbacks", "cpu")),
    Ratio("inbound / bare web, rate", ("inbound", "rate"), ("bare_web", "rate")),
    Ratio("bare web / inbound, CPU", ("bare_web", "cpu"), ("inbound", "cpu")),
)
"""Each is written so that a larger number is better for us."""


def spread(values: Sequence[float]) -> Spread:
    """Compute the range and the median. Raises ValueError without values."""
    if not values:
        raise ValueError("a row without a run has no median")
    return Spread(min(values), statistics.median(values), max(values))


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least `part` (0 to 1) of the values do not exceed.

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values have no percentile")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]


def spreads(runs: Runs) -> dict[str, dict[str, Spread]]:
    """Compute the spread of every figure of every row that ran."""
    return {
        row: {key: spread([run[key] for run in results]) for key in results[0]}
        for row, results in runs.items()
        if results
    }


def ratios(measured: Mapping[str, Mapping[str, Spread]]) -> dict[str, float]:
    """Compute the ratios whose two figures were both measured."""
    found = {}
    for ratio in RATIOS:
        above = measured.get(ratio.above[0], {}).get(ratio.above[1])
        below = measured.get(ratio.below[0], {}).get(ratio.below[1])
        if above is not None and below is not None and below.median:
            found[ratio.label] = above.median / (ratio.times * below.median)
    return found

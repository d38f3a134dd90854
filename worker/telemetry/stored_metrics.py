"""Exports the totals and depths of the whole store as metrics.

Only the gateway exports them. If other processes did too, they would be counted twice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from worker.telemetry.metrics import known_status

_TOTALS: Final = {
    "enqueued": "Messages enqueued",
    "unknown": "Attempts whose outcome was not proven",
    "unresolved": "Unknown outcomes that wait for an operator",
    "duplicates": "Second copies that Twilio took of one message",
    "late_evidence": "Proofs of an attempt that came after its message had moved on or ended",
    "unbound": (
        "Attempts that Twilio's list seemed to prove, until a callback named another message"
    ),
    "suspected": "Texts of persons that may mean stop",
    "reopened": "Accepted messages that failed afterwards and are sent again",
    "effects_held": ("Effects of a jump of errors about persons that are held for an operator"),
    "effects_dropped": "Held effects that did not fit into the list",
    "unknown_stage": (
        "Messages in a stage that only a newer version knows, which its workers must process"
    ),
    "status_never_final": "Accepted messages whose final status will never be known",
}
"""What the store counts without a label, by the store's own names."""

_SUSPECTED: Final = "suspected_stops"
"""The list that holds persons. The other lists hold messages."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the store returned: totals by name, and how many messages each lane and list has.

    `suspected_for` is how long the oldest suspected stop has waited for an operator.
    """

    counts: Mapping[str, int]
    depths: Mapping[str, int]
    suspected_for: timedelta | None = None


class StoredMetrics(Collector):
    """Exports the last snapshot of the store. `is_up` is whether the store can be used."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.snapshot: Snapshot | None = None
        self.is_up = False
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values."""
        return _families(Snapshot({}, {}))

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of the last snapshot."""
        up = GaugeMetricFamily(
            "sendwindow_store_up", "1 when the store answered this scrape, else 0"
        )
        up.add_metric([], 1 if self.is_up else 0)
        return [up, *([] if self.snapshot is None else _families(self.snapshot))]


def _families(snapshot: Snapshot) -> list[Metric]:
    totals = [
        CounterMetricFamily(f"sendwindow_store_{name}", what) for name, what in _TOTALS.items()
    ]
    for name, total in zip(_TOTALS, totals, strict=True):
        total.add_metric([], snapshot.counts.get(name, 0))
    ended = CounterMetricFamily(
        "sendwindow_store_ended", "Dispatch ends", labels=["stage", "reason"]
    )
    resolved = CounterMetricFamily(
        "sendwindow_store_resolved", "Unknown outcomes by what settled them", labels=["reason"]
    )
    statuses = CounterMetricFamily(
        "sendwindow_store_statuses", "Provider statuses reached", labels=["status"]
    )
    lanes = GaugeMetricFamily(
        "sendwindow_lane_messages",
        "Messages in lanes, including those that are not due",
        labels=["sender", "priority"],
    )
    lists = GaugeMetricFamily(
        "sendwindow_listed_messages", "Messages in the lists that operators read", labels=["list"]
    )
    by_status: Counter[str] = Counter()
    for name, count in snapshot.counts.items():
        match name.split(":"):
            case ["end", stage, reason]:
                ended.add_metric([stage, reason], count)
            case ["resolved", reason]:
                resolved.add_metric([reason], count)
            case ["status", status]:
                by_status[known_status(status)] += count
            case _:
                pass
    for status, count in by_status.items():
        statuses.add_metric([status], count)
    # A lane is named <sender>|<priority>|<campaign>. The number of campaigns is unbounded, so the
    # campaign is not a label.
    by_lane: Counter[tuple[str, str]] = Counter()
    messages = {name: count for name, count in snapshot.depths.items() if name != _SUSPECTED}
    for name, count in messages.items():
        sender, bar, rest = name.partition("|")
        if bar:
            by_lane[sender, rest.partition("|")[0]] += count
        else:
            lists.add_metric([name], count)
    for (sender, priority), count in by_lane.items():
        lanes.add_metric([sender, priority], count)
    return [*totals, ended, resolved, statuses, lanes, lists, *_suspected(snapshot)]


def _suspected(snapshot: Snapshot) -> list[Metric]:
    many = GaugeMetricFamily(
        "sendwindow_suspected_stops", "Suspected stops that wait for an operator's decision"
    )
    many.add_metric([], snapshot.depths.get(_SUSPECTED, 0))
    waited = GaugeMetricFamily(
        "sendwindow_suspected_stop_oldest_seconds",
        "How long the oldest suspected stop has waited; 0 if there is none",
    )
    waited.add_metric([], (snapshot.suspected_for or timedelta()).total_seconds())
    return [many, waited]

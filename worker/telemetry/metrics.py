"""The metrics of one process, worker or gateway. No label identifies a person."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from policies.keywords import Keyword
from policies.status import RANKS
from sendwindow.vocabulary import Reason, Stage

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_POST_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30)
_WAIT_BUCKETS: Final = (
    0.001,
    0.002,
    0.004,
    0.008,
    0.015,
    0.03,
    0.06,
    0.125,
    0.25,
    0.5,
    1,
    5,
    30,
    300,
    3600,
)
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 15)

_STATUSES: Final = frozenset(RANKS)
_KEYWORDS: Final = frozenset(keyword.value for keyword in Keyword)


def known_status(status: str) -> str:
    """Return the label for a status: one of Twilio's known statuses verbatim, or `other`."""
    return status if status in _STATUSES else "other"


class _Children:
    """The children of a metric by their labels, so that each is looked for only once.

    Labels come from closed sets, so there are few children.
    """

    __slots__ = ("_children", "_metric")

    def __init__(self, metric: Counter) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], Counter] = {}

    def count(self, *labels: str) -> None:
        """Count one with these labels."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        child.inc()


class ProcessMetrics:
    """The metrics that every process of the service has, in a registry of its own.

    Durations are in seconds.

    A process shows only metrics of its own work. A gateway that showed a counter of POSTs at 0
    would seem to say that nothing is sent.
    """

    def __init__(self) -> None:
        # Without this the library adds a second series to every counter, which we do not use.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library ships it without annotations
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._refused = self._counter(
            "refused_requests", "HTTP requests that were refused", "endpoint", "reason"
        )
        self._failing = self._counter(
            "store_failures", "Calls to the store that failed, by part", "part"
        )
        self._ready = self._gauge("ready", "1 when this process can do its work, else 0")

    def refused(self, endpoint: str, reason: str) -> None:
        """Count a refused request."""
        self._refused.labels(endpoint, reason).inc()

    def failing(self, part: str) -> None:
        """Count a failed call to the store."""
        self._failing.labels(part).inc()

    def ready(self, *, is_ready: bool) -> None:
        """Set whether this process can do its work."""
        self._ready.set(1 if is_ready else 0)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"sendwindow_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(f"sendwindow_{name}", what, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(
            f"sendwindow_{name}", what, labels, buckets=tuple(buckets), registry=self.registry
        )


class WorkerMetrics(ProcessMetrics):
    """The metrics of a worker. Implements worker.ports.pipeline_metrics.PipelineMetrics."""

    def __init__(self) -> None:
        super().__init__()
        self._claimed = self._counter("claimed_messages", "Messages taken from their lanes")
        self._decisions = _Children(
            self._counter("decisions", "Decisions by their reason", "decision", "reason")
        )
        self._posts = _Children(
            self._counter("posts", "POSTs to the Messages API by their result", "outcome")
        )
        self._post_seconds = self._histogram("post_seconds", "How long a POST took", _POST_BUCKETS)
        self._wait_seconds = self._histogram(
            "enqueue_to_post_seconds",
            "From the enqueue of a message to the start of its POST",
            _WAIT_BUCKETS,
        )
        self._settled = _Children(
            self._counter("settled_messages", "Attempts by their outcome", "stage", "reason")
        )
        self._searches = self._counter(
            "evidence_searches", "Searches for evidence of unknown outcomes", "finding"
        )
        self._search_requests = self._counter(
            "evidence_requests", "Requests that those searches made"
        )
        self._fetches = self._counter(
            "status_fetches", "Missing statuses that were fetched", "result"
        )
        self._reaped = self._counter(
            "reaped_messages", "Messages whose lease ran out, by where they went", "stage"
        )
        self._leases_lost = self._counter(
            "leases_lost", "Messages that this worker had claimed and lost to another worker"
        )
        self._open = self._gauge("open_posts", "POSTs that are open in this process")
        self._held = self._gauge("held_messages", "Messages this process holds a lease on")
        self._cut_off = self._gauge(
            "own_breaker_open", "1 while nothing that this worker sends leaves, else 0"
        )

    def claimed(self, messages: int) -> None:
        """Count messages of one claim."""
        self._claimed.inc(messages)

    def decided(self, decision: str, reason: Reason) -> None:
        """Count a decision."""
        self._decisions.count(decision, reason.value)

    def posted(self, outcome: str, seconds: float, since_enqueued: float) -> None:
        """Count a POST, and observe its duration and the time from enqueue to its start."""
        self._posts.count(outcome)
        self._post_seconds.observe(seconds)
        self._wait_seconds.observe(since_enqueued)

    def settled(self, stage: Stage, reason: Reason) -> None:
        """Count what became of an attempt."""
        self._settled.count(stage.value, reason.value)

    def searched(self, finding: str, requests: int) -> None:
        """Count a search for evidence and its requests."""
        self._searches.labels(finding).inc()
        self._search_requests.inc(requests)

    def fetched(self, result: str) -> None:
        """Count the fetch of a missing status."""
        self._fetches.labels(result).inc()

    def reaped(self, stage: Stage) -> None:
        """Count a message whose lease ran out."""
        self._reaped.labels(stage.value).inc()

    def lease_lost(self, messages: int) -> None:
        """Count messages whose lease this worker lost."""
        self._leases_lost.inc(messages)

    def in_flight(self, posts: int, held: int) -> None:
        """Set how many POSTs are open, and on how many messages this process holds a lease."""
        self._open.set(posts)
        self._held.set(held)

    def cut_off(self, *, is_open: bool) -> None:
        """Set whether this worker's own breaker is open."""
        self._cut_off.set(1 if is_open else 0)


class Metrics(ProcessMetrics):
    """The metrics of a gateway."""

    def __init__(self) -> None:
        super().__init__()
        self._callbacks = self._counter(
            "callbacks",
            "Status callbacks that were applied: moved, resolved, repeated or unknown",
            "status",
            "effect",
        )
        self._inbound = self._counter("inbound", "Inbound messages by keyword", "keyword", "effect")
        self._signatures = self._counter(
            "signature_failures", "Requests whose signature was missing or wrong", "endpoint"
        )
        self._misdirected = self._counter(
            "misdirected_requests",
            "Requests at the wrong URL: status callbacks at inbound, messages at status",
            "endpoint",
        )
        self._overlaps = self._counter(
            "opt_out_overlaps", "Stops answered while a POST to that person was still open"
        )
        self._missed = self._counter(
            "missed_inbound_lists",
            "Lists of what persons wrote while no gateway listened, by result",
            "result",
        )
        self._request_seconds = self._histogram(
            "request_seconds", "How long Twilio waited for our answer", _REQUEST_BUCKETS, "endpoint"
        )

    def callback(self, status: str, effect: str) -> None:
        """Count an applied status callback.

        `effect` is moved, resolved, repeated, reopened, or unknown for an unknown message.
        """
        self._callbacks.labels(known_status(status), effect).inc()

    def inbound(self, keyword: str | None, effect: str) -> None:
        """Count an inbound message. `effect` is first, repeated, or why it was ignored."""
        label = "none" if keyword is None else keyword if keyword in _KEYWORDS else "other"
        self._inbound.labels(label, effect).inc()

    def signature_failed(self, endpoint: str) -> None:
        """Count a request whose signature was missing or wrong."""
        self._signatures.labels(endpoint).inc()

    def misdirected(self, endpoint: str) -> None:
        """Count a request that came to the wrong URL and was passed to the right endpoint."""
        self._misdirected.labels(endpoint).inc()

    def missed(self, result: str) -> None:
        """Count a list of undelivered messages: fetched, incomplete or failed."""
        self._missed.labels(result).inc()

    def overlapped(self) -> None:
        """Count a stop that was answered while a POST to that person was still open."""
        self._overlaps.inc()

    def answered(self, endpoint: str, seconds: float) -> None:
        """Record how long Twilio waited for a response."""
        self._request_seconds.labels(endpoint).observe(seconds)

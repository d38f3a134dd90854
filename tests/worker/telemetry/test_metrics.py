"""What the metrics count, and that no label names a person or grows without bound."""

import inspect

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sendwindow.vocabulary import Reason, Stage
from tests.support.no_metrics import NoMetrics
from worker.ports.pipeline_metrics import PipelineMetrics
from worker.telemetry.metrics import Metrics, ProcessMetrics, WorkerMetrics
from worker.telemetry.stored_metrics import Snapshot, StoredMetrics


def samples(metrics: ProcessMetrics) -> dict[tuple[str, ...], float]:
    """Return what a scrape shows: the value for each (name, labels)."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_metrics_are_a_meter_of_the_dispatch() -> None:
    """The metrics implement every call of the dispatcher's protocol and count it."""
    metrics: PipelineMetrics = WorkerMetrics()
    calls = [name for name, member in vars(NoMetrics).items() if inspect.isfunction(member)]
    assert calls
    assert all(callable(getattr(metrics, name)) for name in calls)


def test_a_message_on_its_way_is_counted() -> None:
    """Claims, decisions, POSTs and ends, each with its closed set of labels."""
    metrics = WorkerMetrics()
    metrics.claimed(3)
    metrics.decided("refuse", Reason.OPTED_OUT)
    metrics.posted("accepted", 0.2, 0.004)
    metrics.settled(Stage.ACCEPTED, Reason.ACCEPTED)
    metrics.searched("found", 2)
    metrics.fetched("final")
    metrics.reaped(Stage.UNKNOWN)
    metrics.lease_lost(1)
    metrics.in_flight(4, 9)
    metrics.failing("claim")
    seen = samples(metrics)
    assert seen["sendwindow_claimed_messages_total",] == 3
    assert seen["sendwindow_decisions_total", "refuse", "opted_out"] == 1
    assert seen["sendwindow_posts_total", "accepted"] == 1
    assert seen["sendwindow_post_seconds_sum",] == pytest.approx(0.2)
    assert seen["sendwindow_enqueue_to_post_seconds_bucket", "0.004"] == 1
    assert seen["sendwindow_enqueue_to_post_seconds_bucket", "0.002"] == 0
    assert seen["sendwindow_settled_messages_total", "accepted", "accepted"] == 1
    assert seen["sendwindow_evidence_requests_total",] == 2
    assert seen["sendwindow_status_fetches_total", "final"] == 1
    assert seen["sendwindow_reaped_messages_total", "unknown"] == 1
    assert seen["sendwindow_leases_lost_total",] == 1
    assert (seen["sendwindow_open_posts",], seen["sendwindow_held_messages",]) == (4, 9)
    assert seen["sendwindow_store_failures_total", "claim"] == 1


def series(metrics: ProcessMetrics) -> set[str]:
    """Return the names that a scrape shows, also without a value."""
    return {family.name for family in text_string_to_metric_families(metrics.render().decode())}


def test_a_process_shows_nothing_of_what_it_does_not_do() -> None:
    """A process shows no metric of another role.

    A 0 for POSTs in a gateway would read as "nothing is sent".
    """
    gateway, worker = series(Metrics()), series(WorkerMetrics())
    shared = {name for name in gateway & worker if name.startswith("sendwindow_")}
    assert shared == {
        "sendwindow_ready",
        "sendwindow_refused_requests",
        "sendwindow_store_failures",
    }
    for name in (
        "claimed_messages",
        "decisions",
        "posts",
        "post_seconds",
        "enqueue_to_post_seconds",
        "open_posts",
    ):
        assert f"sendwindow_{name}" in worker - gateway
    for name in (
        "callbacks",
        "inbound",
        "opt_out_overlaps",
        "request_seconds",
        "signature_failures",
    ):
        assert f"sendwindow_{name}" in gateway - worker


def test_unknown_statuses_and_keywords_are_one_label() -> None:
    """An unknown status or keyword gets one common label, since Twilio may add statuses and
    anyone may write texts.
    """
    metrics = Metrics()
    for status in ("sent", "teleported", "beamed"):
        metrics.callback(status, "moved")
    for keyword in ("stop", None, "whatever"):
        metrics.inbound(keyword, "first")
    seen = samples(metrics)
    assert seen["sendwindow_callbacks_total", "moved", "sent"] == 1
    assert seen["sendwindow_callbacks_total", "moved", "other"] == 2
    assert {key[2] for key in seen if key[0] == "sendwindow_inbound_total"} == {
        "stop",
        "none",
        "other",
    }


def test_two_processes_in_one_do_not_share_counts() -> None:
    """Each set of metrics has a registry of its own: nothing global is shared between tests or
    roles.
    """
    first, second = Metrics(), Metrics()
    first.ready(is_ready=True)
    assert samples(first)["sendwindow_ready",] == 1
    assert samples(second)["sendwindow_ready",] == 0


def test_the_store_s_totals_are_shown_without_campaigns() -> None:
    """Lanes are summed over campaigns, because a campaign's name must not become a label."""
    metrics = Metrics()
    stored = StoredMetrics(metrics.registry)
    counts = {
        "enqueued": 9,
        "unknown": 2,
        "end:refused:opted_out": 3,
        "resolved:evidence_list": 1,
        "status:sent": 4,
        "status:beamed": 1,
        "status:teleported": 2,
        "something:else:entirely:new": 7,
    }
    depths = {"shop|bulk|spring": 5, "shop|bulk|autumn": 6, "shop|urgent|": 1, "dead": 2}
    stored.snapshot, stored.is_up = Snapshot(counts, depths), True
    seen = samples(metrics)
    assert seen["sendwindow_store_up",] == 1
    assert seen["sendwindow_store_enqueued_total",] == 9
    assert seen["sendwindow_store_ended_total", "opted_out", "refused"] == 3
    assert seen["sendwindow_store_resolved_total", "evidence_list"] == 1
    assert seen["sendwindow_store_statuses_total", "other"] == 3
    assert seen["sendwindow_lane_messages", "bulk", "shop"] == 11
    assert seen["sendwindow_lane_messages", "urgent", "shop"] == 1
    assert seen["sendwindow_listed_messages", "dead"] == 2
    assert b"spring" not in metrics.render()


def test_what_the_store_counts_of_doubt_and_copies_is_shown() -> None:
    """Copies and resolutions are counters that start at 0, so that an alert can use them."""
    metrics = Metrics()
    stored = StoredMetrics(metrics.registry)
    names = (
        "duplicates",
        "late_evidence",
        "reopened",
        "unbound",
        "unresolved",
        "status_never_final",
    )
    stored.snapshot = Snapshot({}, {})
    assert [samples(metrics)[f"sendwindow_store_{name}_total",] for name in names] == [0] * len(
        names
    )
    stored.snapshot = Snapshot({name: number for number, name in enumerate(names, start=1)}, {})
    assert [samples(metrics)[f"sendwindow_store_{name}_total",] for name in names] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]


def test_a_store_that_is_away_is_shown_as_away() -> None:
    """While the store is away its totals are left out and store_up is 0.

    Old totals would look like a store that stands still.
    """
    metrics = Metrics()
    StoredMetrics(metrics.registry)
    seen = samples(metrics)
    assert seen["sendwindow_store_up",] == 0
    assert ("sendwindow_store_enqueued_total",) not in seen

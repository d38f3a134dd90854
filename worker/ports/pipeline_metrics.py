"""What a worker counts and times. `worker/telemetry` turns it into metrics.

Labels come from closed sets and are never ids.
"""

from typing import Protocol

from sendwindow.vocabulary import Reason, Stage


class PipelineMetrics(Protocol):
    """Records what happened. Calls are cheap, never wait and never raise. Durations in seconds."""

    def claimed(self, messages: int) -> None:
        """Count the messages of one claim."""
        ...

    def decided(self, decision: str, reason: Reason) -> None:
        """Count a decision (send, wait, refuse) and its reason."""
        ...

    def posted(self, outcome: str, seconds: float, since_enqueued: float) -> None:
        """Record a POST that ended as accepted, rejected, not_sent or unproven.

        `seconds`: how long the POST took. `since_enqueued`: how long after the enqueue it started.
        """
        ...

    def settled(self, stage: Stage, reason: Reason) -> None:
        """Count a message that reached a stage: an end, or waiting, retrying or unknown again."""
        ...

    def searched(self, finding: str, requests: int) -> None:
        """Record a search for evidence by its finding: found, absent, unclear or failed."""
        ...

    def fetched(self, result: str) -> None:
        """Count a status fetch by its result.

        The results are final, moved, unchanged, gone, failed and unknown_sender.
        """
        ...

    def reaped(self, stage: Stage) -> None:
        """Count a message whose lease ran out, by the stage that it moved to."""
        ...

    def lease_lost(self, messages: int) -> None:
        """Count messages that were in flight and whose lease this worker lost."""
        ...

    def in_flight(self, posts: int, held: int) -> None:
        """Record how many POSTs are open and how many messages are in flight now."""
        ...

    def cut_off(self, *, is_open: bool) -> None:
        """Set whether this worker's own breaker is open, because nothing it sends leaves."""
        ...

    def failing(self, part: str) -> None:
        """Count a failed call to the store in one part of the worker. The worker repeats it."""
        ...

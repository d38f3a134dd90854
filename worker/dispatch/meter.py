"""What the dispatch counts and times; `worker/telemetry` makes metrics of it. Labels are closed sets, never an id."""

from typing import Protocol

from sendwindow.vocabulary import Reason, Stage


class Meter(Protocol):
    """Receives what happened. Calls are cheap, never wait and never raise. Durations in seconds."""

    def claimed(self, messages: int) -> None:
        """So many messages were claimed in one call."""
        ...

    def decided(self, decision: str, reason: Reason) -> None:
        """A decision (send, wait, refuse) was made for a reason."""
        ...

    def posted(self, outcome: str, seconds: float, since_enqueued: float) -> None:
        """A POST ended as accepted, rejected, not_sent or unproven; `since_enqueued` is when it started."""
        ...

    def settled(self, stage: Stage, reason: Reason) -> None:
        """A message reached a stage: one of the ends, or back to waiting, retrying or unknown."""
        ...

    def searched(self, finding: str, requests: int) -> None:
        """A search for evidence found, missed, or could not tell (found, absent, unclear, failed)."""
        ...

    def fetched(self, result: str) -> None:
        """A missing status was fetched (final, moved, unchanged, gone, failed, unknown_sender)."""
        ...

    def reaped(self, stage: Stage) -> None:
        """A message whose lease ran out went on to a stage."""
        ...

    def lease_lost(self, messages: int) -> None:
        """So many held messages are no longer ours."""
        ...

    def in_flight(self, posts: int, held: int) -> None:
        """So many POSTs are open and so many messages are held right now."""
        ...

    def failing(self, part: str) -> None:
        """A call to the store failed in a part of the dispatch; it is tried again."""
        ...


class NullMeter:
    """Counts nothing."""

    def claimed(self, messages: int) -> None:
        """Ignore."""

    def decided(self, decision: str, reason: Reason) -> None:
        """Ignore."""

    def posted(self, outcome: str, seconds: float, since_enqueued: float) -> None:
        """Ignore."""

    def settled(self, stage: Stage, reason: Reason) -> None:
        """Ignore."""

    def searched(self, finding: str, requests: int) -> None:
        """Ignore."""

    def fetched(self, result: str) -> None:
        """Ignore."""

    def reaped(self, stage: Stage) -> None:
        """Ignore."""

    def lease_lost(self, messages: int) -> None:
        """Ignore."""

    def in_flight(self, posts: int, held: int) -> None:
        """Ignore."""

    def failing(self, part: str) -> None:
        """Ignore."""

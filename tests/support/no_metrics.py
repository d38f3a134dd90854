"""Metrics for tests that read none."""

from sendwindow.vocabulary import Reason, Stage


class NoMetrics:
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

    def cut_off(self, *, is_open: bool) -> None:
        """Ignore."""

    def failing(self, part: str) -> None:
        """Ignore."""

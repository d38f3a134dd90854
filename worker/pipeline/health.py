"""Which parts of a worker fail now."""

import errno

from structlog.typing import FilteringBoundLogger

from sendwindow.store_faults import fault_of
from worker.ports.pipeline_metrics import PipelineMetrics


class Health:
    """Records which parts fail. Logs a part's first failure and its recovery, not each try."""

    def __init__(
        self, log: FilteringBoundLogger, metrics: PipelineMetrics, place: str = "the store"
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._place = place
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> frozenset[str]:
        return frozenset(self._failing)

    @property
    def problem(self) -> str | None:
        """One sentence about the part that failed first, because the others mostly follow from it.

        None while nothing fails.
        """
        part = next(iter(self._failing), None)
        return None if part is None else f"{self._failing[part]} (part {part})"

    def failed(self, part: str, error: Exception) -> None:
        """Record that a part failed.

        The log gets the sentence of the fault table, because the text of an error may hold a URL
        with secrets.
        """
        self._metrics.failing(part)
        if part not in self._failing:
            fault = fault_of(error)
            self._failing[part] = fault.sentence(self._place)
            code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
            self._log.warning(
                "failing",
                part=part,
                error=type(error).__name__,
                code=code,
                word=fault.word,
                why=self._failing[part],
            )

    def works(self, part: str) -> None:
        """Record that a part works."""
        if part in self._failing:
            del self._failing[part]
            self._log.info("recovered", part=part)

    def given_up(self, part: str) -> None:
        """Forget a part that the worker gave up, because no later call could show that it works."""
        self._failing.pop(part, None)

"""What the gateway's endpoints share: the settings, the store, the rules and the observers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from policies.ruleset import Ruleset
from worker.gateway.health import JournalHealth
from worker.ports.people import People
from worker.ports.records import Records
from worker.ports.statuses import Statuses
from worker.settings.settings import Settings
from worker.telemetry.journal import Journal
from worker.telemetry.metrics import Metrics


class GatewayStore(Protocol):
    """The parts of the store that the gateway uses."""

    @property
    def people(self) -> People: ...

    @property
    def statuses(self) -> Statuses: ...

    @property
    def records(self) -> Records: ...


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """Everything that an endpoint works with. `label` returns a person's label for logs."""

    settings: Settings
    store: GatewayStore
    rules: Ruleset
    journal: Journal
    metrics: Metrics
    log: FilteringBoundLogger
    label: Callable[[str], str]
    journal_view: JournalHealth

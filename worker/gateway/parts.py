"""What the gateway's endpoints share: the store, the rules, where they note what they did."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from policies.rules import Rules
from worker.gateway.view import JournalView
from worker.journal import Journal
from worker.ports import People, Records, Statuses
from worker.settings import Settings
from worker.telemetry.metrics import Metrics


class GatewayStore(Protocol):
    """The parts of the store the gateway uses."""

    @property
    def people(self) -> People: ...

    @property
    def statuses(self) -> Statuses: ...

    @property
    def records(self) -> Records: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything an endpoint works with. `label` names a person in logs."""

    settings: Settings
    store: GatewayStore
    rules: Rules
    journal: Journal
    meter: Metrics
    log: FilteringBoundLogger
    label: Callable[[str], str]
    journal_view: JournalView

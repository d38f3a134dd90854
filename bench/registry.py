"""Every row, in the order in which the table shows them, and the module of each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bench.row import Row
from bench.rows import (
    backlog,
    bulk_enqueue,
    bullmq,
    campaigns,
    client_loop,
    fair_shares,
    gateway,
    isolation,
    latency,
    memory,
    ours,
    outage,
    paused_sender,
    raw_loop,
    vanilla_arq,
    workers,
)

_MODULES: Final = (
    raw_loop,
    client_loop,
    ours,
    vanilla_arq,
    bullmq,
    workers,
    backlog,
    bulk_enqueue,
    gateway,
    latency,
    memory,
    fair_shares,
    isolation,
    campaigns,
    paused_sender,
    outage,
)

ROWS: Final[tuple[Row, ...]] = tuple(row for module in _MODULES for row in module.ROWS)

MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {row.name: module.__name__ for module in _MODULES for row in module.ROWS}
)
"""Row → its module. A row's process loads only that."""

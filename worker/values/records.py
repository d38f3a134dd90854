"""A message as a person asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

IN_A_LANE: Final = frozenset({"queued", "waiting", "retrying"})
"""Stages of messages that stand in a lane, or among the suspects, until a worker claims them."""


@dataclass(frozen=True, slots=True)
class SidLine:
    """What is kept of a SID that is not the row's own. `status` is empty when nothing was reported of it."""

    attempt: int
    rank: int
    status: str
    has_failed: bool
    was_sent_again: bool
    code: int | None


@dataclass(frozen=True, slots=True)
class Record:
    """A message as the ledger has it: its row, its timeline, and the job while it lasts.

    `due_at`: when it is due, while it stands in a lane. `sids`: what is known of its SIDs other than the accepted one.
    """

    message_id: str
    row: Mapping[str, str]
    timeline: tuple[Mapping[str, Any], ...]
    payload: bytes | None = field(default=None, repr=False)
    due_at: datetime | None = None
    sids: Mapping[str, SidLine] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """A message that ended, as far as a person chooses by it. `lane`: `<sender>|<priority>|<campaign or nothing>`."""

    message_id: str
    stage: str
    reason: str
    lane: str
    ended_at: datetime
    code: int | None = None

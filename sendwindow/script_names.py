"""The Lua files of producers, with the fields and constants that every script may use."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib import resources
from typing import Final

from sendwindow.keys import SCHEMA
from sendwindow.lua_sources import Literal, LuaSources
from sendwindow.row_fields import CampaignField, OldRowField, RowField, SenderField, TableField
from sendwindow.vocabulary import OnUnknown, Priority, Reason, Stage

HELD: Final = frozenset({Stage.CLAIMED, Stage.POSTING, Stage.UNKNOWN, Stage.UNRESOLVED})
"""Stages in which an attempt is under way or may be at Twilio: the message is not sent again."""

IN_A_LANE: Final = frozenset({Stage.QUEUED, Stage.WAITING, Stage.RETRYING})
"""Stages of messages that are in a lane, or among the suspects, until a worker claims them."""

UNPOSTED: Final = IN_A_LANE | {Stage.CLAIMED}
"""Stages of messages that no attempt of this round was posted for."""


CLASSES: Final = tuple(Priority)
"""The classes that share the turns of a partition, the most urgent first."""


NO_END_MS: Final = 253_370_764_800_000
"""Stands for the end of a pause that has none: the last instant that `from_ms` returns."""


def names_of(*enums: Iterable[StrEnum], prefix: str = "") -> dict[str, Literal]:
    """Return each member of some enums under its own name.

    Raises ValueError if two members with one name have different values.
    """
    found: dict[str, Literal] = {}
    for member in (member for enum in enums for member in enum):
        name = prefix + member.name
        if found.setdefault(name, member.value) != member.value:
            raise ValueError(f"two constants are called {name}")
    return found


def fields_of(*enums: Iterable[StrEnum]) -> Mapping[str, str]:
    """Return the stored spelling of each field of some enums, by its name in Lua."""
    return {name.lower(): str(value) for name, value in names_of(*enums).items()}


FIELDS: Final = fields_of(RowField, OldRowField, TableField, SenderField, CampaignField)

CONSTANTS: Final[Mapping[str, Literal]] = {
    **names_of(Stage, Reason),
    **names_of(OnUnknown, prefix="ON_UNKNOWN_"),
    "SCHEMA": SCHEMA,
    "MAX_WAKE_TOKENS": 64,
    "MAX_TIMELINE_LINES": 64,
    "FIRST_TIMELINE_LINES": 16,
    "MAX_COUNT": 1_000_000,
    "UNPOSTED": UNPOSTED,
    "HELD": HELD,
    "IN_A_LANE": IN_A_LANE,
    "CLASSES": CLASSES,
    "NO_END_MS": NO_END_MS,
}

SOURCES: Final = LuaSources((resources.files("sendwindow") / "lua",), FIELDS, CONSTANTS)
"""The scripts that a producer runs, and the helpers that they share with those of a worker."""

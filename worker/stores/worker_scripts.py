"""The worker's Lua files, with the fields and constants that they may use."""

from collections.abc import Mapping
from importlib import resources
from typing import Final

from policies.facts import Holds, TagState
from policies.spellings import MAX_PHONE_DIGITS, NumberForm, OptionalDigit
from policies.status import FAILURES, RANKS
from sendwindow import script_names
from sendwindow.keys import ARQ_JOB, KEEP_ENDED_MS
from sendwindow.lua_sources import Literal, LuaSources
from sendwindow.row_fields import OldRowField
from sendwindow.script_names import IN_A_LANE, UNPOSTED, fields_of, names_of
from sendwindow.scripts import Script, load_script
from sendwindow.vocabulary import Priority, Purpose, Stage
from worker.error_effects import CREDENTIALS_REFUSED
from worker.persons import SPELLINGS
from worker.ports.claims import CRASHES_IN_COMPANY
from worker.stores.fact_fields import PersonField, StateField
from worker.stores.notifier import HANDED_ON
from worker.stores.person_digests import DIGEST_CHARACTERS

MAX_DECIDED_MESSAGES: Final = 32
"""How many messages one call of `dead.lua` decides about."""

MAX_DIGITS: Final = 20
"""No number that Sendwindow stores has this many digits."""

ANY: Final = "*"
"""Stands for every sender of an account, and for every purpose, in the names of consent fields."""

RETRIABLE: Final = frozenset({Stage.REFUSED, Stage.FAILED, Stage.EXPIRED})
"""Stages of ended messages that an operator may retry. Such a message keeps its job as long as its
row.
"""

EXPIRED_CLASS: Final = "expired"
"""Stands next to the classes, for messages that expired while they were queued."""

TURN_COSTS: Final = {
    Priority.URGENT: 1,
    Priority.NORMAL: 4,
    Priority.BULK: 16,
    EXPIRED_CLASS: 4,
}
"""What a message costs its class. While all have work, urgent gets 16 turns, normal 4, bulk 1."""

PROBE_MS: Final = 60_000
"""How long no other message tries after one was claimed to, if its outcome is never recorded.

It is longer than a POST takes.
"""

_SECOND_MS: Final = 1000
_HOUR_MS: Final = 3600 * _SECOND_MS


def _spelling_rule(digit: OptionalDigit) -> Mapping[str, Literal]:
    """Return the entry of a digit that a number may have or lack.

    The countries are one text, because Lua would build a table again on every call.
    """
    return {
        "countries": f" {' '.join(sorted(digit.countries))} ",
        "digit": digit.digit,
        "position": digit.position,
        "followed_by": digit.followed_by,
        "length": digit.length,
        "is_with": digit.canonical is NumberForm.WITH,
    }


CONSTANTS: Final[Mapping[str, Literal]] = {
    **script_names.CONSTANTS,
    **names_of(TagState, prefix="TAG_"),
    **names_of(Holds, prefix="HOLDS_"),
    "FAILURE_STATUSES": FAILURES,
    "HANDED_ON": HANDED_ON,
    "CLASSES_RING": "classes",
    "EXPIRED_CLASS": EXPIRED_CLASS,
    "BULK": Priority.BULK,
    "URGENT": Priority.URGENT,
    "TURN_COSTS": TURN_COSTS,
    "MINUTE_MS": 60 * _SECOND_MS,
    "RETRIABLE": RETRIABLE,
    "KEEP_ENDED_MS": KEEP_ENDED_MS,
    "HOUR_MS": _HOUR_MS,
    "DAY_MS": 24 * _HOUR_MS,
    "CRASHES_IN_COMPANY": CRASHES_IN_COMPANY,
    "CRASHES_ALONE": 3,
    "BUSY_AGAIN_MS": 250,
    "ANY": ANY,
    "DIGEST_CHARACTERS": DIGEST_CHARACTERS,
    "MARKETING": Purpose.MARKETING,
    "CONSENT_FIELD": "[cdos]:",
    "OLD_FIELDS": frozenset(OldRowField),
    "OPEN_TO_PROOF": UNPOSTED | {Stage.UNKNOWN, Stage.UNRESOLVED},
    "ELSEWHERE": frozenset(Stage) - IN_A_LANE,
    "ARQ_JOB": ARQ_JOB,
    "NEVER_MS": 253_402_300_800_000,
    "MAX_GRANTS": 32,
    "MAX_LEDGER_LINES": 512,
    "KEPT_LEDGER_LINES": 384,
    "POINTER_FIELDS": 2,
    "MARK_CHARACTERS": 12,
    "MAX_MARKS": 32,
    "MAX_DIGITS": MAX_DIGITS,
    "MAX_DECIDED_MESSAGES": MAX_DECIDED_MESSAGES,
    "MAX_RING_MOVES": 32,
    "PROBE_MS": PROBE_MS,
    "CREDENTIALS_REFUSED": CREDENTIALS_REFUSED,
    "REOPEN_WITHIN_MS": 24 * _HOUR_MS,
    "RANK_DELIVERED": RANKS["delivered"],
    "MAX_NUMBER_DIGITS": MAX_PHONE_DIGITS,
    "OPTIONAL_DIGITS": [_spelling_rule(digit) for digit in SPELLINGS.digits],
}

SOURCES: Final = LuaSources(
    (*script_names.SOURCES.folders, resources.files("worker.stores") / "lua"),
    {**script_names.FIELDS, **fields_of(PersonField, StateField)},
    CONSTANTS,
)
"""The scripts of workers and gateways."""


def worker_script(name: str) -> Script:
    """Load one of the worker's scripts.

    All of them may write to a full store, so that it drains, except `adopt`: like a producer's own
    script, it writes nothing to a full store.
    """
    return load_script(name, SOURCES, flags=() if name == "adopt" else ("allow-oom",))

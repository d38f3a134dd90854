"""The types that every check shares: its options, its breaches, and what it looks at."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from verify.fate import Fate
from verify.history import Book

GRACE_MS: Final = 5_000
"""Tolerance in milliseconds. A permit lasts 2 s, the POST takes a moment, and the clocks of the
store and the provider may differ a little."""


@dataclass(frozen=True, slots=True)
class Options:
    """How strict to be.

    `final`: every message must have ended by now, unless its stage is in `open_allowed`.
    `suspended`: processes were suspended while they worked, so a POST that was admitted before a
    STOP was answered may arrive after it. Such POSTs are counted, but do not break P1.
    `stuck_after_ms`: unless `final`, a message is a breach if it was claimed and no line has
    mentioned it for that long. `shown`: for how many offenders the report shows the history, per
    promise.
    """

    final: bool = True
    open_allowed: frozenset[str] = frozenset()
    suspended: bool = False
    stuck_after_ms: float | None = None
    shown: int = 5


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken promise: the rule, the message (or a SID if no message is named), a sentence."""

    rule: str
    message_id: str | None
    detail: str


@dataclass(slots=True)
class JudgeContext:
    """What all checks look at, and what they count along the way.

    `unjudged`: rule → how many POSTs it could not judge.
    """

    book: Book
    fates: dict[str, Fate]
    options: Options
    counts: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)


Check = Callable[[JudgeContext], Iterator[Breach]]

"""What every check gets, and what it gives: options, breaches, the case at hand."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from worker.verify.fate import Fate
from worker.verify.history import Book

GRACE_MS: Final = 5_000
"""A permit lasts 2 s, the POST needs a moment, and the clocks of store and provider may differ a little."""


@dataclass(frozen=True, slots=True)
class Options:
    """How strict to be.

    `final`: everything must have ended by now, apart from stages in `open_allowed`. `suspended`: processes were stopped
    while working, so a POST admitted before a STOP's answer may arrive after it; such are counted, not held against P1.
    `stuck_after_ms`: while not final, a message claimed that long ago and not heard of since is a breach.
    `shown`: how many offenders a promise shows with their history.
    """

    final: bool = True
    open_allowed: frozenset[str] = frozenset()
    suspended: bool = False
    stuck_after_ms: float | None = None
    shown: int = 5


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken promise: which rule, which message (a SID where no message is named), in words."""

    rule: str
    message_id: str | None
    detail: str


@dataclass(slots=True)
class Case:
    """What all checks look at, and what they count on the way. `unjudged`: rule → POSTs it could not judge."""

    book: Book
    fates: dict[str, Fate]
    options: Options
    counts: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)


Check = Callable[[Case], Iterator[Breach]]

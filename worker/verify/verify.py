"""Judges a run from its journals."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from worker.verify.announced import WITNESSES
from worker.verify.case import Case, Check, Options
from worker.verify.copies import one_copy
from worker.verify.counts import Counts, count
from worker.verify.ends import kept
from worker.verify.fate import fate_of
from worker.verify.history import Book, Standing, open_book
from worker.verify.journals import Line, read
from worker.verify.orders import add_unanswered
from worker.verify.policy import policy, requests
from worker.verify.report import Promise, Report
from worker.verify.statuses import forward

_PROMISES: Final[tuple[tuple[str, str, Check, tuple[str, ...]], ...]] = (
    ("P1", "nothing goes out that the policy forbids", policy, ("post",)),
    (
        "P2",
        "accepted means kept: one end for every message",
        kept,
        ("accepted", "claimed", "settled", "ended"),
    ),
    ("P3", "at most one copy", one_copy, ("post",)),
    ("P4", "statuses only move forward, what was answered is stored", forward, ("callback", "callback_sent")),
    ("requests", "every POST keeps to the parameter table", requests, ("post",)),
)
"""Name, title, check, and the events of which at least one must be there to check anything."""


Found = Callable[[Collection[str]], Mapping[str, Standing]]
"""Asks the store where messages are; answers for those it knows."""


def verify(
    paths: Iterable[Path],
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    found: Found | None = None,
) -> Report:
    """Read journals of worker and sandbox and judge them. Raises OSError when a file cannot be read.

    `found` is asked once, for every message the journals name. Its word comes last, as that of a line `found`: it knows
    what was done without a journal, such as a producer's cancel. What it raises is raised.
    """
    evidence = read(list(paths))
    book = open_book(evidence)
    if found is not None:
        book.add_found(found(book.histories.keys()))
    add_unanswered(book, evidence.lines)
    case = Case(book, {name: fate_of(history) for name, history in book.histories.items()}, options)
    judged = tuple(_judge(case, *promise) for promise in _PROMISES)
    lost = sum(1 for promise in judged for breach in promise.breaches if breach.rule == "lost")
    counts = count(evidence, case, lost)
    return Report(
        promises=judged,
        counts=counts,
        histories=_histories(book, judged, options.shown),
        unreadable=tuple(evidence.unreadable),
        missing=book.missing,
        not_judged=_not_judged(case, counts),
    )


def _not_judged(case: Case, counts: Counts) -> dict[str, str]:
    posts = len(case.book.posts)
    rules = {rule: f"{times} of {posts} POSTs: {WITNESSES[rule]}" for rule, times in case.unjudged.items()}
    if not counts.unannounced:
        return rules
    return {
        "P2": f"{counts.unannounced} of {counts.messages} messages without `accepted`: "
        "whoever queued them wrote no journal, so one that was lost before its first claim is not seen",
        **rules,
    }


def _judge(case: Case, name: str, title: str, check: Check, witnesses: tuple[str, ...]) -> Promise:
    if not any(case.book.events.get(event) for event in witnesses):
        return Promise(name, title, checked=False, note=f"no line of {', '.join(witnesses)} in the journals")
    return Promise(name, title, breaches=list(check(case)))


def _histories(book: Book, judged: Sequence[Promise], shown: int) -> dict[str, list[Line]]:
    names = dict.fromkeys(name for promise in judged for name in promise.ids[:shown])
    return {name: book.histories[name].lines for name in names if name in book.histories}

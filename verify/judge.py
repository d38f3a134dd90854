"""Judges a run from its journals."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from verify.announced import WITNESSES
from verify.copies import one_copy
from verify.counts import Counts, count
from verify.ends import kept
from verify.fate import fate_of
from verify.history import Book, StoredOutcome, open_book
from verify.journal_reader import Line, read
from verify.judge_context import Check, JudgeContext, Options
from verify.orders import add_unanswered
from verify.policy_checks import policy, requests
from verify.report import Promise, Report
from verify.status_order import forward

_PROMISES: Final[tuple[tuple[str, str, Check, tuple[str, ...]], ...]] = (
    ("P1", "nothing goes out that the policy forbids", policy, ("post",)),
    (
        "P2",
        "accepted means kept: one end for every message",
        kept,
        ("accepted", "claimed", "settled", "ended"),
    ),
    ("P3", "at most one copy", one_copy, ("post",)),
    (
        "P4",
        "statuses only move forward, what was answered is stored",
        forward,
        ("callback", "callback_sent"),
    ),
    ("requests", "every POST keeps to the parameter table", requests, ("post",)),
)
"""Name, title, check, and the events of which at least one must be present to check anything."""


Found = Callable[[Collection[str]], Mapping[str, StoredOutcome]]
"""Asks the store where messages are, and returns those that the store knows."""


def verify(
    paths: Iterable[Path],
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    found: Found | None = None,
) -> Report:
    """Read the journals of workers and the sandbox and judge them.

    `found` is called once, with every message that the journals name. What the store says counts
    last, as a line `found`, because the store knows of changes that no journal has, such as a
    producer's cancel.

    Raises OSError when a file cannot be read, and whatever `found` raises.
    """
    evidence = read(list(paths))
    book = open_book(evidence)
    if found is not None:
        book.add_found(found(book.histories.keys()))
    add_unanswered(book, evidence.lines)
    case = JudgeContext(
        book, {name: fate_of(history) for name, history in book.histories.items()}, options
    )
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


def _not_judged(case: JudgeContext, counts: Counts) -> dict[str, str]:
    posts = len(case.book.posts)
    rules = {
        rule: f"{times} of {posts} POSTs: {WITNESSES[rule]}"
        for rule, times in case.unjudged.items()
    }
    if not counts.unannounced:
        return rules
    return {
        "P2": f"{counts.unannounced} of {counts.messages} messages without `accepted`: their "
        "producer wrote no journal, so one that was lost before its first claim is not "
        "seen",
        **rules,
    }


def _judge(
    case: JudgeContext, name: str, title: str, check: Check, witnesses: tuple[str, ...]
) -> Promise:
    if not any(case.book.events.get(event) for event in witnesses):
        return Promise(
            name, title, checked=False, note=f"no line of {', '.join(witnesses)} in the journals"
        )
    return Promise(name, title, breaches=list(check(case)))


def _histories(book: Book, judged: Sequence[Promise], shown: int) -> dict[str, list[Line]]:
    names = dict.fromkeys(name for promise in judged for name in promise.ids[:shown])
    return {name: book.histories[name].lines for name in names if name in book.histories}

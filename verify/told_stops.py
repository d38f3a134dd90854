"""Checks P1 after errors that told the service not to send, as far as it had to believe them.

It reads POSTs that the provider refused with 21610, when the service had recorded that, and what
the person said since.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from verify.error_jumps import ErrorJumps
from verify.history import Book, History
from verify.journal_reader import Line
from verify.judge_context import GRACE_MS, Breach, JudgeContext
from verify.taught import OPTED_OUT, learned_t

_SAME: Final = ("person", "account", "channel", "sender", "user_id")


def may_be_held(book: Book, jumps: ErrorJumps, post: Line, codes: frozenset[int]) -> bool:
    """Return whether all that errors taught about the person of a POST may wait for an operator.

    `codes` are the codes that would forbid the POST.
    """
    errors = [
        one
        for one in book.posts
        if one["t"] < post["t"]
        and one.get("code") in codes
        and (one.get("person"), one.get("account")) == (post.get("person"), post.get("account"))
    ]
    return bool(errors) and all(map(jumps.may_be_beyond, errors))


def told_opted_out(case: JudgeContext, jumps: ErrorJumps) -> Iterator[Breach]:
    """Find POSTs that were decided after the provider had said that the person opted out."""
    refused: dict[tuple[object, ...], list[Line]] = defaultdict(list)
    for post in case.book.posts:
        history = case.book.histories.get(post.get("id") or "")
        if history is None or post.get("form") is None:
            continue
        mine = refused[tuple(post.get(name) for name in _SAME)]
        if any(_forbids(case.book, jumps, error, post, history) for error in mine):
            detail = f"POST {post.get('n')} although the provider had answered 21610 before"
            yield Breach("told_opted_out", post.get("id"), detail)
        if post.get("code") == OPTED_OUT and post.get("then") is None:
            mine.append(post)


def _forbids(book: Book, jumps: ErrorJumps, error: Line, post: Line, history: History) -> bool:
    """Return whether an earlier error forbids a POST.

    It forbids what was decided after it was recorded, unless it may be one of too many, or the
    person has asked for messages since.
    """
    decided, at = _decision(history, post), learned_t(book, error)
    if decided.get("reason") == "opt_out_confirmation":
        return False
    if at is None or at >= decided["t"] or jumps.may_be_beyond(error):
        return False
    return not _has_asked(book, history, error, post)


def _decision(history: History | None, post: Line) -> Line:
    """Return the decision that led to a POST.

    Without one, a decision is assumed that is as old as the clocks allow.
    """
    decided = history.of("decided") if history else []
    assumed: Line = {"t": post["t"] - GRACE_MS}
    return next((line for line in reversed(decided) if line["t"] < post["t"]), assumed)


def _has_asked(book: Book, history: History, error: Line, post: Line) -> bool:
    """Return whether the person asked for messages after the attempt that failed was decided.

    They wrote START, or a grant was recorded. What the error taught is dated by that attempt.
    """
    since = _decision(book.histories.get(error["id"]), error)["t"]
    names = [line["person"] for line in history.of("accepted") if line.get("person")]
    starts = [
        said["t"]
        for said in book.said.values()
        if said.get("start") and said.get("person") == post.get("person")
    ]
    grants = [
        line["t"] for line in book.consents if line.get("granted") and line.get("person") in names
    ]
    return any(since < at < post["t"] for at in (*starts, *grants))

"""Checks P3, at most one copy. Copies are counted from the sandbox's journal only."""

from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from typing import Final

from verify.history import History, is_2xx
from verify.journal_reader import Line
from verify.judge_context import Breach, JudgeContext

POSSIBLY_SENT: Final = 30410
"""A message that is `failed` with this code may have reached the person: Twilio timed out waiting
for the carrier's answer."""
_RULE: Final = "resent_by_rule"


def one_copy(case: JudgeContext) -> Iterator[Breach]:
    """Find messages that break P3: more than one copy may have reached the person.

    A further copy is allowed if the message's rule or an operator asked for it.
    """
    checks_intents = case.book.has_worker
    for post in case.book.posts:
        if post.get("sid") and post.get("id") is None:
            yield Breach(
                "nameless",
                post["sid"],
                f"POST {post.get('n')} carries no message id in its StatusCallback",
            )
    for history in case.book.histories.values():
        posts = history.of("post")
        if posts:
            yield from _copies(case, history, posts)
            yield from _never_again(history, posts)
            yield from _attempts(history, posts, checks_intents=checks_intents)
        yield from _fences(history)
        yield from _old_claims(history)


def _copies(case: JudgeContext, history: History, posts: list[Line]) -> Iterator[Breach]:
    copies = [post for post in posts if post.get("sid") and not never_arrived(post)]
    if len(copies) < 2:
        return
    # An operator who orders another life accepts the copies sent before, and one more.
    again, admitted = history.sent_again(), _intents(history)
    began = [admitted.get(post.get("attempt"), float(post["t"])) for post in copies]
    lives = {bisect(again, at) for at in began}
    excess = len(copies) - 1
    mistaken = sum(
        _was_called_failed(history, one, began[at + 1 :]) for at, one in enumerate(copies)
    )
    unexcused = max(0, len(copies) - len(lives) - _resent_by_rule(history) - mistaken)
    case.counts["duplicates"] += excess
    case.counts["duplicates_allowed"] += excess - unexcused
    if unexcused:
        attempts = ", ".join(str(post.get("attempt")) for post in copies)
        yield Breach(
            "duplicate",
            history.message_id,
            f"{len(copies)} copies taken by the provider: attempts {attempts}",
        )


def never_arrived(post: Line) -> bool:
    """Return whether a message that the provider took certainly did not reach the person."""
    return (
        post.get("fails") == "failed"
        and post.get("code") != POSSIBLY_SENT
        and post.get("then") is None
    )


def _was_called_failed(history: History, post: Line, later: list[float]) -> bool:
    """Return whether the next attempt was admitted while this copy counted as failed.

    That is so when the provider had reported it as failed and had not yet reported its arrival.
    """
    if post.get("then") is None or not later:
        return False
    told = [line for line in history.of("callback_sent") if line.get("sid") == post["sid"]]
    failed = [
        line["t"] - (line.get("ms") or 0.0)
        for line in told
        if line.get("status") == post.get("fails")
    ]
    proven = [
        line["t"]
        for line in told
        if line.get("status") == post["then"] and is_2xx(line.get("http"))
    ]
    return min(failed, default=float("inf")) < min(later) < min(proven, default=float("inf"))


def _never_again(history: History, posts: list[Line]) -> Iterator[Breach]:
    """Find messages with the rule `never` that were posted again after the provider took them."""
    rule = next((line.get("rule") for line in history.of("accepted") if line.get("rule")), None)
    if rule != "never":
        return
    again, admitted = history.sent_again(), _intents(history)
    taken: set[int] = set()
    for post in posts:
        life = bisect(again, admitted.get(post.get("attempt"), float(post["t"])))
        if life in taken:
            yield Breach(
                "never_again",
                history.message_id,
                f"POST {post.get('n')} although its rule is never and one was taken",
            )
        if post.get("sid"):
            taken.add(life)


def _resent_by_rule(history: History) -> int:
    """Return how often the rule `resend` sent again.

    The rule `resend_if_absent` must never make a second copy.
    """
    rule = next((line.get("rule") for line in history.of("accepted") if line.get("rule")), None)
    return sum(
        1
        for line in history.of("resolved", "settled", "reaped")
        if line.get("reason") == _RULE and line.get("rule", rule) == "resend"
    )


def _intents(history: History) -> dict[object, float]:
    """Return when each attempt was admitted."""
    intents: dict[object, float] = {}
    for line in history.of("intent"):
        intents.setdefault(line.get("attempt"), line["t"])
    return intents


def _attempts(history: History, posts: list[Line], *, checks_intents: bool) -> Iterator[Breach]:
    numbers = Counter(post.get("attempt") for post in posts)
    for attempt, count in numbers.items():
        if count > 1:
            yield Breach(
                "attempt_reused", history.message_id, f"{count} POSTs under attempt {attempt}"
            )
    if not checks_intents:
        return
    intents = _intents(history)
    for post in posts:
        if intents.get(post.get("attempt"), float("inf")) > post["t"]:
            yield Breach(
                "no_intent",
                history.message_id,
                f"POST {post.get('n')} left before its intent was written",
            )


def _fences(history: History) -> Iterator[Breach]:
    holders: dict[object, object] = {}
    for line in history.of("claimed"):
        if holders.setdefault(line.get("fence"), line.get("who")) != line.get("who"):
            yield Breach(
                "shared_fence", history.message_id, f"two workers hold fence {line.get('fence')}"
            )


def _old_claims(history: History) -> Iterator[Breach]:
    """Find attempts that ran under a claim from before an operator ordered another life."""
    again = history.sent_again()
    if not again:
        return
    lives: dict[object, int] = {}
    for line in history.of("intent"):
        life = bisect(again, line["t"])
        if lives.setdefault(line.get("fence"), life) != life:
            yield Breach(
                "old_claim",
                history.message_id,
                f"attempt {line.get('attempt')} was admitted under a claim from before a person "
                "had it sent again",
            )

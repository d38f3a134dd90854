"""P3: at most one copy, counted from the sandbox's journal only."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from worker.verify.case import Breach, Case
from worker.verify.history import History
from worker.verify.journals import Line

POSSIBLY_SENT: Final = 30410
"""`failed` with this code may have reached the person: the carrier's answer timed out at Twilio."""
_RULE: Final = "resent_by_rule"


def one_copy(case: Case) -> Iterator[Breach]:
    """P3: the provider took at most one copy that may have reached the person, unless rule or person said so."""
    checks_intents = case.book.has_worker
    for post in case.book.posts:
        if post.get("sid") and post.get("id") is None:
            yield Breach("nameless", post["sid"], f"POST {post.get('n')} carries no message id in its StatusCallback")
    for history in case.book.histories.values():
        posts = history.of("post")
        if posts:
            yield from _copies(case, history, posts)
            yield from _attempts(history, posts, checks_intents=checks_intents)
        yield from _fences(history)


def _copies(case: Case, history: History, posts: list[Line]) -> Iterator[Breach]:
    copies = [post for post in posts if post.get("sid") and not never_arrived(post)]
    if len(copies) < 2:
        return
    excess = len(copies) - 1
    allowed = _allowed_copies(history)
    case.counts["duplicates"] += excess
    case.counts["duplicates_allowed"] += min(excess, allowed)
    if excess > allowed:
        attempts = ", ".join(str(post.get("attempt")) for post in copies)
        yield Breach(
            "duplicate", history.message_id, f"{len(copies)} copies taken by the provider: attempts {attempts}"
        )


def never_arrived(post: Line) -> bool:
    """Tell whether a message the provider took certainly did not reach the person."""
    return post.get("fails") == "failed" and post.get("code") != POSSIBLY_SENT


def _allowed_copies(history: History) -> int:
    """Count resends by the rule `resend` and by a person's word; `resend_if_absent` must never make a second copy."""
    rule = next((line.get("rule") for line in history.of("accepted") if line.get("rule")), None)
    by_rule = sum(
        1
        for line in history.of("resolved", "settled", "reaped")
        if line.get("reason") == _RULE and line.get("rule", rule) == "resend"
    )
    by_person = sum(
        1
        for line in history.lines
        if line["e"] == "replayed"
        or line.get("reason") == "replayed"
        or (line["e"] == "resolved" and line.get("reason") == "evidence_person" and not line.get("sid"))
    )
    return by_rule + by_person


def _attempts(history: History, posts: list[Line], *, checks_intents: bool) -> Iterator[Breach]:
    numbers = Counter(post.get("attempt") for post in posts)
    for attempt, count in numbers.items():
        if count > 1:
            yield Breach("attempt_reused", history.message_id, f"{count} POSTs under attempt {attempt}")
    if not checks_intents:
        return
    intents: dict[object, float] = {}
    for line in history.of("intent"):
        intents.setdefault(line.get("attempt"), line["t"])
    for post in posts:
        if intents.get(post.get("attempt"), float("inf")) > post["t"]:
            yield Breach("no_intent", history.message_id, f"POST {post.get('n')} left before its intent was written")


def _fences(history: History) -> Iterator[Breach]:
    holders: dict[object, object] = {}
    for line in history.of("claimed"):
        if holders.setdefault(line.get("fence"), line.get("who")) != line.get("who"):
            yield Breach("shared_fence", history.message_id, f"two workers hold fence {line.get('fence')}")

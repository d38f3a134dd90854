"""Checks P2: an accepted message is not lost, and every message has one end."""

from collections.abc import Iterator
from typing import Final

from verify.copies import never_arrived
from verify.fate import Fate
from verify.history import History
from verify.judge_context import Breach, JudgeContext
from verify.shut_out import shut_out

_NOT_SENT: Final = frozenset({"refused", "expired", "cancelled"})
"""Ends that mean, to the caller who asks, that the person got nothing."""


def kept(case: JudgeContext) -> Iterator[Breach]:
    """Find messages that break P2: they are lost, reached two ends, or were wrongly shut out.

    Every message must reach one end that verify knows, or be open where the options allow that.
    """
    yield from shut_out(case)
    for message_id, history in case.book.histories.items():
        fate = case.fates[message_id]
        for stage in fate.strange:
            yield Breach("strange_end", message_id, f"stage {stage!r} is unknown to verify")
        if fate.contradicts:
            yield Breach(
                "two_ends",
                message_id,
                "ended as " + " and as ".join(dict.fromkeys(e.stage for e in fate.ends)),
            )
        else:
            yield from _denied(history, fate)
        if case.book.posts:
            yield from _phantom(history, fate)
        yield from _after_drop(history)
        yield from _after_cancel(history)
        if fate.is_ended:
            continue
        if case.options.final and fate.stage not in case.options.open_allowed:
            yield _unended(message_id, fate.stage, held=message_id in case.book.held)
        elif not case.options.final and _is_stuck(case, history, fate):
            yield Breach(
                "stuck", message_id, "claimed, and not heard of since: no worker took it over"
            )


def _unended(message_id: str, stage: str, *, held: bool) -> Breach:
    """Build the breach of a message that has not ended: still in the store, or lost."""
    if held:
        remedy = f"allow it with --open {stage}, or --running while the run goes on"
        return Breach("open", message_id, f"not ended yet ({stage}); {remedy}")
    return Breach("lost", message_id, f"never ended; last seen {stage}")


def _denied(history: History, fate: Fate) -> Iterator[Breach]:
    """Find messages that ended as not sent although the provider took an attempt.

    Only attempts count that the provider reported as accepted and whose outcome was never unknown.
    """
    if fate.stage not in _NOT_SENT:
        return
    taken = {
        post.get("attempt")
        for post in history.of("post")
        if post.get("sid") and not never_arrived(post)
    }
    told = {
        line.get("attempt") for line in history.of("replied") if line.get("reply") == "accepted"
    }
    doubted = {
        line.get("attempt")
        for line in history.of("settled", "reaped")
        if line.get("stage") == "unknown"
    }
    for attempt in taken & told - doubted:
        yield Breach(
            "denied",
            history.message_id,
            f"ended as {fate.stage} although the provider took attempt {attempt}",
        )


def _phantom(history: History, fate: Fate) -> Iterator[Breach]:
    """Find messages that ended as accepted although the provider took no copy.

    Only an operator may declare such a message accepted.
    """
    if fate.stage != "accepted" or any(post.get("sid") for post in history.of("post")):
        return
    if not any(line.get("reason") == "evidence_person" for line in history.of("resolved")):
        yield Breach(
            "phantom", history.message_id, "ended as accepted, but the provider took no copy of it"
        )


def _after_drop(history: History) -> Iterator[Breach]:
    """Find dead letters that a worker claimed after an operator had dropped them."""
    dropped_at = min((line["t"] for line in history.of("dropped")), default=float("inf"))
    if any(line["t"] > dropped_at for line in history.of("claimed")):
        yield Breach(
            "after_drop", history.message_id, "claimed although an operator had dropped it"
        )


def _after_cancel(history: History) -> Iterator[Breach]:
    """Find messages that were admitted under a claim that began after their producer's cancel."""
    cancelled_at = min((line["t"] for line in history.of("cancel_asked")), default=float("inf"))
    later = {line.get("fence") for line in history.of("claimed") if line["t"] > cancelled_at}
    if any(line.get("fence") in later for line in history.of("intent")):
        yield Breach(
            "after_cancel", history.message_id, "admitted although its producer had cancelled it"
        )


def _is_stuck(case: JudgeContext, history: History, fate: Fate) -> bool:
    limit = case.options.stuck_after_ms
    return (
        limit is not None
        and fate.stage == "claimed"
        and case.book.last_t - history.lines[-1]["t"] > limit
    )

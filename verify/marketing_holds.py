"""Checks P1 for marketing: none after "Stop promotions" or while a stop is suspected.

It reads what a person meant according to the sandbox (`said`, `said_acked`), the lines `accepted`,
and what an operator decided about the sentence (`suspected`, by its SID).
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from verify.announced import asked_again
from verify.history import Book
from verify.journal_reader import Line
from verify.judge_context import Breach, JudgeContext

_RULES: Final = {"stop_marketing": "after_marketing_stop", "suspected": "after_suspected_stop"}
_CLEAR: Final = frozenset({"stop", "start", "stop_marketing", "start_marketing"})
"""Statements so plain that they end every suspicion."""

Who = tuple[object, object, object]


@dataclass(slots=True)
class _Span:
    rule: str
    sid: str
    since: float
    until: float = float("inf")


def marketing_held(case: JudgeContext) -> Iterator[Breach]:
    """Find marketing that was posted after the gateway had answered such a message with 2xx."""
    spans = _spans(case.book)
    for post in case.book.posts:
        history = case.book.histories.get(post.get("id") or "")
        if history is None or post.get("form") is None:
            continue
        if not any(line.get("purpose") == "marketing" for line in history.of("accepted")):
            continue
        for span in spans.get((post.get("account"), post.get("channel"), post.get("person")), ()):
            if span.since < post["t"] < span.until and not asked_again(case.book, post, span.since):
                what = span.rule.replace("_", " ")
                yield Breach(span.rule, post.get("id"), f"POST {post.get('n')} (marketing): {what}")


def _spans(book: Book) -> dict[Who, list[_Span]]:
    spans: dict[Who, list[_Span]] = defaultdict(list)
    for sid, said in sorted(book.said.items(), key=lambda item: item[1]["t"]):
        mine, means = (
            spans[said.get("account"), said.get("channel"), said.get("person")],
            said.get("means"),
        )
        for span in mine:
            is_over = (
                means in _CLEAR
                if span.rule == "after_suspected_stop"
                else means == "start_marketing"
            )
            if is_over:
                span.until = min(span.until, said["t"])
        if means in _RULES and sid in book.said_acked:
            mine.append(_Span(_RULES[means], sid, book.said_acked[sid]))
    for mine in spans.values():
        _decide(mine, book)
    return spans


def _decide(mine: list[_Span], book: Book) -> None:
    """End each suspicion that an operator decided.

    The decision names the SID of one message and covers everything suspected up to then.
    """
    for decision in book.decisions:
        if not any(span.sid == decision.get("sid") for span in mine):
            continue
        for span in mine:
            if span.rule == "after_suspected_stop" and span.since < decision["t"]:
                span.until = min(span.until, decision["t"])


def taps(book: Book) -> Iterator[Breach]:
    """Find taps that break P4: a tap that is an answer was stored as a stop or a start."""
    for sid, line in book.heard.items():
        said: Line = book.said.get(sid, {})
        if said.get("means") == "answer" and line.get("opted") is not None:
            yield Breach("tap_misread", sid, f"a tap that is an answer was kept as {line['opted']}")

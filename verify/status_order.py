"""Checks P4: statuses only move forward, and what the gateway answered with 2xx is stored."""

from collections.abc import Iterator
from typing import Final

from verify.history import Book, is_2xx, is_refusal
from verify.journal_reader import Line
from verify.judge_context import Breach, JudgeContext
from verify.marketing_holds import taps

RANKS: Final = {
    "accepted": 0,
    "scheduled": 0,
    "queued": 1,
    "sending": 2,
    "sent": 3,
    "failed": 4,
    "undelivered": 4,
    "canceled": 4,
    "delivered": 5,
    "read": 6,
}


def forward(case: JudgeContext) -> Iterator[Breach]:
    """Find what breaks P4.

    A status moved back, an answered request was not stored, or a signed request was refused.
    """
    book = case.book
    for sid, lines in book.callbacks.items():
        for earlier, later in _backward(lines, book.told.get(sid, [])):
            yield Breach(
                "backward",
                later.get("id") or sid,
                f"{later['status']} applied after {earlier['status']}",
            )
    for sid, told in book.told.items():
        stored = {line.get("status") for line in book.callbacks.get(sid, ())}
        for line in told:
            if is_2xx(line.get("http")):
                case.counts["callbacks_answered"] += 1
                if line.get("status") not in stored:
                    yield Breach(
                        "not_stored",
                        line.get("id") or sid,
                        f"callback {line.get('status')} answered, not stored",
                    )
    for sid in book.said_acked:
        case.counts["inbounds_answered"] += 1
        case.counts["inbounds_ignored"] += sid in book.ignored
        if sid not in book.inbound:
            yield Breach("inbound_not_stored", sid, "an inbound was answered with 2xx, not stored")
    yield from _turned_away(book)
    yield from taps(book)


def _turned_away(book: Book) -> Iterator[Breach]:
    """Find signed requests that the gateway refused for good, so that the provider gives them up.

    What the sandbox sends is signed and complete, by whichever method and under whichever address.
    """
    for sid, line in book.turned_away.items():
        if sid not in book.said_acked:
            yield Breach("turned_away", sid, f"an inbound was answered with {line['http']}")
    for sid, told in book.told.items():
        last = {line.get("status"): line for line in told}
        stored = {line.get("status") for line in told if is_2xx(line.get("http"))}
        for status, line in last.items():
            if status not in stored and is_refusal(line.get("http")):
                detail = f"callback {status} was answered with {line['http']}"
                yield Breach("turned_away", line.get("id") or sid, detail)


def _backward(lines: list[Line], told: list[Line]) -> Iterator[tuple[Line, Line]]:
    """Find moves that went back.

    Two moves at the same time may be journalled in either order. A move that began after another
    had ended may not go back.
    """
    moved = [line for line in lines if line.get("moved")]
    for place, later in enumerate(moved):
        if later["e"] == "fetched":
            continue  # the journals do not say when that read began
        for earlier in moved[:place]:
            if (
                _goes_back(earlier.get("status"), later.get("status"))
                and _began(later, told) > earlier["t"]
            ):
                yield earlier, later
                break


def _goes_back(earlier: object, later: object) -> bool:
    if earlier == later:
        return True
    before, after = RANKS.get(str(earlier)), RANKS.get(str(later))
    return before is not None and after is not None and after <= before


def _began(line: Line, told: list[Line]) -> float:
    starts: list[float] = [
        each["t"] - each.get("ms", 0.0) for each in told if each.get("status") == line.get("status")
    ]
    at: float = line["t"]
    return max((start for start in starts if start <= at), default=at)

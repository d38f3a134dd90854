"""Finds lives that an operator ordered with a command that was killed before it wrote them."""

from bisect import insort_left
from collections.abc import Iterable
from typing import Final

from verify.fate import ENDS
from verify.history import Book, History
from verify.journal_reader import Line

_AGAIN: Final = ("replayed", "retried")


def add_unanswered(book: Book, lines: Iterable[Line]) -> None:
    """Add the line that each unanswered order lacks, to the messages that show another life.

    A command writes `ordered` before it asks the store, then a line for each life that began, and
    then `order_done`. An order without `order_done` counts as applied to a message only if the
    message shows another life.
    """
    if not book.events.get("ordered"):
        return
    orders: dict[tuple[object, object], Line] = {}
    for line in lines:
        if line["e"] == "ordered":
            orders[line["who"], line["t"]] = line
        elif line["e"] == "order_done":
            orders.pop((line["who"], line["of"]), None)
    for order in orders.values():
        for message_id, expires in zip(order["ids"], order["expires"], strict=True):
            history = book.histories.get(message_id)
            if history is not None and _began(history, order):
                began = {
                    "t": order["t"],
                    "who": order["who"],
                    "e": order["word"],
                    "id": message_id,
                    "expires": expires,
                }
                insort_left(history.lines, began, key=lambda one: one["t"])


def _began(history: History, order: Line) -> bool:
    """Return whether a life began that only this order explains.

    The message must have ended before the order, and must have left that end after it.
    """
    # What the store says after the run is later than everything else, whatever its line is dated.
    at = [line["t"] <= order["t"] and line["e"] != "found" for line in history.lines].count(True)
    before = [line["stage"] for line in history.lines[:at] if line.get("stage")]
    if not before or before[-1] not in ENDS:
        return False
    if any((line["who"], line["t"]) == (order["who"], order["t"]) for line in history.of(*_AGAIN)):
        return False
    for line in history.lines[at:]:
        if line["e"] in {"claimed", "found", *_AGAIN}:
            return line["e"] == "claimed" or (
                line["e"] == "found" and bool(line["stage"] != before[-1])
            )
    return False

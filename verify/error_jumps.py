"""Finds errors about persons that came in such numbers that the service must not believe them.

When more than 50 of a sender's last 1,000 attempts fail so, the effects of further errors wait for
an operator. Journals do not show in which order the service heard of errors. An error is therefore
surely beyond the limit, surely within it, or neither, and then nothing is judged by it.
"""

from bisect import bisect_left
from collections import defaultdict
from typing import Final

from verify.history import Book
from verify.journal_reader import Line
from verify.taught import BLOCKED, OPTED_OUT, UNUSABLE, learned_t

MAX_ERRORS: Final = 50
"""As many errors are believed. It is also five percent of the attempts that count."""

COUNTED_ATTEMPTS: Final = 1_000
_SURELY_COUNTED: Final = COUNTED_ATTEMPTS // 2
"""Attempts that never reached the sandbox count too, and no journal shows how many they were."""

_COUNTED: Final = UNUSABLE | BLOCKED | {OPTED_OUT}
_ALWAYS_COUNTED: Final = _COUNTED - BLOCKED
"""Without the errors that may come with the person's own wish to stop marketing."""


class ErrorJumps:
    """The errors about persons of each sender, by the place of their POSTs among its POSTs."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._places: dict[int, int] = {}
        self._errors: dict[object, list[tuple[int, Line]]] = defaultdict(list)
        made: dict[object, int] = defaultdict(int)
        for post in book.posts:
            sender = post.get("sender")
            made[sender] += 1
            self._places[id(post)] = made[sender]
            if post.get("code") in _COUNTED:
                self._errors[sender].append((made[sender], post))

    def is_beyond(self, post: Line) -> bool:
        """Return whether the service surely had to hold what the error of this POST teaches.

        It had recorded so many errors before this POST came.
        """
        counted = [
            error
            for error in self._errors_since(post, _SURELY_COUNTED)
            if error.get("code") in _ALWAYS_COUNTED and self._was_learned(error, post["t"])
        ]
        return post.get("code") in _ALWAYS_COUNTED and len(counted) >= MAX_ERRORS

    def may_be_beyond(self, post: Line) -> bool:
        """Return whether the service may have held what the error of this POST teaches.

        Errors count that it may have heard of before this one.
        """
        at = learned_t(self._book, post)
        counted = [
            error
            for error in self._errors_since(post, COUNTED_ATTEMPTS)
            if at is None or error["t"] <= at
        ]
        return post.get("code") in _COUNTED and len(counted) >= MAX_ERRORS

    def _errors_since(self, post: Line, attempts: int) -> list[Line]:
        """Return the other errors of the same sender since so many POSTs before this one."""
        errors = self._errors[post.get("sender")]
        first = bisect_left(errors, self._places[id(post)] - attempts, key=lambda error: error[0])
        return [error for _, error in errors[first:] if error is not post]

    def _was_learned(self, error: Line, before_t: float) -> bool:
        at = learned_t(self._book, error)
        return at is not None and at < before_t

"""Checks P2 for refusals after an error that the person's own act had ended.

It reads the worker's `decided`, the producer's `accepted` with purpose and person, and what the
sandbox saw of that person: POSTs that failed, which of them arrived after all, and what the person
wrote. Where one of these is missing, it reports nothing.

It also finds refusals for errors that say nothing about the person: 21211 for a user id, and errors
of a sender that came in such numbers that they wait for an operator.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from verify.error_jumps import ErrorJumps
from verify.history import Book, is_2xx
from verify.journal_reader import Line
from verify.judge_context import Breach, JudgeContext
from verify.taught import BLOCKED, UNUSABLE

_NO_PHONE: Final = 21211
"""For a user id this code says that the sender is not set up to send to user ids."""

_TAUGHT_BY: Final = {"address_suppressed": UNUSABLE, "provider_block": BLOCKED}
"""Reason of a refusal → the codes that cause it.

63049 is not here: it ends by time, and nothing that the person writes ends it.
"""


def shut_out(case: JudgeContext) -> Iterator[Breach]:
    """Find messages that were refused for an error that no longer applied to them.

    The person had written since, the failed message had arrived after all, or the error was about
    marketing only.
    """
    seen = _ExclusionProgress(case.book)
    for history in case.book.histories.values():
        said = next((line for line in history.of("accepted") if line.get("person")), None)
        refusals = [line for line in history.of("decided") if line.get("reason") in _TAUGHT_BY]
        if said is None or not refusals or refusals[-1].get("decision") != "refuse":
            continue
        refusal = refusals[-1]
        problem = seen.problem(said, refusal)
        if problem is not None:
            yield Breach(
                "shut_out", history.message_id, f"refused ({refusal['reason']}) although {problem}"
            )


class _ExclusionProgress:
    """What the sandbox saw of each person, under the name that the producer uses for the person."""

    def __init__(self, book: Book) -> None:
        self._failed: dict[str, list[Line]] = defaultdict(list)
        self._labels: dict[str, str] = {}
        for post in book.posts:
            label, history = post.get("person"), book.histories.get(post.get("id") or "")
            if label is None or history is None:
                continue
            self._failed[label].append(post)
            for line in history.of("accepted"):
                if line.get("person"):
                    self._labels[line["person"]] = label
        self._told = book.told
        self._jumps = ErrorJumps(book)
        self._applied_t = min((line["t"] for line in book.applied), default=float("inf"))
        self._wrote: dict[str, list[float]] = defaultdict(list)
        for sid, said in book.said.items():
            if sid in book.said_acked:
                self._wrote[said.get("person") or ""].append(book.said_acked[sid])

    def _arrived(self, post: Line, refusal: Line) -> bool:
        """Return whether the gateway knew, before the refusal, that this attempt had arrived."""
        return any(
            one.get("status") in {"delivered", "read"}
            and is_2xx(one.get("http"))
            and one["t"] < refusal["t"]
            for one in self._told.get(post.get("sid") or "", ())
        )

    def problem(self, said: Line, refusal: Line) -> str | None:
        """Return why the refusal is wrong, or None if it is right or cannot be judged."""
        label = self._labels.get(said["person"])
        if label is None:
            return None
        wrote_t = max((t for t in self._wrote[label] if t < refusal["t"]), default=float("-inf"))
        errors = [
            post
            for post in self._failed[label]
            if post.get("code") in _TAUGHT_BY[refusal["reason"]]
        ]
        if errors and all(map(_is_about_sender, errors)):
            return "the error was about a sender that is not set up for user ids"
        errors = [post for post in errors if not _is_about_sender(post)]
        mistaken = [post for post in errors if self._arrived(post, refusal)]
        if errors and len(mistaken) == len(errors):
            return "every message that failed so had arrived after all"
        since = [
            post for post in errors if wrote_t < post["t"] < refusal["t"] and post not in mistaken
        ]
        if errors and not since:
            return "the person wrote after the error"
        if errors and refusal["t"] < self._applied_t and all(map(self._jumps.is_beyond, since)):
            return "the error was one of too many, and no operator had applied what it taught"
        if refusal["reason"] == "provider_block" and said.get("purpose") != "marketing":
            marketing = [post for post in since if post.get("category") == "MARKETING"]
            if since and len(marketing) == len(since):
                return "the error was about marketing"
        return None


def _is_about_sender(post: Line) -> bool:
    return post.get("code") == _NO_PHONE and bool(post.get("user_id"))

"""What errors teach of a person, and what an operator ended of it by `contact allow`."""

from typing import Final

from worker.verify.history import Book
from worker.verify.journals import Line

UNUSABLE: Final = frozenset({21211, 21614, 30005, 30006, 63003, 63024})
"""Codes that call the address itself unusable."""

BLOCKED: Final = frozenset({63014, 63033})
"""Codes that say the person blocked the sender."""

_CAPPED: Final = 63049
HOLDING: Final = BLOCKED | {_CAPPED}
"""Codes after which something is held back."""


def was_allowed(book: Book, post: Line, codes: frozenset[int]) -> bool:
    """Tell whether an operator let messages go to the person again, and no attempt since failed with such a code.

    What attempts before that teach afterwards counts no more, so it is the attempts that are compared with it.
    """
    history = book.histories.get(post.get("id") or "")
    said = next((line for line in history.of("accepted") if line.get("person")), None) if history else None
    if said is None:
        return False
    allowed = [line["t"] for line in book.allowed if line.get("person") == said["person"] and line["t"] < post["t"]]
    return bool(allowed) and not any(
        max(allowed) < one["t"] < post["t"] and one.get("code") in codes and _concerns(one, post) for one in book.posts
    )


def _concerns(failed: Line, post: Line) -> bool:
    """Tell whether a failure taught something about the person of another POST; a cap is one sender's alone."""
    of = ("person", "account", "sender") if failed.get("code") == _CAPPED else ("person", "account")
    return all(failed.get(name) == post.get(name) for name in of)

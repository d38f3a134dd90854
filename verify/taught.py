"""What errors taught about a person, and what an operator ended with `contact allow`."""

from typing import Final

from verify.history import Book, is_2xx
from verify.journal_reader import Line

UNUSABLE: Final = frozenset({21211, 21614, 30005, 30006, 63003, 63024})
"""Codes that say the address itself is unusable."""

BLOCKED: Final = frozenset({63014, 63033})
"""Codes that say the person blocked the sender."""

OPTED_OUT: Final = 21610
"""The code that says the person opted out at the provider."""

_CAPPED: Final = 63049
HOLDING: Final = BLOCKED | {_CAPPED}
"""Codes after which something is held back."""


def learned_t(book: Book, post: Line) -> float | None:
    """Return when the service had surely recorded how this POST failed, or None if it is unknown.

    An answer that the worker received was recorded when the attempt was settled, and a callback
    when it got a 2xx.
    """
    if post.get("fails") is not None:
        lines = [
            line
            for line in book.told.get(post.get("sid") or "", ())
            if line.get("status") == post["fails"] and is_2xx(line.get("http"))
        ]
    else:
        history = book.histories.get(post.get("id") or "")
        found = history.of("replied", "settled") if history else []
        mine = [line for line in found if line.get("attempt") == post.get("attempt")]
        answers = {line.get("http") for line in mine if line["e"] == "replied"} - {None}
        is_heard = post.get("http") in answers
        lines = [line for line in mine if is_heard and line["e"] == "settled"]
    return min((line["t"] for line in lines), default=None)


def was_allowed(book: Book, post: Line, codes: frozenset[int]) -> bool:
    """Return whether an operator allowed messages again and no attempt has failed so since.

    `codes` are the codes that would hold them back again. Errors of attempts made before the
    operator allowed messages no longer count, even if they are reported later. The times of the
    attempts are therefore compared.
    """
    history = book.histories.get(post.get("id") or "")
    said = (
        next((line for line in history.of("accepted") if line.get("person")), None)
        if history
        else None
    )
    if said is None:
        return False
    allowed = [
        line["t"]
        for line in book.allowed
        if line.get("person") == said["person"] and line["t"] < post["t"]
    ]
    return bool(allowed) and not any(
        max(allowed) < one["t"] < post["t"] and one.get("code") in codes and _concerns(one, post)
        for one in book.posts
    )


def _concerns(failed: Line, post: Line) -> bool:
    """Return whether a failure taught something about the person of another POST.

    A cap applies to one sender only.
    """
    of = ("person", "account", "sender") if failed.get("code") == _CAPPED else ("person", "account")
    return all(failed.get(name) == post.get(name) for name in of)

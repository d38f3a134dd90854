"""Checks P1 where the sandbox lacks the facts: compares POSTs with what producers and people said.

It reads the lines `accepted` that name the person, the lines `consent`, and the gateway's lines
`inbound`. A producer that names the person in `accepted` also journals consent. Where these lines
are missing, the report states what could not be judged.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from verify.error_jumps import ErrorJumps
from verify.history import Book, History
from verify.journal_reader import Line
from verify.judge_context import GRACE_MS, Breach, JudgeContext
from verify.taught import HOLDING, was_allowed
from verify.told_stops import may_be_held

_FITTING: Final = {
    "reply": "UTILITY",
    "utility": "UTILITY",
    "account_update": "UTILITY",
    "authentication": "AUTHENTICATION",
    "marketing": "MARKETING",
}
_MUST_BE_NAMED: Final = frozenset({"marketing"})
"""Purposes that a grant for everything does not cover."""

_SEEN_AT_POST: Final = (
    *(
        "validity_beyond_window",
        "second_unproven_tag",
        "needs_phone",
        "us_marketing",
        "told_unusable",
        "never_wrote",
    ),
    "held_back",
)
WITNESSES: Final = {
    "consent": "`accepted` names no person",
    "category": "`accepted` names no purpose, or the sandbox's template no category",
    "too_early": "`accepted` does not say not_before",
    "after_expiry": "`accepted` does not say expires",
} | dict.fromkeys(_SEEN_AT_POST, "written by a sandbox that does not look for it")
"""Rule → what is missing when the rule could not be judged."""


def announced(case: JudgeContext) -> Iterator[Breach]:
    """Find POSTs that break P1: no consent, the wrong category, too early, or held back."""
    consents, jumps = _consents(case.book), ErrorJumps(case.book)
    for post in case.book.posts:
        history = case.book.histories.get(post.get("id") or "")
        if history is None or post.get("form") is None:
            continue
        said = next((line for line in history.of("accepted") if line.get("purpose")), {})
        if "category" not in post:
            case.unjudged.update(_SEEN_AT_POST)
        yield from _category(case, post, said)
        yield from _consent(case, post, said, consents, history)
        yield from _too_early(case, post, said)
        yield from _held_back(case, post, said, jumps)


def _category(case: JudgeContext, post: Line, said: Line) -> Iterator[Breach]:
    if post["form"] != "template" or "unknown_template" in (post.get("violation") or ""):
        return
    if not said or post.get("category") is None:
        case.unjudged["category"] += 1
    elif _FITTING.get(said["purpose"]) != post["category"]:
        detail = f"POST {post.get('n')}: a template of {post['category']} for {said['purpose']}"
        yield Breach("category", post.get("id"), detail)


def _too_early(case: JudgeContext, post: Line, said: Line) -> Iterator[Breach]:
    if "not_before" not in said or "at" not in post:
        case.unjudged["too_early"] += 1
    elif said["not_before"] is not None and said["not_before"] - post["at"] > GRACE_MS:
        early_ms = said["not_before"] - post["at"]
        yield Breach(
            "too_early",
            post.get("id"),
            f"POST {post.get('n')} came {early_ms} ms before it was to go",
        )


def _held_back(case: JudgeContext, post: Line, said: Line, jumps: ErrorJumps) -> Iterator[Breach]:
    """Find POSTs of messages that an error told the sender to hold back.

    An error holds back either marketing, or everything except replies while the window is open.
    """
    if post.get("held") is None:
        return
    if not said:
        case.unjudged["held_back"] += 1
        return
    is_answer = said["purpose"] == "reply" and post.get("window") is not False
    is_about = (post["held"] == "all" and not is_answer) or (
        post["held"] == "marketing" and said["purpose"] == "marketing"
    )
    # An operator cannot lift what the person asked the provider for.
    is_lifted = not post.get("held_wish") and (
        was_allowed(case.book, post, HOLDING) or may_be_held(case.book, jumps, post, HOLDING)
    )
    if is_about and not is_lifted and not _granted_since(case.book, post, said):
        yield Breach(
            "held_back",
            post.get("id"),
            f"POST {post.get('n')} ({said['purpose']}) after an error held it back",
        )


def _granted_since(book: Book, post: Line, said: Line) -> bool:
    return any(
        line.get("granted")
        and line.get("person") == said.get("person")
        and line["t"] > (post.get("held_t") or 0)
        for line in book.consents
        if line["t"] < post["t"]
    )


def asked_again(book: Book, post: Line, since: float) -> bool:
    """Return whether the person asked for such messages again after a STOP.

    The proof is a grant that was recorded with `after_stop`.
    """
    history = book.histories.get(post.get("id") or "")
    said = (
        next((line for line in history.of("accepted") if line.get("person")), {}) if history else {}
    )
    return any(
        line.get("after_stop")
        and since < line["t"] < post["t"]
        and _covers(line, said["purpose"])
        and not _has_lapsed(line, post)
        for line in book.consents
        if said
        and (line.get("account"), line.get("person")) == (said.get("account"), said["person"])
    )


def _consents(book: Book) -> dict[tuple[object, object], list[Line]]:
    """Return what each person (by account) said about consent, in the order in which it counts."""
    found: dict[tuple[object, object], list[Line]] = defaultdict(list)
    for line in book.consents:
        found[line.get("account"), line.get("person")].append(line)
    for lines in found.values():
        lines.sort(key=lambda line: (line.get("at") or line["t"], _is_withdrawal(line)))
    return found


def _is_grant(line: Line) -> bool:
    """Return whether a line gives consent, or is a START."""
    return line["e"] == "inbound" or line.get("granted") is True


def _may_withdraw(line: Line) -> bool:
    """Return whether a line may withdraw anything, because a newer release wrote it.

    It withdraws a purpose that verify does not know, or is neither a grant nor a withdrawal.
    """
    is_known = line.get("purpose") is None or line["purpose"] in _FITTING
    return not _is_grant(line) and (line.get("granted") is not False or not is_known)


def _is_withdrawal(line: Line) -> bool:
    """Return whether a line withdraws consent.

    Of statements made at the same instant, a withdrawal counts last.
    """
    return line["e"] != "inbound" and not line.get("granted")


def _covers(line: Line, purpose: str) -> bool:
    """Return whether a grant covers the purpose.

    It covers it by name. For a purpose that need not be named, a grant for everything also covers
    it.
    """
    return line.get("purpose") == purpose or (
        line.get("purpose") is None and purpose not in _MUST_BE_NAMED
    )


def _has_lapsed(line: Line, post: Line) -> bool:
    return line.get("expires") is not None and line["expires"] + GRACE_MS < (post.get("at") or 0)


def _consent(
    case: JudgeContext,
    post: Line,
    said: Line,
    consents: dict[tuple[object, object], list[Line]],
    history: History,
) -> Iterator[Breach]:
    if post.get("channel") == "messenger":
        return  # writing to the Page is the permission, and the sandbox remembers who wrote
    if said.get("person") is None:
        case.unjudged["consent"] += 1
        return
    decided = [line for line in history.of("decided") if line["t"] < post["t"]]
    if decided and decided[-1].get("reason") == "opt_out_confirmation":
        return
    # A withdrawal applies to decisions made after it. Only for a STOP does the gateway wait until
    # earlier permits have ended.
    bound_at = decided[-1]["t"] if decided else post["t"] - GRACE_MS
    known = [
        line
        for line in consents.get((said.get("account"), said["person"]), ())
        if line["t"] < (post["t"] if _is_grant(line) else bound_at)
        and line.get("sender") in {None, said.get("sender")}
    ]
    problem = _problem(known, str(said["purpose"]), post)
    if problem is not None:
        yield Breach(
            problem,
            post.get("id"),
            f"POST {post.get('n')} ({said['purpose']}): {problem.replace('_', ' ')}",
        )


def _problem(known: list[Line], purpose: str, post: Line) -> str | None:
    """Return how the POST lacked consent, or None. It replays what the person said.

    A grant that names the purpose undoes every withdrawal. A grant for everything undoes a
    withdrawal of everything, but not for a purpose that must be named. A grant that has lapsed
    undoes nothing, so that the withdrawal before it still applies. Nothing undoes what a newer
    release wrote and verify cannot read.
    """
    granted = expired = no_more = not_this = unknown = False
    for line in known:
        names = line.get("purpose") == purpose
        if line["e"] == "inbound":
            no_more = no_more and line.get("opted") != "start"
        elif _may_withdraw(line):
            unknown = True
        elif _is_withdrawal(line):
            no_more, not_this = no_more or line.get("purpose") is None, not_this or names
        elif not _covers(line, purpose):
            continue
        elif _has_lapsed(line, post):
            expired = True
        else:
            granted, no_more, not_this = True, False, not_this and not names
    if no_more or not_this:
        return "consent_withdrawn"
    if unknown:
        return "unknown_withdrawal"
    implied = purpose == "reply" and post["form"] == "freeform" and post.get("window") is not False
    if granted or implied:
        return None
    return "consent_expired" if expired else "no_consent"

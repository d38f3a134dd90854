"""Checks P1 and the form of requests.

Finds what the sandbox flagged, what came after a STOP or after the expiry, and what was sent
without a decision.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from verify.announced import announced, asked_again
from verify.error_jumps import ErrorJumps
from verify.history import Book, History
from verify.journal_reader import Line
from verify.judge_context import GRACE_MS, Breach, JudgeContext
from verify.marketing_holds import marketing_held
from verify.taught import UNUSABLE, was_allowed
from verify.told_stops import may_be_held, told_opted_out

POLICY: Final = frozenset(
    {
        "outside_window",
        "opted_out",
        "unknown_template",
        "template_not_approved",
        "template_too_long",
        "media_with_template",
        "bad_variables",
        "missing_variables",
        "undeclared_variables",
        "tag_known_dead",
        "second_unproven_tag",
        "never_wrote",
        "validity_beyond_window",
        "needs_phone",
        "us_marketing",
        "told_unusable",
        "body_lost_with_media",
    }
)
"""Flags of the sandbox that mean a breach of policy. Its other flags mean a fault in the request
itself."""


WINDOW_CLOSED: Final = 63016
"""The provider's code for a message outside the window."""


def policy(case: JudgeContext) -> Iterator[Breach]:
    """Find POSTs that break P1.

    They break a rule of the provider, follow an answered STOP or an expiry, or lack a decision to
    send.
    """
    stops, jumps = _stops(case.book), ErrorJumps(case.book)
    confirmed: set[tuple[object, float]] = set()
    for post in case.book.posts:
        flags = _flags(post) & POLICY
        if "told_unusable" in flags and (
            was_allowed(case.book, post, UNUSABLE) or may_be_held(case.book, jumps, post, UNUSABLE)
        ):
            flags.remove("told_unusable")
        stopped_at = _stopped_at(stops, post)
        if stopped_at is not None or "opted_out" in flags:
            yield from _after_stop(case, post, stopped_at, confirmed)
        for flag in sorted(flags - {"opted_out"}):
            yield Breach(
                flag,
                post.get("id"),
                f"POST {post.get('n')} ({post.get('form')}): {flag.replace('_', ' ')}",
            )
    yield from announced(case)
    yield from marketing_held(case)
    yield from told_opted_out(case, jumps)
    for history in case.book.histories.values():
        yield from _after_expiry(case, history)
        yield from _closed_again(history)
        if case.book.has_worker:
            yield from _undecided(history)


def _after_stop(
    case: JudgeContext, post: Line, stopped_at: float | None, confirmed: set[tuple[object, float]]
) -> Iterator[Breach]:
    if asked_again(case.book, post, stopped_at or 0.0):
        return
    history = case.book.histories.get(post.get("id") or "")
    lines = history.lines if history else []
    stop = (post.get("person"), stopped_at or 0.0)
    confirms = any(
        line.get("reason") == "opt_out_confirmation" for line in lines if line["e"] == "decided"
    )
    if confirms and stop not in confirmed:
        confirmed.add(stop)
        case.counts["opt_out_confirmations"] += 1
        return
    admitted = [
        line["t"]
        for line in lines
        if line["e"] == "intent" and line.get("attempt") == post.get("attempt")
    ]
    overlaps = stopped_at is not None and bool(admitted) and max(admitted) < stopped_at
    if overlaps:
        case.counts["overlaps"] += 1
    if not (overlaps and case.options.suspended):
        after = "" if stopped_at is None else f" {post['t'] - stopped_at:.1f} ms after"
        yield Breach(
            "after_stop",
            post.get("id"),
            f"POST {post.get('n')} arrived{after} although the STOP was answered",
        )


def _stops(book: Book) -> dict[tuple[object, object, object], list[tuple[float, float]]]:
    """Return the spans in which each person wanted no messages.

    A span lasts from the gateway's 2xx to a STOP until the person wrote START.
    """
    stops: dict[tuple[object, object, object], list[tuple[float, float]]] = defaultdict(list)
    for sid, said in sorted(book.said.items(), key=lambda item: item[1]["t"]):
        key = (said.get("account"), said.get("channel"), said.get("person"))
        if said.get("stop") and sid in book.said_acked:
            stops[key].append((book.said_acked[sid], float("inf")))
        elif said.get("start"):
            stops[key] = [(since, min(until, said["t"])) for since, until in stops[key]]
    return stops


def _stopped_at(
    stops: dict[tuple[object, object, object], list[tuple[float, float]]], post: Line
) -> float | None:
    spans = stops.get((post.get("account"), post.get("channel"), post.get("person")), ())
    return next((since for since, until in spans if since < post["t"] < until), None)


def _after_expiry(case: JudgeContext, history: History) -> Iterator[Breach]:
    """Find POSTs that came after the expiry, in milliseconds, that a line names.

    The producer names it in `accepted`, which may be written late. A replay or a retry names a new
    one.
    """
    expires = next(
        (line["expires"] for line in history.of("accepted") if line.get("expires") is not None),
        None,
    )
    for line in history.of("replayed", "retried", "post"):
        if line["e"] != "post":
            expires = line.get("expires")
        elif expires is None:
            case.unjudged["after_expiry"] += 1
        elif (late_ms := (line.get("at") or 0) - expires) > GRACE_MS:
            yield Breach(
                "after_expiry",
                history.message_id,
                f"POST {line.get('n')} came {late_ms} ms after the expiry",
            )


def _closed_again(history: History) -> Iterator[Breach]:
    """Find templates that were posted again after 63016, although they need no open window."""
    refused_at = float("inf")
    for line in history.of("post"):
        if line.get("form") != "template":
            continue
        if line["t"] > refused_at and not any(
            refused_at < t < line["t"] for t in history.sent_again()
        ):
            yield Breach(
                "closed_again",
                history.message_id,
                f"POST {line.get('n')}: a template again after 63016",
            )
        if line.get("code") == WINDOW_CLOSED:
            refused_at = min(refused_at, line["t"])


def _undecided(history: History) -> Iterator[Breach]:
    forms: set[object] = set()
    for line in history.lines:
        if line["e"] == "decided" and line.get("decision") == "send":
            forms.add(line.get("form"))
        elif line["e"] == "post" and line.get("form") is not None:
            if not forms:
                yield Breach(
                    "undecided",
                    history.message_id,
                    f"POST {line.get('n')} without a decision to send",
                )
            # A message decided as a tag may go out as freeform: its window opened in the meantime,
            # and that is better than a tag.
            elif line["form"] not in forms and not (line["form"] == "freeform" and "tag" in forms):
                yield Breach(
                    "other_form",
                    history.message_id,
                    f"POST {line.get('n')} went out as {line['form']}",
                )


def requests(case: JudgeContext) -> Iterator[Breach]:
    """Find POSTs that do not fit the provider's parameter table."""
    for post in case.book.posts:
        for flag in sorted(_flags(post) - POLICY):
            yield Breach(flag, post.get("id"), f"POST {post.get('n')}: {flag.replace('_', ' ')}")


def _flags(post: Line) -> set[str]:
    return set((post.get("violation") or "").split(",")) - {""}

"""Counts what happened: messages, POSTs, unknown outcomes and how they ended, faults, kills."""

from collections import Counter
from dataclasses import dataclass, field

from verify.fate import Fate
from verify.history import Book, History
from verify.journal_reader import JournalLines, Line
from verify.judge_context import JudgeContext

_EVIDENCE = ("evidence_", "never_by_rule", "held_by_rule", "resent_by_rule")
_COUNTED_ON_THE_WAY = (
    *("duplicates", "duplicates_allowed", "overlaps", "opt_out_confirmations"),
    *("callbacks_answered", "inbounds_answered", "inbounds_ignored"),
)


@dataclass(slots=True)
class Counts:
    """The numbers of one run.

    `unannounced`: messages without a line `accepted`. `duplicates`: copies beyond the first.
    `lost`: messages that did not end, are not open where that is allowed, and are not in the store,
    if the store was asked. `unknown`: attempts whose outcome could not be proven. `avoided`: of
    those, messages that the provider had taken and that were not sent again. `inbounds_ignored`:
    inbound messages that the gateway answered but did not store, because it sends nothing to that
    person. `first_claim_ms`: milliseconds from enqueue to the first claim.
    """

    messages: int = 0
    repeated: int = 0
    unannounced: int = 0
    posts: int = 0
    posts_accepted: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    duplicates: int = 0
    duplicates_allowed: int = 0
    unknown: int = 0
    avoided: int = 0
    resolved: dict[str, int] = field(default_factory=dict)
    opened_again: int = 0
    overlaps: int = 0
    opt_out_confirmations: int = 0
    callbacks_answered: int = 0
    inbounds_answered: int = 0
    inbounds_ignored: int = 0
    reaped: int = 0
    late_settles: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    killed: dict[str, int] = field(default_factory=dict)
    first_claim_ms: dict[str, float] = field(default_factory=dict)
    torn: int = 0


def count(evidence: JournalLines, case: JudgeContext, lost: int) -> Counts:
    """Count over all histories. `case` carries what the checks counted along the way."""
    book = case.book
    counts = Counts(
        messages=len(book.histories), torn=evidence.torn, lost=lost, posts=len(book.posts)
    )
    counts.posts_accepted = sum(1 for post in book.posts if post.get("sid"))
    ends, still_open, resolved = Counter[str](), Counter[str](), Counter[str]()
    waits: list[float] = []
    for message_id, history in book.histories.items():
        fate = case.fates[message_id]
        (ends if fate.is_ended else still_open)[fate.stage] += 1
        _one(counts, history, fate, resolved, waits)
    counts.ends, counts.open, counts.resolved = dict(ends), dict(still_open), dict(resolved)
    for name in _COUNTED_ON_THE_WAY:
        setattr(counts, name, case.counts[name])
    counts.faults = dict(_faults(book))
    counts.killed = dict(Counter(str(line.get("point", "unnamed")) for line in book.killed))
    counts.first_claim_ms = _quantiles(waits)
    return counts


def _one(
    counts: Counts, history: History, fate: Fate, resolved: Counter[str], waits: list[float]
) -> None:
    announced = history.of("accepted")
    counts.unannounced += not announced
    counts.repeated += sum(1 for line in announced if line.get("duplicate"))
    claims = history.of("claimed")
    if announced and claims:
        waits.append(max(0.0, claims[0]["t"] - announced[0]["t"]))  # the two lines use two clocks
    unknown = {line.get("attempt") for line in history.lines if _is_unknown(line)}
    counts.unknown += len(unknown)
    posts = history.of("post")
    taken = {post.get("attempt") for post in posts if post.get("sid")}
    counts.avoided += (
        bool(unknown & taken) and fate.is_ended and max(map(_number, taken)) in unknown
    )
    resolved.update(
        reason
        for _, reason in {(line.get("attempt"), _resolution(line)) for line in history.lines}
        if reason
    )
    counts.reaped += len(history.of("reaped"))
    counts.late_settles += sum(1 for line in history.of("settled") if line.get("applied") is False)
    failed_at = [
        line["t"] for line in history.of("callback", "fetched") if line.get("status") == "failed"
    ]
    counts.opened_again += bool(failed_at and claims and claims[-1]["t"] > min(failed_at))


def _is_unknown(line: Line) -> bool:
    return (line["e"] == "replied" and line.get("reply") == "unproven") or (
        line["e"] in {"settled", "reaped"} and line.get("stage") == "unknown"
    )


def _resolution(line: Line) -> str | None:
    if line["e"] in {"callback", "fetched"}:
        evidence = "evidence_callback" if line["e"] == "callback" else "evidence_list"
        return evidence if line.get("resolved") else None
    reason = line.get("reason")
    if (
        line["e"] in {"resolved", "settled", "ended"}
        and isinstance(reason, str)
        and reason.startswith(_EVIDENCE)
    ):
        return reason
    return None


def _number(attempt: object) -> int:
    return attempt if isinstance(attempt, int) else -1


def _faults(book: Book) -> Counter[str]:
    return Counter(
        name for post in book.posts for name in (post.get("fault") or "").split(",") if name
    )


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    values.sort()
    last = len(values) - 1
    return {
        name: round(values[int(last * share)], 1)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }

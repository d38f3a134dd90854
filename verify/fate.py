"""Works out where a message stands from its history, in whatever order the processes wrote it."""

from dataclasses import dataclass, field
from typing import Final

from verify.history import History, is_2xx
from verify.journal_reader import Line

# Listed here again on purpose: if the service ever adds an end, verify must report it as unknown.
ENDS: Final = frozenset({"accepted", "refused", "failed", "expired", "cancelled", "dead"})
OPEN: Final = frozenset(
    {"queued", "claimed", "posting", "waiting", "retrying", "unknown", "unresolved"}
)
_NEGATIVE: Final = frozenset({"failed", "undelivered"})
_ARRIVED: Final = frozenset({"delivered", "read"})


@dataclass(frozen=True, slots=True)
class End:
    """An end that one line reports. `attempt` is None when the line does not name the attempt.

    `is_later_proof`: the attempt had been reported as failed, and the proof that it arrived ended
    another life of the message.
    """

    stage: str
    attempt: int | None
    t: float
    reason: str | None
    is_later_proof: bool = False


@dataclass(slots=True)
class Fate:
    """Where a message stands.

    `stage` is its end, or the open stage in which it was last seen. `ends`: all ends that count.
    """

    stage: str
    ends: list[End] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    @property
    def is_ended(self) -> bool:
        """Whether the message reached an end."""
        return self.stage in ENDS

    @property
    def contradicts(self) -> bool:
        """Whether the message reached different ends."""
        return len({end.stage for end in self.ends}) > 1


@dataclass(slots=True)
class _FateProgress:
    """What the lines said so far.

    `late`: ends from settlements that came too late to be applied. `failed`: when an attempt failed
    at the provider, according to our journals. `arrived`: attempts that the provider reported as
    delivered, and whose callback got a 2xx. `unheard`: when the sandbox reported a failure that the
    gateway may have stored. The gateway may then have opened the message again and died before it
    wrote a line.
    """

    ends: list[End] = field(default_factory=list)
    late: list[End] = field(default_factory=list)
    failed: dict[int | None, float] = field(default_factory=dict)
    unheard: dict[int | None, float] = field(default_factory=dict)
    unbound: set[int | None] = field(default_factory=set)
    arrived: set[int | None] = field(default_factory=set)
    replayed_at: float = float("-inf")
    claimed_at: float = float("-inf")
    stage: str = "queued"
    strange: list[str] = field(default_factory=list)
    found: End | None = None


def fate_of(history: History) -> Fate:
    """Return where the message stands according to its history.

    An `accepted` whose attempt later failed at the provider counts only if nothing followed it,
    because the message may have been opened again. Ends before a replay or a retry do not count. A
    late settlement only repeats what other lines already said. A line `found` is what the store
    said after the run. It stands in for a process that was killed before it could write.
    """
    seen = _FateProgress()
    for line in history.lines:
        _weigh(seen, line)
    kept, firm = _kept_ends(seen), _firm_ends(seen)
    if seen.found is not None:
        return Fate(seen.found.stage, [*firm, seen.found], seen.strange)
    if firm:
        return Fate(firm[-1].stage, firm, seen.strange)
    failures = {
        attempt: t
        for attempt, t in (seen.unheard | seen.failed).items()
        if attempt not in seen.arrived
    }
    opened_again = max(failures.values(), default=float("inf")) < seen.claimed_at
    if kept and not opened_again:
        return Fate("accepted", kept[:1], seen.strange)
    if seen.late and not kept:
        return Fate(seen.late[-1].stage, seen.late[-1:], seen.strange)
    return Fate(seen.stage, [], seen.strange)


def _weigh(seen: _FateProgress, line: Line) -> None:
    match line["e"]:
        case "claimed":
            seen.claimed_at = line["t"]
            seen.stage = "claimed"
            seen.found = None
        case "found":
            _find(seen, line)
        case "settled":
            _reach(seen, line, line.get("stage"), late=line.get("applied") is False)
        case "ended" | "reaped":
            _reach(seen, line, line.get("stage"))
        case "callback" | "fetched" if line.get("ended") and line.get("status") in _ARRIVED:
            seen.ends.append(
                End(
                    "accepted",
                    line.get("attempt"),
                    line["t"],
                    line.get("reason"),
                    is_later_proof=True,
                )
            )
        case "callback" | "fetched" if line.get("resolved") or line.get("ended"):
            _reach(seen, line, "accepted")
        case "resolved":
            _reach(
                seen,
                line,
                line.get("stage")
                or ("accepted" if line.get("sid") else _STAGE_OF.get(line.get("reason"))),
            )
        case _:
            pass
    _undo(seen, line)
    if line.get("status") in _NEGATIVE:
        _fail(seen, line)
    elif (
        line["e"] == "callback_sent" and line.get("status") in _ARRIVED and is_2xx(line.get("http"))
    ):
        seen.arrived.add(line.get("attempt"))


def _fail(seen: _FateProgress, line: Line) -> None:
    attempt = line.get("attempt")
    if line["e"] in {"callback", "fetched"}:
        seen.failed.setdefault(attempt, line["t"])
    elif line["e"] == "callback_sent" and _may_be_stored(line.get("http")):
        seen.unheard.setdefault(attempt, line["t"] - (line.get("ms") or 0.0))


def _may_be_stored(http: object) -> bool:
    """Return whether the gateway may have stored a callback that it answered with this HTTP status.

    A gateway that did not answer, or answered 5xx, may have stored it before it failed.
    """
    return http is None or is_2xx(http) or (isinstance(http, int) and http >= 500)


def _undo(seen: _FateProgress, line: Line) -> None:
    if line["e"] == "unbound":
        seen.unbound.add(line.get("attempt"))
        seen.stage = "unknown"
    if line["e"] in {"replayed", "retried"}:
        seen.replayed_at = line["t"]
        seen.stage = "queued"


_STAGE_OF: Final[dict[object, str]] = {
    "resent_by_rule": "queued",
    "evidence_person": "queued",
    "held_by_rule": "unresolved",
}


def _reach(seen: _FateProgress, line: Line, stage: str | None, *, late: bool = False) -> None:
    if stage in ENDS:
        (seen.late if late else seen.ends).append(
            End(stage, line.get("attempt"), line["t"], line.get("reason"))
        )
    elif stage in OPEN:
        seen.stage = seen.stage if late else stage
    elif stage is not None:
        seen.strange.append(stage)


def _find(seen: _FateProgress, line: Line) -> None:
    stage = line.get("stage")
    if stage in ENDS or stage in OPEN:
        seen.found = End(stage, line.get("attempt"), line["t"], line.get("reason"))
    else:
        seen.strange.append(str(stage))


def _kept_ends(seen: _FateProgress) -> list[End]:
    ends = [end for end in seen.ends if end.stage == "accepted" or end.t > seen.replayed_at]
    # A signed callback proved that the row found in Twilio's list belonged to another message.
    return [
        end for end in ends if not (end.reason == "evidence_list" and end.attempt in seen.unbound)
    ]


def _firm_ends(seen: _FateProgress) -> list[End]:
    """Return the ends that nothing undid. The store must not contradict them."""
    return [end for end in _kept_ends(seen) if not _failed_later(end, seen)]


def _failed_later(end: End, seen: _FateProgress) -> bool:
    # Compare by attempt, not by time: the worker may write `settled` after the gateway wrote that
    # the message failed.
    if end.is_later_proof:
        return False
    failures = seen.unheard.keys() | seen.failed.keys()
    return end.stage == "accepted" and (
        end.attempt in failures or (end.attempt is None and bool(failures))
    )

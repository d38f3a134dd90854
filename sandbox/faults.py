"""Faults that a script asks for: which requests to hit, and how.

A rule with a probability hits the same messages in every run with the same seed.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field


class Action(StrEnum):
    """What a rule does to a request.

    Actions named `accept_…` take the message first, and then misbehave.
    """

    REJECT = "reject"  # answers with `code` and `http`
    # 429 with code 20429; the message is not taken. `retry_after` seconds go into the header.
    RATE_LIMITED = "rate_limited"
    RATE_LIMITED_BARE = "rate_limited_bare"  # a proxy's 429 without a Twilio code; not taken
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    GARBAGE = "garbage"
    RESET = "reset"
    # Resets before the body is read, so it can match only by nth, every and probability.
    RESET_UNREAD = "reset_unread"
    HANG = "hang"
    ACCEPT_RATE_LIMITED_BARE = "accept_rate_limited_bare"
    ACCEPT_SERVER_ERROR = "accept_server_error"
    ACCEPT_UNAVAILABLE = "accept_unavailable"
    ACCEPT_GARBAGE = "accept_garbage"
    ACCEPT_RESET = "accept_reset"
    ACCEPT_HANG = "accept_hang"
    # 201, and later a callback with `status` and `code`. If `then` is set, another callback reports
    # after `delay_ms` that the message arrived.
    FAIL = "fail"
    LATENCY = "latency"  # answers after `delay_ms`
    LIST_LAG = "list_lag"  # lists show the message after `delay_ms`
    CALLBACK_LOST = "callback_lost"
    CALLBACK_DOUBLED = "callback_doubled"
    CALLBACK_REORDERED = "callback_reordered"
    CALLBACK_FIRST = "callback_first"  # the first callback is posted before the POST is answered
    # Delays callbacks by `delay_ms`. Lists and fetches show the status at once.
    CALLBACK_DELAYED = "callback_delayed"
    CALLBACK_BY_GET = "callback_by_get"  # callbacks come by GET, with their form in the query
    # Error codes are written as `21610.0`, as some JSON libraries write a whole number.
    DECIMAL_CODE = "decimal_code"


MODIFIERS: Final = frozenset(
    {
        Action.LATENCY,
        Action.LIST_LAG,
        Action.CALLBACK_LOST,
        Action.CALLBACK_DOUBLED,
        Action.CALLBACK_REORDERED,
        Action.CALLBACK_FIRST,
        Action.CALLBACK_DELAYED,
        Action.CALLBACK_BY_GET,
        Action.DECIMAL_CODE,
    }
)
"""Actions that combine with each other and with one answer. Of all other actions only the first
that matches applies."""


class Match(BaseModel):
    """Which requests a rule hits: those that fulfil all conditions, or all requests without one.

    `nth` counts from 1 per kind of request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    nth: tuple[int, ...] | int | None = None
    every: int | None = Field(default=None, ge=1)
    probability: float | None = Field(default=None, ge=0.0, le=1.0)
    sender: str | None = None
    to: str | None = None
    id: str | None = None
    attempt: int | None = None


class FaultRule(BaseModel):
    """One rule.

    `times`: how many requests it hits at most; None means no limit. `channel_status`: the channel's
    own description of the failure, for the callback.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Action
    on: Literal["create", "list", "fetch"] = "create"
    match: Match = Match()
    times: int | None = Field(default=None, ge=1)
    delay_ms: int = Field(default=0, ge=0)
    code: int | None = None
    http: int | None = Field(default=None, ge=400, le=599)
    retry_after: float | None = Field(default=None, ge=0)
    status: Literal["failed", "undelivered"] = "failed"
    then: Literal["delivered", "read"] | None = None
    channel_status: str | None = Field(default=None, max_length=400)


@dataclass(frozen=True, slots=True)
class ObservedRequest:
    """What a rule can look at: a request, its number among its kind, and values from its form."""

    on: str
    number: int
    sender: str = ""
    to: str = ""
    message_id: str | None = None
    attempt: int | None = None


@dataclass(slots=True)
class _Armed:
    number: int
    rule: FaultRule
    hits: int = 0


@dataclass(slots=True)
class Drawn:
    """The rules that hit one request: at most one answer, and any number of modifiers."""

    answer: FaultRule | None = None
    modifiers: list[FaultRule] = field(default_factory=list)

    def has(self, action: Action) -> bool:
        """Return whether one of the modifiers has this action."""
        return any(rule.action is action for rule in self.modifiers)

    def delay_ms(self, action: Action) -> int:
        """Return the sum of the delays of a modifier, in milliseconds."""
        return sum(rule.delay_ms for rule in self.modifiers if rule.action is action)

    @property
    def names(self) -> str | None:
        """The actions of all rules that hit, joined by commas, or None."""
        hit = [self.answer.action.value] if self.answer else []
        return ",".join([*hit, *(rule.action.value for rule in self.modifiers)]) or None


class Faults:
    """The rules in force, in the order in which they were added."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._armed: list[_Armed] = []
        self._next = 1
        self.hits: Counter[str] = Counter()

    def add(self, rule: FaultRule) -> int:
        """Add a rule and return its number."""
        self._armed.append(_Armed(self._next, rule))
        self._next += 1
        return self._armed[-1].number

    def clear(self) -> None:
        """Remove all rules. The hits remain counted."""
        self._armed.clear()

    def draw(self, seen: ObservedRequest, *, unread: bool = False) -> Drawn:
        """Return the rules that hit this request.

        `unread`: consider only the rules that act before the body is read; otherwise only the
        others.
        """
        drawn = Drawn()
        for armed in self._armed:
            rule = armed.rule
            if (rule.action is Action.RESET_UNREAD) is not unread or rule.on != seen.on:
                continue
            if drawn.answer is not None and rule.action not in MODIFIERS:
                continue
            if (rule.times is not None and armed.hits >= rule.times) or not self._matches(
                armed, seen
            ):
                continue
            armed.hits += 1
            self.hits[rule.action.value] += 1
            if rule.action in MODIFIERS:
                drawn.modifiers.append(rule)
            else:
                drawn.answer = rule
        return drawn

    def listing(self) -> list[dict[str, object]]:
        """Return the rules in force with their hits."""
        return [
            {
                "id": armed.number,
                "hits": armed.hits,
                **armed.rule.model_dump(mode="json", exclude_defaults=True),
            }
            for armed in self._armed
        ]

    def _matches(self, armed: _Armed, seen: ObservedRequest) -> bool:
        match = armed.rule.match
        numbers = (match.nth,) if isinstance(match.nth, int) else match.nth
        return (
            (numbers is None or seen.number in numbers)
            and (match.every is None or seen.number % match.every == 0)
            and (match.sender is None or match.sender == seen.sender)
            and (match.to is None or match.to == seen.to)
            and (match.id is None or (seen.message_id is not None and match.id in seen.message_id))
            and (match.attempt is None or match.attempt == seen.attempt)
            and (match.probability is None or self._chance(armed.number, seen) < match.probability)
        )

    def _chance(self, rule: int, seen: ObservedRequest) -> float:
        # Drawn by message and attempt, not by arrival, so that a seed hits the same messages
        # whatever the concurrency.
        who = f"{seen.message_id}:{seen.attempt}" if seen.message_id else str(seen.number)
        digest = hashlib.blake2s(f"{self._seed}:{rule}:{who}".encode(), digest_size=4).digest()
        return int.from_bytes(digest) / 2**32

"""Decisions: send this content until a given instant, wait, or refuse.

Each decision has a trace that says how it came about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sendwindow.vocabulary import Category, Reason


@dataclass(frozen=True, slots=True)
class FreeformContent:
    """Content that is sent as `Body` and `MediaUrl`.

    `relies_on_tag`: for a Messenger message outside the window, to which Twilio itself adds the tag
    ACCOUNT_UPDATE.
    """

    body: str
    media_url: str | None = None
    relies_on_tag: bool = False


@dataclass(frozen=True, slots=True)
class TemplateContent:
    """Content that is sent as `ContentSid` and `ContentVariables`.

    `category` is that of the configured template.
    """

    content_sid: str
    variables: Mapping[str, str]
    category: Category = Category.UTILITY


Content = FreeformContent | TemplateContent


@dataclass(frozen=True, slots=True)
class SeenRevisions:
    """The revisions of the facts on which a decision relies.

    Admission grants a permit only while all of them are still current.
    """

    person: int
    sender: int
    account: int
    template: int | None = None
    tag: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one rule.

    `rule`: the stable id of a row of the decision table. `verdict`: pass, deny, wait, choose or
    skip.
    """

    rule: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """Why a decision came out as it did.

    Lists every rule that was evaluated, in order, and the policy version. Contains no personal
    data.
    """

    policy_version: str
    decided_at: datetime
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Send `content` if the POST starts before `valid_until`.

    `validity_period` limits how long Twilio may keep the message in its own queue. It is in whole
    seconds, from 1 to 36,000.
    """

    reason: Reason
    content: Content
    seen: SeenRevisions
    valid_until: datetime
    validity_period: timedelta
    trace: Trace


@dataclass(frozen=True, slots=True)
class Wait:
    """Decide again at `until`. With `on_inbound`, decide earlier if the person writes before that.

    `until` is never after the message's expiry.
    """

    reason: Reason
    until: datetime
    on_inbound: bool
    trace: Trace


@dataclass(frozen=True, slots=True)
class Refuse:
    """End the message, as `expired` if the reason is EXPIRED and otherwise as `refused`."""

    reason: Reason
    trace: Trace


Decision = Send | Wait | Refuse

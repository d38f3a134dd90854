"""What a decision says: send this content until then, wait, or refuse, always with the trace that led there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sendwindow.vocabulary import Category, Reason


@dataclass(frozen=True, slots=True)
class FreeformContent:
    """Goes out as `Body` and `MediaUrl`.

    `relies_on_tag`: Messenger outside the window, where Twilio adds ACCOUNT_UPDATE itself.
    """

    body: str
    media_url: str | None = None
    relies_on_tag: bool = False


@dataclass(frozen=True, slots=True)
class TemplateContent:
    """Goes out as `ContentSid` and `ContentVariables`. `name` and `category` are the configured template's."""

    name: str
    content_sid: str
    variables: Mapping[str, str]
    category: Category = Category.UTILITY


Content = FreeformContent | TemplateContent


@dataclass(frozen=True, slots=True)
class Seen:
    """Revisions of the facts a decision rests on; admission grants a permit only while they are still current."""

    person: int
    sender: int
    account: int
    template: int | None = None
    tag: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule's say. `rule`: stable id of a row of the decision table. `verdict`: pass, deny, wait, choose, skip."""

    rule: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """Why a decision came out as it did: every rule looked at, in order, and the policy version. No personal data."""

    policy_version: str
    decided_at: datetime
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Send `content` if the POST starts before `valid_until`.

    `validity_period` bounds Twilio's own queue (whole seconds, 1 to 36,000).
    """

    reason: Reason
    content: Content
    seen: Seen
    valid_until: datetime
    validity_period: timedelta
    trace: Trace


@dataclass(frozen=True, slots=True)
class Wait:
    """Decide again at `until`, or as soon as the person writes when `on_inbound`, whichever is first.

    `until` never exceeds expiry.
    """

    reason: Reason
    until: datetime
    on_inbound: bool
    trace: Trace


@dataclass(frozen=True, slots=True)
class Refuse:
    """End the message: `expired` when the reason is EXPIRED, otherwise `refused`."""

    reason: Reason
    trace: Trace


Decision = Send | Wait | Refuse

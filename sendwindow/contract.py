"""`SendMessage`: what a backend puts on the queue, checked whole before anything is queued. Knows no Redis and no now.

A wire form, parsed for ever: fields are added with a default, never renamed, never reused.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sendwindow import checks
from sendwindow.addresses import Address, parse_address
from sendwindow.identifiers import new_message_id
from sendwindow.vocabulary import OnUnknown, Priority, Purpose, WhenClosed
from sendwindow.wire import WireModel, refusal

LIFETIME: Final = {
    Purpose.AUTHENTICATION: timedelta(minutes=10),
    Purpose.REPLY: timedelta(hours=24),
    Purpose.UTILITY: timedelta(hours=24),
    Purpose.ACCOUNT_UPDATE: timedelta(hours=24),
    Purpose.MARKETING: timedelta(hours=72),
}
"""How long a message without `expires_at` stays sendable after `not_before` or the enqueue, also while it waits."""

LONGEST_LIFETIME: Final = timedelta(days=7)
"""How far `expires_at` may lie after `not_before`, or after the enqueue where that is later."""

FARTHEST_START: Final = timedelta(days=35)
"""How far `not_before` may lie after the enqueue."""

ON_UNKNOWN: Final = {
    Purpose.AUTHENTICATION: OnUnknown.RESEND,
    Purpose.REPLY: OnUnknown.RESEND_IF_ABSENT,
    Purpose.UTILITY: OnUnknown.RESEND_IF_ABSENT,
    Purpose.ACCOUNT_UPDATE: OnUnknown.RESEND_IF_ABSENT,
    Purpose.MARKETING: OnUnknown.NEVER,
}
"""The rule of a message without `on_unknown`, by purpose."""

Name = Annotated[str, AfterValidator(checks.name)]
Instant = Annotated[datetime, BeforeValidator(checks.instant)]


class Freeform(WireModel):
    """Text of one's own, a public media URL, or both. One media at most: WhatsApp sends no second one."""

    body: Annotated[str, AfterValidator(checks.body)] | None = Field(default=None, repr=False)
    media_url: Annotated[str, AfterValidator(checks.media_url)] | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.body is None and self.media_url is None:
            raise refusal("has neither body nor media_url", "give at least one of them")
        return self


class Template(WireModel):
    """A template by its configured name or its ContentSid, with a value for every variable it declares."""

    name: Name
    language: Annotated[str, AfterValidator(checks.language)] | None = None
    variables: Annotated[dict[str, str], AfterValidator(checks.variables)] = Field(default={}, repr=False)


class SendMessage(WireModel):
    """One message to one person. Raises InvalidMessage with every fault at once; no fault repeats a value.

    How far its times lie ahead, its template's language and what fits a WhatsApp template is checked when it is sent.
    `freeform` goes out while the session window is open, `template` when it is closed; give at least one. Without a
    `message_id` a new one is made here, so sending the same object again never makes a second message.
    """

    to: Annotated[str, AfterValidator(checks.address)] = Field(repr=False)
    sender: Name
    purpose: Purpose
    freeform: Freeform | None = None
    template: Template | None = None
    message_id: Annotated[str, AfterValidator(checks.message_id), BeforeValidator(checks.message_id_or_new)] = Field(
        default_factory=new_message_id
    )
    priority: Priority = Priority.NORMAL
    not_before: Instant | None = None
    expires_at: Instant | None = None
    when_closed: WhenClosed = WhenClosed.REFUSE
    on_unknown: OnUnknown | None = None
    group: Name | None = None
    campaign: Name | None = None
    metadata: Annotated[dict[str, str], AfterValidator(checks.metadata)] = Field(default={}, repr=False)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.freeform is None and self.template is None:
            raise refusal("has neither freeform nor template", "give at least one of them")
        if self.expires_at is not None and self.not_before is not None:
            if self.expires_at <= self.not_before:
                raise refusal("is not after not_before", "give a later time", "expires_at")
            if self.expires_at - self.not_before > LONGEST_LIFETIME:
                raise refusal("is more than 7 days after not_before", "give an earlier time", "expires_at")
        return self

    @property
    def address(self) -> Address:
        """The parsed recipient."""
        return parse_address(self.to)

    @property
    def lifetime(self) -> timedelta:
        """How long the message stays sendable when it has no `expires_at`."""
        return LIFETIME[self.purpose]

    @property
    def unknown_rule(self) -> OnUnknown:
        """What happens when an attempt's outcome cannot be proven: `on_unknown`, or the default of the purpose."""
        return self.on_unknown or ON_UNKNOWN[self.purpose]

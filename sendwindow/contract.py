"""`SendMessage`: what a backend puts on the queue, validated completely before it is queued.

Does not know Redis and does not read a clock.

This is a wire format, and every release must be able to parse it forever. A new field needs a
default. A field is never renamed, and its name is never reused.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sendwindow import validators
from sendwindow.addresses import Address, parse_address
from sendwindow.ids import new_message_id
from sendwindow.vocabulary import OnUnknown, Priority, Purpose, WhenClosed
from sendwindow.wire import WireModel, refusal

LIFETIME: Final = {
    Purpose.AUTHENTICATION: timedelta(minutes=10),
    Purpose.REPLY: timedelta(hours=24),
    Purpose.UTILITY: timedelta(hours=24),
    Purpose.ACCOUNT_UPDATE: timedelta(hours=24),
    Purpose.MARKETING: timedelta(hours=72),
}
"""How long a message without `expires_at` stays sendable, by purpose.

The time counts from `not_before`, or from the enqueue if that is later, and goes on while the
message waits.
"""

MAX_LIFETIME: Final = timedelta(days=7)
"""How far `expires_at` may lie after `not_before`, or after the enqueue if that is later."""

MAX_START_DELAY: Final = timedelta(days=35)
"""How far `not_before` may lie after the enqueue."""

ON_UNKNOWN: Final = {
    Purpose.AUTHENTICATION: OnUnknown.RESEND,
    Purpose.REPLY: OnUnknown.RESEND_IF_ABSENT,
    Purpose.UTILITY: OnUnknown.RESEND_IF_ABSENT,
    Purpose.ACCOUNT_UPDATE: OnUnknown.RESEND_IF_ABSENT,
    Purpose.MARKETING: OnUnknown.NEVER,
}
"""The rule that applies to a message without `on_unknown`, by purpose."""

Name = Annotated[str, AfterValidator(validators.name)]
Instant = Annotated[datetime, BeforeValidator(validators.instant)]


class Freeform(WireModel):
    """Free text, a public media URL, or both.

    A message has at most one media file, because WhatsApp does not send a second one.
    """

    body: Annotated[str, AfterValidator(validators.body)] | None = Field(default=None, repr=False)
    media_url: Annotated[str, AfterValidator(validators.media_url)] | None = Field(
        default=None, repr=False
    )

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.body is None and self.media_url is None:
            raise refusal("has neither body nor media_url", "give at least one of them")
        return self


class Template(WireModel):
    """A template, by its configured name or its ContentSid.

    `variables` must hold a value for every variable that the template declares.
    """

    name: Name
    language: Annotated[str, AfterValidator(validators.language)] | None = None
    variables: Annotated[dict[str, str], AfterValidator(validators.variables)] = Field(
        default={}, repr=False
    )


class SendMessage(WireModel):
    """One message to one person.

    Give at least one of `freeform` and `template`. The worker sends `freeform` while the session
    window is open and `template` while it is closed. Without a `message_id`, the object gets a new
    one here, so sending the same object again never creates a second message.

    `supersedes`: a key of the backend. The message takes the place of the last one from the same
    sender to the same address with the same key, if that is still queued: it is cancelled with the
    reason `superseded`.

    Raises InvalidMessage, which lists every fault and repeats no value. The producer checks four
    more things when it sends the message: how far the times lie ahead, the language of the
    template, whether the variables fit a WhatsApp template, and whether WhatsApp can deliver the
    media file.
    """

    to: Annotated[str, AfterValidator(validators.address)] = Field(repr=False)
    sender: Name
    purpose: Purpose
    freeform: Freeform | None = None
    template: Template | None = None
    message_id: Annotated[
        str, AfterValidator(validators.message_id), BeforeValidator(validators.message_id_or_new)
    ] = Field(default_factory=new_message_id)
    priority: Priority = Priority.NORMAL
    not_before: Instant | None = None
    expires_at: Instant | None = None
    when_closed: WhenClosed = WhenClosed.REFUSE
    on_unknown: OnUnknown | None = None
    group: Name | None = None
    campaign: Name | None = None
    supersedes: Name | None = None
    metadata: Annotated[dict[str, str], AfterValidator(validators.metadata)] = Field(
        default={}, repr=False
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.freeform is None and self.template is None:
            raise refusal("has neither freeform nor template", "give at least one of them")
        if self.expires_at is not None and self.not_before is not None:
            if self.expires_at <= self.not_before:
                raise refusal("is not after not_before", "give a later time", "expires_at")
            if self.expires_at - self.not_before > MAX_LIFETIME:
                raise refusal(
                    "is more than 7 days after not_before", "give an earlier time", "expires_at"
                )
        return self

    @property
    def address(self) -> Address:
        """The parsed address of the recipient."""
        return parse_address(self.to)

    def ends_at(self, start: datetime) -> datetime:
        """Return when the message expires if it starts at `start`.

        `start`: the enqueue, or `not_before` if that is later.
        """
        return self.expires_at or start + self.lifetime

    @property
    def lifetime(self) -> timedelta:
        """How long the message stays sendable if it has no `expires_at`."""
        return LIFETIME[self.purpose]

    @property
    def unknown_rule(self) -> OnUnknown:
        """The rule for an attempt whose outcome is not proven.

        That is `on_unknown`, or the default of the purpose.
        """
        return self.on_unknown or ON_UNKNOWN[self.purpose]

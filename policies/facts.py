"""The inputs of a decision: the message as a draft, and facts about sender, person and template.

Law: an unknown fact is None, and None never permits anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sendwindow.vocabulary import Category, Channel, MediaKind, Purpose, WhenClosed


class Approval(StrEnum):
    """The approval of a WhatsApp template in one language, in the words of Twilio's Content API."""

    APPROVED = "approved"
    PENDING = "pending"
    RECEIVED = "received"
    REJECTED = "rejected"
    PAUSED = "paused"
    DISABLED = "disabled"
    UNSUBMITTED = "unsubmitted"


class TagState(StrEnum):
    """What is known about whether ACCOUNT_UPDATE works on one Page."""

    UNPROVEN = "unproven"
    PROVEN = "proven"
    DEAD = "dead"


class Holds(StrEnum):
    """Which messages to a person a block holds back."""

    MARKETING = "marketing"
    ALL_BUT_REPLIES = "all_but_replies"
    """Everything except a reply inside the open session window.

    The provider reported that the person blocked us.
    """
    GRANTS = "grants"
    """Every message that relies on a grant.

    The number may have a new owner, who gave no grant.
    """


@dataclass(frozen=True, slots=True)
class FreeformDraft:
    """Free text with at most one media URL.

    `media_kind` is None if the URL does not make the kind certain.
    """

    body: str
    media_url: str | None = None
    media_kind: MediaKind | None = None


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """The template that a message asks for, by its configured name or its ContentSid."""

    name: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a message asks for.

    At least one of `freeform` and `template` is present. Datetimes are aware.
    """

    channel: Channel | None
    to: str
    to_is_phone: bool
    purpose: Purpose
    freeform: FreeformDraft | None
    template: TemplateRef | None
    expires_at: datetime
    not_before: datetime | None = None
    when_closed: WhenClosed = WhenClosed.REFUSE
    is_opt_out_confirmation: bool = False


@dataclass(frozen=True, slots=True)
class SenderFact:
    """The configured "From".

    `paused_until` is None if it may send. `revision` changes with every stored change.
    """

    name: str
    channel: Channel
    address: str
    paused_until: datetime | None = None
    account_paused_until: datetime | None = None
    revision: int = 0
    account_revision: int = 0


@dataclass(frozen=True, slots=True)
class ConsentFact:
    """A grant or a withdrawal.

    `purpose` None: for every purpose. `sender` None: at every sender of the account.
    """

    granted: bool
    at: datetime
    purpose: Purpose | None = None
    sender: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BlockFact:
    """Messages that we hold back from a person after an error of the provider.

    A block is independent of the person's consent. `at`: when the failed attempt was made. `sender`
    None: at every sender of the account. `ends_at` None: no term. `until_inbound`: an act of the
    person ends the block. If they write, the store removes it. If they give a grant after `at`, the
    block does not apply to messages for which the grant counts.
    """

    holds: Holds
    at: datetime
    code: int
    sender: str | None = None
    ends_at: datetime | None = None
    until_inbound: bool = False


@dataclass(frozen=True, slots=True)
class PersonFact:
    """What is known about the person in relation to this sender and account.

    `last_inbound_at`: when the person last wrote to this sender. `closed_at`: when the provider
    reported that the window is closed although our record said that it is open. It outranks every
    inbound message of the same or an earlier time. `is_readable`: False if a newer version recorded
    something that may be a withdrawal and this version cannot read it. `suspected_at`: since when a
    suspected stop of the person has been waiting for an operator. `suppressed_for`: the reason of
    the suppression, such as `code 63024`. `sent_last_day`: how many POSTs to the person were made
    in the last 24 hours.
    """

    last_inbound_at: datetime | None = None
    closed_at: datetime | None = None
    consents: tuple[ConsentFact, ...] = ()
    suppressed_until: datetime | None = None
    suppressed_for: str = ""
    blocks: tuple[BlockFact, ...] = ()
    sent_last_day: int = 0
    revision: int = 0
    is_readable: bool = True
    suspected_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TemplateFact:
    """A configured template in the requested language.

    `content_sid` None: the template does not exist in that language. `variables`: the names of the
    variables that the template declares.
    """

    name: str
    content_sid: str | None
    category: Category
    approval: Approval
    variables: frozenset[str] = frozenset()
    needs_phone: bool = False
    channels: frozenset[Channel] = frozenset({Channel.WHATSAPP})
    revision: int = 0


@dataclass(frozen=True, slots=True)
class TagFact:
    """ACCOUNT_UPDATE on the sending Page.

    `in_flight`: a message that tests the tag was sent, and its outcome is not proven yet.
    """

    state: TagState = TagState.UNPROVEN
    in_flight: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts that a decision may use. `sender` None: no such sender is configured."""

    sender: SenderFact | None
    person: PersonFact | None
    template: TemplateFact | None = None
    tag: TagFact | None = None

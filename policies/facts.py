"""What a decision looks at: the message as a draft, and what is known about sender, person and template at one instant.

Law: a fact that is not known is None, and None never permits anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sendwindow.vocabulary import Category, Channel, MediaKind, Purpose, WhenClosed


class Approval(StrEnum):
    """Approval of a WhatsApp template in one language, as Twilio's Content API names it."""

    APPROVED = "approved"
    PENDING = "pending"
    RECEIVED = "received"
    REJECTED = "rejected"
    PAUSED = "paused"
    DISABLED = "disabled"
    UNSUBMITTED = "unsubmitted"


class TagState(StrEnum):
    """What is known about ACCOUNT_UPDATE on one Page."""

    UNPROVEN = "unproven"
    PROVEN = "proven"
    DEAD = "dead"


class Holds(StrEnum):
    """Which messages an error of the provider holds back from a person."""

    MARKETING = "marketing"
    ALL_BUT_REPLIES = "all_but_replies"
    """Everything but an answer inside the open session window: the provider says that the person blocked us."""
    GRANTS = "grants"
    """What rests on a grant: the number may have a new owner, who granted nothing."""


@dataclass(frozen=True, slots=True)
class Freeform:
    """Text of one's own, with at most one media URL. `media_kind`: None where the URL does not say it for certain."""

    body: str
    media_url: str | None = None
    media_kind: MediaKind | None = None


@dataclass(frozen=True, slots=True)
class TemplateWish:
    """The template a message asks for: by configured name or by ContentSid."""

    name: str
    language: str | None
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a message wants. At least one of `freeform` and `template` is given. Instants are aware."""

    message_id: str
    channel: Channel | None
    to: str
    to_is_phone: bool
    purpose: Purpose
    freeform: Freeform | None
    template: TemplateWish | None
    expires_at: datetime
    not_before: datetime | None = None
    when_closed: WhenClosed = WhenClosed.REFUSE
    is_opt_out_confirmation: bool = False


@dataclass(frozen=True, slots=True)
class SenderFact:
    """The configured "From". `paused_until` is None when it may send; `revision` changes with every stored change."""

    name: str
    account: str
    channel: Channel
    address: str
    paused_until: datetime | None = None
    account_paused_until: datetime | None = None
    revision: int = 0
    account_revision: int = 0


@dataclass(frozen=True, slots=True)
class ConsentFact:
    """A grant or a withdrawal for one purpose (None: for all), at one sender (None: at every sender of the account)."""

    granted: bool
    at: datetime
    purpose: Purpose | None = None
    sender: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BlockFact:
    """What an error of the provider holds back from a person, apart from what the person consented to.

    `at`: the instant of the attempt that failed. `sender` None: at every sender of the account. `ends_at` None: no
    term. `until_inbound`: the person's own act ends it; writing ends it in the store, and a grant given since counts.
    """

    holds: Holds
    at: datetime
    code: int
    sender: str | None = None
    ends_at: datetime | None = None
    until_inbound: bool = False


@dataclass(frozen=True, slots=True)
class PersonFact:
    """What is known about the recipient towards this sender and account.

    `last_inbound_at`: last time the person wrote to this sender. `closed_at`: when the provider told us that
    the window is closed although our record said open; it outranks every inbound at or before it.
    `is_readable`: False when a newer version recorded what may be a withdrawal and this one cannot read it.
    `suspected_at`: since when a sentence of theirs, which may mean stop, waits for an operator to look at it.
    `suppressed_for`: the reason of the suppression, such as `code 63024`.
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
    """A configured template in the language asked for.

    `content_sid` None: not there in that language. `variables`: the names the template declares.
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
    """ACCOUNT_UPDATE on the sending Page. `in_flight`: an unproven message is out and not yet proven."""

    state: TagState = TagState.UNPROVEN
    in_flight: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a decision may look at. `sender` None: no such sender configured."""

    sender: SenderFact | None
    person: PersonFact | None
    template: TemplateFact | None = None
    tag: TagFact | None = None

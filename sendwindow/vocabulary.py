"""The vocabulary of the domain as closed enums.

Uses the standard library only. Every other package uses these enums.
"""

from enum import StrEnum
from typing import Final


class Channel(StrEnum):
    """The channel of a message. The prefix of an address names it; an SMS address has no prefix."""

    WHATSAPP = "whatsapp"
    MESSENGER = "messenger"
    SMS = "sms"


class Purpose(StrEnum):
    """Why the person gets the message. Consent is recorded per purpose."""

    REPLY = "reply"
    UTILITY = "utility"
    AUTHENTICATION = "authentication"
    MARKETING = "marketing"
    ACCOUNT_UPDATE = "account_update"


class MediaKind(StrEnum):
    """The kind of a media file, where its name makes it certain."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    CONTACT = "contact"


class Priority(StrEnum):
    """Which lanes the workers serve first. Bulk lanes still get a share."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"


class WhenClosed(StrEnum):
    """What happens to a message that cannot be sent while the session window is closed."""

    REFUSE = "refuse"
    WAIT = "wait"


class OnUnknown(StrEnum):
    """What happens if the outcome of an attempt is not proven (docs/reliability.md)."""

    RESEND = "resend"
    RESEND_IF_ABSENT = "resend_if_absent"
    NEVER = "never"
    HOLD = "hold"


class Category(StrEnum):
    """The category that Meta assigned to a WhatsApp template. Meta may change it at any time."""

    UTILITY = "UTILITY"
    MARKETING = "MARKETING"
    AUTHENTICATION = "AUTHENTICATION"


class Stage(StrEnum):
    """Where a message stands.

    Seven stages are open and six are ends. A message leaves an end only when another life begins.
    `unknown` and `unresolved` are open, because the last attempt may or may not have reached the
    person.
    """

    QUEUED = "queued"
    CLAIMED = "claimed"
    POSTING = "posting"
    WAITING = "waiting"
    RETRYING = "retrying"
    UNKNOWN = "unknown"
    UNRESOLVED = "unresolved"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DEAD = "dead"


DISPATCH_ENDS: Final = frozenset(
    {Stage.ACCEPTED, Stage.REFUSED, Stage.FAILED, Stage.EXPIRED, Stage.CANCELLED, Stage.DEAD}
)


class Reason(StrEnum):
    """Stable codes that say why a message was sent, waits or ended.

    A code is never renamed, and its name is never reused.
    """

    # why it was sent in this form
    WINDOW_OPEN = "window_open"
    REPLY_IMPLIED = "reply_implied"
    TEMPLATE_WINDOW_CLOSED = "template_window_closed"
    TEMPLATE_NEAR_EDGE = "template_near_edge"
    TEMPLATE_ONLY = "template_only"
    ACCOUNT_UPDATE = "account_update"
    SMS_CONSENT = "sms_consent"
    OPT_OUT_CONFIRMATION = "opt_out_confirmation"

    # why it was refused
    OPTED_OUT = "opted_out"
    NO_CONSENT = "no_consent"
    NO_MARKETING_CONSENT = "no_marketing_consent"
    CONSENT_EXPIRED = "consent_expired"
    NEVER_WROTE = "never_wrote"
    WINDOW_CLOSED = "window_closed"
    NO_TEMPLATE = "no_template"
    UNKNOWN_TEMPLATE = "unknown_template"
    TEMPLATE_NOT_APPROVED = "template_not_approved"
    TEMPLATE_PAUSED = "template_paused"
    TEMPLATE_DISABLED = "template_disabled"
    TEMPLATE_LANGUAGE = "template_language"
    TEMPLATE_CATEGORY = "template_category"
    TEMPLATE_VARIABLES = "template_variables"
    TEMPLATE_ON_CHANNEL = "template_on_channel"
    US_MARKETING_PAUSED = "us_marketing_paused"
    AUTHENTICATION_NEEDS_PHONE = "authentication_needs_phone"
    ACCOUNT_UPDATE_REFUSED = "account_update_refused"
    ACCOUNT_UPDATE_DEAD = "account_update_dead"
    ADDRESS_SUPPRESSED = "address_suppressed"
    PROVIDER_BLOCK = "provider_block"
    MARKETING_HELD = "marketing_held"
    GRANTS_SUSPENDED = "grants_suspended"
    BODY_LOST_WITH_MEDIA = "body_lost_with_media"
    UNKNOWN_SENDER = "unknown_sender"
    UNKNOWN_CHANNEL = "unknown_channel"
    CHANNEL_MISMATCH = "channel_mismatch"
    SAME_ADDRESS = "same_address"
    NOT_ON_ALLOW_LIST = "not_on_allow_list"
    PERSON_CAP = "person_cap"
    MISSING_FACT = "missing_fact"

    # why it waits
    AWAITING_INBOUND = "awaiting_inbound"
    NOT_BEFORE = "not_before"
    SENDER_PAUSED = "sender_paused"
    ACCOUNT_PAUSED = "account_paused"
    CAMPAIGN_PAUSED = "campaign_paused"
    BREAKER_OPEN = "breaker_open"
    ACCOUNT_UPDATE_UNPROVEN = "account_update_unproven"
    ACCOUNT_BUSY = "account_busy"
    ACCOUNT_RATE = "account_rate"
    SENDER_RATE = "sender_rate"
    PAIR_RATE = "pair_rate"
    PORTFOLIO_LIMIT = "portfolio_limit"
    STOP_SUSPECTED = "stop_suspected"
    PERMIT_LAPSED = "permit_lapsed"
    FACTS_CHANGED = "facts_changed"
    WORKER_STOPPED = "worker_stopped"
    LEASE_LOST = "lease_lost"

    # how an attempt went
    ACCEPTED = "accepted"
    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    PROVIDER_TRANSIENT = "provider_transient"
    PROVIDER_REFUSED = "provider_refused"
    WINDOW_CLOSED_BY_PROVIDER = "window_closed_by_provider"
    OUTCOME_TIMEOUT = "outcome_timeout"
    OUTCOME_CONNECTION_LOST = "outcome_connection_lost"
    OUTCOME_SERVER_ERROR = "outcome_server_error"
    OUTCOME_UNREADABLE = "outcome_unreadable"
    OUTCOME_CRASH = "outcome_crash"
    OUTCOME_RESTORED = "outcome_restored"

    # how an unknown outcome was resolved
    EVIDENCE_LATE_REPLY = "evidence_late_reply"
    EVIDENCE_CALLBACK = "evidence_callback"
    EVIDENCE_LIST = "evidence_list"
    EVIDENCE_PERSON = "evidence_person"
    RESENT_BY_RULE = "resent_by_rule"
    NEVER_BY_RULE = "never_by_rule"
    HELD_BY_RULE = "held_by_rule"

    # other ends
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    UNREADABLE = "unreadable"
    POISON = "poison"
    RETRIES_EXHAUSTED = "retries_exhausted"
    DROPPED = "dropped"
    REPLAYED = "replayed"
    RETRIED = "retried"

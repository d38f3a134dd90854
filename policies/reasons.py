"""One sentence for each reason code, grouped by the part of a message's life that it explains."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sendwindow.vocabulary import Reason

SENT: Final[Mapping[Reason, str]] = {
    Reason.WINDOW_OPEN: "Freeform: the person wrote to this sender within the last 24 hours.",
    Reason.REPLY_IMPLIED: (
        "Freeform: an answer to someone who wrote within 24 hours, which implies consent for it."
    ),
    Reason.TEMPLATE_WINDOW_CLOSED: (
        "Template: the session window is closed, or the person never wrote to this sender."
    ),
    Reason.TEMPLATE_NEAR_EDGE: "Template although the window is open: it closes within minutes.",
    Reason.TEMPLATE_ONLY: "Template: the message has no freeform.",
    Reason.ACCOUNT_UPDATE: (
        "Freeform outside the window: Twilio tags it ACCOUNT_UPDATE, which has not "
        "failed on this Page."
    ),
    Reason.SMS_CONSENT: "SMS: the person's recorded consent covers the purpose.",
    Reason.OPT_OUT_CONFIRMATION: (
        "The one confirmation that may follow a stop, within five minutes."
    ),
}

REFUSED: Final[Mapping[Reason, str]] = {
    Reason.OPTED_OUT: (
        "The person said stop on this channel. They undo it with START, or a newer grant is "
        "recorded."
    ),
    Reason.NO_CONSENT: (
        "No consent is recorded for this purpose. Once the person has given it, record "
        "it with `consent grant`."
    ),
    Reason.NO_MARKETING_CONSENT: (
        "Marketing needs a consent that names marketing, and none is recorded."
    ),
    Reason.CONSENT_EXPIRED: (
        "The consent recorded for this purpose has expired. Ask the person again."
    ),
    Reason.NEVER_WROTE: (
        "The person never wrote to this Page. On Messenger only that gives permission."
    ),
    Reason.WINDOW_CLOSED: (
        "The session window is closed, and no other form of the message may be sent. Let it wait."
    ),
    Reason.NO_TEMPLATE: (
        "Only a template may be sent now, and the message has none. Add one, or let it wait."
    ),
    Reason.UNKNOWN_TEMPLATE: (
        "The template is not in the settings. Add it under [templates], or correct the name."
    ),
    Reason.TEMPLATE_NOT_APPROVED: (
        "The template is not approved in this language. Wait for its approval, or use another."
    ),
    Reason.TEMPLATE_PAUSED: (
        "Meta paused the template. It may be sent again when the pause is over."
    ),
    Reason.TEMPLATE_DISABLED: "Meta disabled the template for good. Use another.",
    Reason.TEMPLATE_LANGUAGE: (
        "The template does not exist in this language. Add its ContentSid, or use another language."
    ),
    Reason.TEMPLATE_CATEGORY: "The template's category does not fit the message's purpose.",
    Reason.TEMPLATE_VARIABLES: "The variables are not exactly those that the template declares.",
    Reason.TEMPLATE_ON_CHANNEL: "The template is not meant for this channel.",
    Reason.US_MARKETING_PAUSED: (
        "Meta delivers no marketing template to US numbers. Use freeform in an open window."
    ),
    Reason.AUTHENTICATION_NEEDS_PHONE: (
        "An authentication template needs a phone number; the address is a user id."
    ),
    Reason.ACCOUNT_UPDATE_REFUSED: (
        'The policy never relies on ACCOUNT_UPDATE (messenger_account_update = "refuse").'
    ),
    Reason.ACCOUNT_UPDATE_DEAD: (
        "ACCOUNT_UPDATE failed on this Page before, so its breaker is open."
    ),
    Reason.ADDRESS_SUPPRESSED: (
        "The provider reported that this address is unusable. Nothing is sent to it for a while."
    ),
    Reason.PROVIDER_BLOCK: (
        "The provider says that the person blocked us. Only answers are sent until the "
        "person writes."
    ),
    Reason.MARKETING_HELD: (
        "The provider asked us to hold marketing to this person; `contact` shows until when."
    ),
    Reason.GRANTS_SUSPENDED: (
        "The number may have a new owner. Its grants count again when the person writes."
    ),
    Reason.BODY_LOST_WITH_MEDIA: (
        "WhatsApp keeps the text only with an image. Send the text and the file as two messages."
    ),
    Reason.UNKNOWN_SENDER: (
        "The sender is not in the settings. Add it under [senders], or correct the name."
    ),
    Reason.UNKNOWN_CHANNEL: "The address belongs to no known channel.",
    Reason.CHANNEL_MISMATCH: "The address and the sender are on different channels.",
    Reason.SAME_ADDRESS: "The message is addressed to its own sender.",
    Reason.NOT_ON_ALLOW_LIST: "guards.allow_recipients is set and does not name this address.",
    Reason.PERSON_CAP: (
        "The person got guards.per_person_per_day messages in 24 hours. Further ones "
        "are refused and do not wait."
    ),
    Reason.MISSING_FACT: (
        "A fact that the decision needs is not known, and an unknown fact permits nothing."
    ),
}

WAITING: Final[Mapping[Reason, str]] = {
    Reason.AWAITING_INBOUND: (
        "Waits for the person to write to this sender, at most until it expires."
    ),
    Reason.NOT_BEFORE: "Its own not_before is in the future.",
    Reason.SENDER_PAUSED: "The sender is paused after an error from the provider.",
    Reason.ACCOUNT_PAUSED: "The account is paused after an error from the provider.",
    Reason.ACCOUNT_BUSY: (
        "The account has accounts.NAME.max_open_posts POSTs open. It goes out when one has ended."
    ),
    Reason.ACCOUNT_RATE: (
        "The account has reached accounts.NAME.messages_per_second. It goes out in its turn."
    ),
    Reason.SENDER_RATE: (
        "The sender has reached senders.NAME.messages_per_second. It goes out in its turn."
    ),
    Reason.PAIR_RATE: (
        "WhatsApp takes one message in six seconds from one sender to one person, after 45 at once."
    ),
    Reason.PORTFOLIO_LIMIT: (
        "The portfolio has written to accounts.NAME.people_per_day people outside an open window "
        "in 24 hours. It goes out when another person counts no longer."
    ),
    Reason.CAMPAIGN_PAUSED: "The campaign is paused. `campaign resume` ends that.",
    Reason.BREAKER_OPEN: (
        "Twilio answers no message of the account, so it waits in its place until one gets an "
        "answer."
    ),
    Reason.ACCOUNT_UPDATE_UNPROVEN: (
        "Another message is testing whether ACCOUNT_UPDATE works on this Page. Only "
        "one does so at a time."
    ),
    Reason.STOP_SUSPECTED: (
        "The person may have meant stop, so marketing waits until an operator decides: "
        "`consent suspected`."
    ),
    Reason.PERMIT_LAPSED: (
        "Its POST could not start in time, so nothing was sent. The worker decides again."
    ),
    Reason.FACTS_CHANGED: "A fact changed between decision and permit. The worker decides again.",
    Reason.WORKER_STOPPED: (
        "Its worker stopped, or cannot reach Twilio, and returned it untouched."
    ),
    Reason.LEASE_LOST: "Its worker stopped responding before any POST. Another worker takes it.",
}

ATTEMPTED: Final[Mapping[Reason, str]] = {
    Reason.ACCEPTED: "Twilio took the message and gave it a SID.",
    Reason.NOT_SENT: "The connection failed before any byte was sent. The worker tries again.",
    Reason.THROTTLED: (
        "Twilio asked us to slow down and did not process it. The worker tries again later."
    ),
    Reason.PROVIDER_TRANSIENT: (
        "The provider had a temporary problem and did not deliver it. The worker tries again."
    ),
    Reason.PROVIDER_REFUSED: "The provider refused it permanently; the error code says why.",
    Reason.WINDOW_CLOSED_BY_PROVIDER: (
        "The provider says that the window is closed. The worker decides once more with that fact."
    ),
    Reason.OUTCOME_TIMEOUT: (
        "No reply came in time, so it is not known whether the message was sent."
    ),
    Reason.OUTCOME_CONNECTION_LOST: (
        "The connection broke after bytes were sent, so it is not known whether the "
        "message was sent."
    ),
    Reason.OUTCOME_SERVER_ERROR: (
        "Twilio answered with a server error, so it is not known whether the message was sent."
    ),
    Reason.OUTCOME_UNREADABLE: (
        "The reply could not be read, so it is not known whether the message was sent."
    ),
    Reason.OUTCOME_CRASH: (
        "The worker died between intent and record, so it is not known whether the "
        "message was sent."
    ),
    Reason.OUTCOME_RESTORED: (
        "The store was restored from a copy. A worker looks up whether the message was "
        "sent since then."
    ),
}

RESOLVED: Final[Mapping[Reason, str]] = {
    Reason.EVIDENCE_LATE_REPLY: "Twilio's reply came late and proves the attempt.",
    Reason.EVIDENCE_CALLBACK: "A status callback named the attempt and proves that Twilio took it.",
    Reason.EVIDENCE_LIST: "Twilio's list of messages shows the attempt.",
    Reason.EVIDENCE_PERSON: "An operator looked into it and decided.",
    Reason.RESENT_BY_RULE: "No proof came, and the message's rule says to send it again.",
    Reason.NEVER_BY_RULE: "No proof came, and the message's rule says never to send it again.",
    Reason.HELD_BY_RULE: "No proof came, and an operator decides: `unknown resolve`.",
}

ENDED: Final[Mapping[Reason, str]] = {
    Reason.EXPIRED: "It expired before it could be sent.",
    Reason.CANCELLED: "The backend cancelled it, or its campaign was cancelled.",
    Reason.SUPERSEDED: "A newer message with the same `supersedes` took its place.",
    Reason.UNREADABLE: "The job could not be read. Its bytes are kept.",
    Reason.POISON: "Its worker died three times while it processed only this message.",
    Reason.RETRIES_EXHAUSTED: "Every try failed.",
    Reason.DROPPED: "An operator dropped the dead letter.",
    Reason.REPLAYED: "An operator put the dead letter back on the queue.",
    Reason.RETRIED: ("An operator had it sent again after it was refused, failed or expired."),
}

GROUPS: Final[Mapping[str, Mapping[Reason, str]]] = MappingProxyType(
    {
        "Why it was sent in this form": SENT,
        "Why it was refused": REFUSED,
        "Why it waits": WAITING,
        "How an attempt went": ATTEMPTED,
        "How an unknown outcome was resolved": RESOLVED,
        "Other ends": ENDED,
    }
)
"""Every reason exactly once."""

SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {reason.value: text for group in GROUPS.values() for reason, text in group.items()}
)


def sentence(reason: str) -> str:
    """Return the sentence for a reason code. A code of a newer version is returned unchanged."""
    return SENTENCES.get(reason, reason)

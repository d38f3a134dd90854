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
    Reason.TEMPLATE_ONLY: "Template: the message brings no freeform of its own.",
    Reason.ACCOUNT_UPDATE: (
        "Freeform outside the window: Twilio tags it ACCOUNT_UPDATE, not known dead on this Page."
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
        "No consent is recorded for this purpose. Record it with `consent grant` once given."
    ),
    Reason.NO_MARKETING_CONSENT: (
        "Marketing needs a consent that names marketing; none is recorded."
    ),
    Reason.CONSENT_EXPIRED: (
        "The consent recorded for this purpose has expired. Ask the person again."
    ),
    Reason.NEVER_WROTE: (
        "The person never wrote to this Page, and on Messenger that is the permission."
    ),
    Reason.WINDOW_CLOSED: (
        "The session window is closed and nothing else may carry the message. Let it wait."
    ),
    Reason.NO_TEMPLATE: (
        "The message brings no template where only one may go. Add one, or let it wait."
    ),
    Reason.UNKNOWN_TEMPLATE: (
        "The template is not in the settings. Add it under [templates], or correct the name."
    ),
    Reason.TEMPLATE_NOT_APPROVED: (
        "The template is not approved in this language. Await its approval, or use another."
    ),
    Reason.TEMPLATE_PAUSED: "Meta paused the template. It may go again when the pause is over.",
    Reason.TEMPLATE_DISABLED: "Meta disabled the template for good. Use another.",
    Reason.TEMPLATE_LANGUAGE: (
        "The template does not exist in this language. Add its ContentSid, or name another."
    ),
    Reason.TEMPLATE_CATEGORY: "The template's category does not fit the message's purpose.",
    Reason.TEMPLATE_VARIABLES: "The variables given are not exactly those the template declares.",
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
        "The provider called this address unusable; it is left alone for a term."
    ),
    Reason.PROVIDER_BLOCK: (
        "The provider says the person blocked us; all but answers is held until they write."
    ),
    Reason.MARKETING_HELD: (
        "The provider's word holds marketing to this person back; `contact` shows until when."
    ),
    Reason.GRANTS_SUSPENDED: (
        "The number may have a new owner; its grants count again when the person writes."
    ),
    Reason.BODY_LOST_WITH_MEDIA: (
        "WhatsApp keeps a text with an image only. Send text and file as two messages."
    ),
    Reason.UNKNOWN_SENDER: (
        "The sender is not in the settings. Add it under [senders], or correct the name."
    ),
    Reason.UNKNOWN_CHANNEL: "The address belongs to no channel that is known here.",
    Reason.CHANNEL_MISMATCH: "The address is of another channel than the sender.",
    Reason.SAME_ADDRESS: "The message is addressed to its own sender.",
    Reason.NOT_ON_ALLOW_LIST: "guards.allow_recipients is set and does not name this address.",
    Reason.PERSON_CAP: (
        "The person got guards.per_person_per_day messages in 24 hours; more are refused, "
        "none waits."
    ),
    Reason.MISSING_FACT: (
        "Something the decision needs is not known, and what is not known permits nothing."
    ),
}

WAITING: Final[Mapping[Reason, str]] = {
    Reason.AWAITING_INBOUND: (
        "Waits for the person to write to this sender, at most until it expires."
    ),
    Reason.NOT_BEFORE: "Its own not_before has not come.",
    Reason.SENDER_PAUSED: "The sender is paused after an error of the provider.",
    Reason.ACCOUNT_PAUSED: "The account is paused after an error of the provider.",
    Reason.ACCOUNT_UPDATE_UNPROVEN: (
        "Another message tests whether ACCOUNT_UPDATE works on this Page; one at a time."
    ),
    Reason.STOP_SUSPECTED: (
        "The person may have meant stop, so marketing waits until an operator decides: "
        "`consent suspected`."
    ),
    Reason.PERMIT_LAPSED: "Its POST could not start in time, so nothing was sent; decided again.",
    Reason.FACTS_CHANGED: "Something changed between decision and permit; decided again.",
    Reason.WORKER_STOPPED: "Its worker stopped in order and gave it back untouched.",
    Reason.LEASE_LOST: "Its worker fell silent before any POST; another one takes it.",
}

ATTEMPTED: Final[Mapping[Reason, str]] = {
    Reason.ACCEPTED: "Twilio took the message and gave it a SID.",
    Reason.NOT_SENT: "The connection failed before any byte left; tried again.",
    Reason.THROTTLED: "Twilio asked to slow down and did not process it; tried again later.",
    Reason.PROVIDER_TRANSIENT: (
        "The provider had a passing problem and did not deliver it; tried again."
    ),
    Reason.PROVIDER_REFUSED: "The provider refused it for good; the error code tells why.",
    Reason.WINDOW_CLOSED_BY_PROVIDER: (
        "The provider says the window is closed; decided once more with that known."
    ),
    Reason.OUTCOME_TIMEOUT: "No answer came in time; whether it was sent is unknown.",
    Reason.OUTCOME_CONNECTION_LOST: (
        "The connection broke after bytes had left; whether it was sent is unknown."
    ),
    Reason.OUTCOME_SERVER_ERROR: (
        "Twilio answered with a server error; whether it was sent is unknown."
    ),
    Reason.OUTCOME_UNREADABLE: "The answer could not be read; whether it was sent is unknown.",
    Reason.OUTCOME_CRASH: (
        "The worker was gone between intent and record; whether it was sent is unknown."
    ),
    Reason.OUTCOME_RESTORED: (
        "The store was restored from a copy; whether it was sent since the copy is looked up."
    ),
}

RESOLVED: Final[Mapping[Reason, str]] = {
    Reason.EVIDENCE_LATE_REPLY: "Twilio's answer came after all and proves the attempt.",
    Reason.EVIDENCE_CALLBACK: "A status callback named the attempt and proves that Twilio took it.",
    Reason.EVIDENCE_LIST: "Twilio's list of messages shows the attempt.",
    Reason.EVIDENCE_PERSON: "A person looked into it and said so.",
    Reason.RESENT_BY_RULE: "No proof came and the message's rule says to send it again.",
    Reason.NEVER_BY_RULE: "No proof came and the message's rule says never to send it again.",
    Reason.HELD_BY_RULE: "No proof came and a person decides: `unknown resolve`.",
}

ENDED: Final[Mapping[Reason, str]] = {
    Reason.EXPIRED: "It expired before it could be sent.",
    Reason.CANCELLED: "The backend cancelled it.",
    Reason.UNREADABLE: "The job could not be read; its bytes are kept.",
    Reason.POISON: "It was in hand when its worker died, three times while alone.",
    Reason.RETRIES_EXHAUSTED: "Every try failed.",
    Reason.DROPPED: "A person dropped the dead letter.",
    Reason.REPLAYED: "A person put the dead letter back on the queue.",
    Reason.RETRIED: (
        "A person had it sent again after it had been refused, had failed or had expired."
    ),
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

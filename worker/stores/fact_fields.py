"""Names the stored fields that hold facts: those of persons, senders, accounts, templates and tags.

The Lua scripts use the same names: `F.suppressed_until` stands for `PersonField.SUPPRESSED_UNTIL`.
Most names are short because there are millions of persons. A spelling never changes.
"""

from sendwindow.row_fields import StoredField


class PersonField(StoredField):
    """A field of a person's hash, or what a group of its fields begins with."""

    WINDOW = "w:", "<sender>: when the person wrote last, which opens the session window"
    CLOSED_WINDOW = "wc:", "<sender>: as of when the provider called the session window closed"
    GRANTS = "c:", "<account>|<purpose>|<sender>: grants"
    PURPOSE_WITHDRAWN = "d:", "<account>|<purpose>|<sender>: latest withdrawal of one purpose"
    OPTED_OUT = "o:", "<account>|<scope>: latest withdrawal of everything"
    STARTED = "s:", "<account>|<scope>: latest START"
    SUPPRESSED_UNTIL = "x", "until when the address is suppressed"
    SUPPRESSED_FOR = "xr", "why the address is suppressed"
    SUPPRESSED_BY = "xt", "`<at>:<attempt>:<message_id>` of the attempt that caused it"
    ALLOWED_AT = "al", "when an operator allowed the person again"
    BLOCK = "b:", "<account>|<sender or *>|<holds>|<code>: what an error holds back"
    SUSPECTED_STOP = "h:", "<account>: a suspected stop"
    OTHER_DIGESTS = "sp", "digests of other spellings of the person"
    MOVED_TO = "to", "the digest under which the records are now"
    INBOUND_MARKS = "in", "marks of the last inbound messages"


class StateField(StoredField):
    """A field of a sender, an account, a template or a tag. Persons have the revision, too."""

    REVISION = "r", "raised by every change, so that no decision made before it is admitted"
    STATE = "state", "of a template or a tag: what errors say about it"
    STATE_UNTIL = "until", "until when a pause or a state lasts"
    STATE_REASON = "reason", "why there is a pause or a state"
    PAUSED_AT = "since", "of a sender or an account: since when it is paused"
    ACCOUNT = "a", "of a sender: its account"
    SERVICE = "mg", "of a sender: its messaging service"
    PACE = "pc", "of a sender or an account: interval and tolerance (µs) of its rate limit"
    OPEN_POSTS = "op", "of an account: how many POSTs it may have open"
    KNOWN_AT = "at", "of a sender or a template: when a worker last had it in its settings"
    ADMITTED = "n", "of a sender: how many attempts were admitted"
    BREAKER_FAULTS = "bf", "of an account: how many POSTs in a row ended without an answer"
    BREAKER_REASON = "br", "of an account: how the last of them ended"
    BREAKER_OPENED_AT = "bo", "of an account: since when its breaker is open"
    BREAKER_ENDS_AT = (
        "bu",
        "of an account: from when one message may try; far off until a GET works",
    )
    BREAKER_PROBE = "bp", "of an account: the message that tries"
    BREAKER_PROBES = "bn", "of an account: how many of them failed since its breaker opened"
    BREAKER_ASKS_AT = "ba", "of an account: when a worker asks Twilio next, with a GET"
    TAG_MESSAGE = "message", "of a tag: the unproven message that is on its way"

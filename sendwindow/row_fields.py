"""Names the fields of a message's row: a readable name, the short spelling in Redis, and a meaning.

The Lua scripts use the same names: `F.stage` stands for `RowField.STAGE`. A spelling never changes,
because rows of other releases and producers with an older library use it too.
"""

from enum import StrEnum
from typing import Final, Self


class StoredField(StrEnum):
    """The name of a field in Redis, and what the field holds."""

    meaning: str

    def __new__(cls, stored: str, meaning: str) -> Self:
        """Return the member whose value is the stored spelling."""
        member = str.__new__(cls, stored)
        member._value_ = stored
        member.meaning = meaning
        return member


class RowField(StoredField):
    """A field of the row of a message.

    The other fields of a row begin with `@` and are its attempts table (docs/decisions/0018).
    """

    STAGE = "s", "stage"
    LANE = "l", "lane"
    CONTENT_DIGEST = "d", "digest of the content, for idempotency"
    ENQUEUED_AT = "q", "enqueued at (ms)"
    EXPIRES_AT = "e", "expires at (ms)"
    NOT_BEFORE = "nb", "not before (ms), absent when none"
    EXPIRY_LISTED = "el", "in which minute it is listed to expire, once it was put back"
    ON_UNKNOWN = "u", "on_unknown"
    ATTEMPT = "n", "number of the last attempt (POSTs admitted)"
    FENCE = "f", "fence of the last claim; `-` before it: settled, `~`: given back"
    PERSON = "p", "person digest of the last admission"
    CRASHES = "k", "crashes in a row"
    IS_POISON = (
        "po",
        (
            "1 when it crashed too many workers after its intent; a dead letter instead of being "
            "sent again"
        ),
    )
    CANCEL_ASKED = (
        "x",
        (
            "1 when cancel was asked for; nothing is sent after it, whatever a worker or a person "
            "asks for"
        ),
    )
    LIFE = (
        "lf",
        (
            "which life it is in; absent in the first. A reported failure, a replay or a retry "
            "begins another"
        ),
    )
    REDECIDED = "rd", "1 when the one re-decision after 63016 was used"
    REASON = "r", "reason of the last step"
    ERROR_CODE = "c", "error code of the last step"
    MESSAGE_SID = "sid", "MessageSid of the accepted attempt"
    ACCEPTED_ATTEMPT = "a", "number of the accepted attempt"
    STATUS = "st", "provider status, verbatim"
    STATUS_RANK = (
        "sr",
        (
            "rank that the next status must exceed; one less than the rank of a status that a "
            "reply told"
        ),
    )
    ENDED_AT = "z", "ended at (ms)"
    POLICY = "v", "policy version of the last decision"
    AWAITED = "w", "`<person digest>|<sender>` while waiting for an inbound"
    LISTING = (
        "li",
        (
            "digest of the Twilio account and the From of the last attempt: which list at Twilio "
            "shows it"
        ),
    )
    GROUP = "g", "group"
    CLAIMED_REVISION = "pr", "revision of the person's facts at the last claim"
    MAYBE_SENT = (
        "ps",
        "1 when it ended, or a cancel was asked for, although an attempt of it may be at Twilio",
    )
    RESTORED = (
        "rs",
        (
            "of a restored copy: `<attempt>|<restored at>|<p posted, q not>|<stage>|<due>`, what "
            "to go back to"
        ),
    )
    UNKNOWN_STAGE = (
        "us",
        (
            "1 when a worker met the message in a stage, or with a number, that only a newer "
            "version knows"
        ),
    )
    CHARGES = (
        "ch",
        (
            "what the attempt on its way was charged: its number, then for each limit (a account, "
            "s sender, p pair) the arrival time that the charge left and its cost, both in µs; o: "
            "it is among the open POSTs of its account"
        ),
    )
    SUPERSEDED_BY = "sb", "id of the newer message that took its place while it was queued"
    SEARCHES = "lo", "searches made for evidence of the unknown attempt"


class SenderField(StoredField):
    """A field of the hash of a sender that producers read."""

    MAX_QUEUED = "mq", "how many messages may be queued for it; 0: any number"
    MAX_QUEUED_IN_CAMPAIGN = "mc", "how many may be queued for one campaign of it; 0: any number"


class CampaignField(StoredField):
    """A field of the hash of a campaign."""

    PAUSED_UNTIL = "until", "until when it is paused (ms)"
    SWEPT_UP_TO = "swept", "how far the ends of its cancelled messages are recorded"


class OldRowField(StoredField):
    """A field that only earlier versions wrote.

    A script that loads the row moves it, and `sid:<attempt>` and `cb:<sid>`, into the attempts
    table. `Record.row` still uses the names of the first four for what it returns from that table.
    """

    INTENT_AT = "i", "intent of the last attempt (ms)"
    FORM = "fm", "form of the last attempt: t (template) or f (freeform)"
    UNCOUNTED = (
        "fa",
        (
            "attempts that retries do not count: admitted but never posted, or before a replay; "
            "absent when none"
        ),
    )
    TAG_ATTEMPTS = (
        "tg",
        "numbers of the attempts that relied on ACCOUNT_UPDATE and may be on their way or sent",
    )
    COPY_FENCE = "dup", "fence of the claim whose settlement proved a second copy last"
    EVIDENCE = (
        "ev",
        "`<attempt>:<sid>`: proof that an attempt was accepted, while it could not be acted on yet",
    )


class TableField(StoredField):
    """A name, or the beginning of one, in the attempts table of a row.

    `@<attempt>` holds intent, form and ContentSid of an attempt, and `@<sid>` holds attempt, rank,
    flags, status and code of a SID.
    """

    TABLE = "@", "what every name of the table begins with"
    FREE_ATTEMPTS = "@0", "how many attempts do not count as tries"
    DISCARDED_RANK = "@~", "the rank up to which reports were discarded"
    UNDO = "@-", "what an effect of a failure changed, so that a later proof can undo it"


ROW_FIELDS: Final = {field.value: field.meaning for field in RowField}
"""The stored spelling of each field of a row, and its meaning."""

FOLDED_FIELDS: Final = {field.value: field.meaning for field in OldRowField}
"""The stored spelling of each field that only earlier versions wrote, and its meaning."""

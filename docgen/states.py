"""Every step of a message from one stage to another, as a table that can be drawn."""

from typing import Final

from sendwindow.vocabulary import DISPATCH_ENDS, Stage

TRANSITIONS: Final[tuple[tuple[Stage, Stage, str], ...]] = (
    (Stage.QUEUED, Stage.CLAIMED, "claim"),
    (Stage.WAITING, Stage.CLAIMED, "due, or the person wrote"),
    (Stage.RETRYING, Stage.CLAIMED, "due"),
    (Stage.CLAIMED, Stage.POSTING, "permit"),
    (Stage.CLAIMED, Stage.WAITING, "wait"),
    (Stage.CLAIMED, Stage.QUEUED, "given back, or lease lost"),
    (Stage.CLAIMED, Stage.REFUSED, "refuse"),
    (Stage.CLAIMED, Stage.EXPIRED, "too late"),
    (Stage.CLAIMED, Stage.CANCELLED, "cancel"),
    (Stage.QUEUED, Stage.DEAD, "unreadable on arq's queue"),
    (Stage.CLAIMED, Stage.DEAD, "unreadable, poison"),
    (Stage.POSTING, Stage.ACCEPTED, "201"),
    (Stage.POSTING, Stage.FAILED, "refused by Twilio"),
    (Stage.POSTING, Stage.EXPIRED, "no time for another try"),
    (Stage.POSTING, Stage.RETRYING, "not sent, throttled, transient"),
    (Stage.POSTING, Stage.QUEUED, "its worker let the permit lapse"),
    (Stage.POSTING, Stage.UNKNOWN, "no proof"),
    (Stage.UNKNOWN, Stage.ACCEPTED, "evidence"),
    (Stage.UNKNOWN, Stage.RETRYING, "resend by rule"),
    (Stage.UNKNOWN, Stage.QUEUED, "never posted, after a restore"),
    (Stage.UNKNOWN, Stage.UNRESOLVED, "hold by rule"),
    (Stage.UNKNOWN, Stage.DEAD, "never by rule, poison"),
    (Stage.UNRESOLVED, Stage.ACCEPTED, "evidence, or a person"),
    (Stage.UNRESOLVED, Stage.RETRYING, "a person"),
    (Stage.ACCEPTED, Stage.RETRYING, "failed afterwards, may be tried again"),
    (Stage.DEAD, Stage.QUEUED, "replay"),
    *(
        (stage, Stage.QUEUED, "retry by a person")
        for stage in (Stage.REFUSED, Stage.FAILED, Stage.EXPIRED)
    ),
    *(
        (stage, Stage.CANCELLED, "cancel")
        for stage in (Stage.QUEUED, Stage.WAITING, Stage.RETRYING)
    ),
    *(
        (stage, Stage.CANCELLED, "cancel, instead of a resend")
        for stage in (Stage.UNKNOWN, Stage.UNRESOLVED)
    ),
    *(
        (stage, Stage.ACCEPTED, "late evidence")
        for stage in (Stage.QUEUED, Stage.WAITING, Stage.RETRYING, Stage.CLAIMED)
    ),
)
"""From, to, and the cause of the step."""

_HIDDEN: Final = frozenset(
    {"late evidence", "cancel, instead of a resend", "unreadable on arq's queue"}
)
"""Steps that would fill the drawing with arrows. The text next to it names them."""


def drawing() -> str:
    """Return the stages as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued: enqueue"]
    lines += [
        f"    {before} --> {after}: {why}"
        for before, after, why in TRANSITIONS
        if why not in _HIDDEN
    ]
    lines += [f"    {stage} --> [*]" for stage in Stage if stage in DISPATCH_ENDS]
    return "\n".join([*lines, "```"])

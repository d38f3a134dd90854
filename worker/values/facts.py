"""What the store knows of a person, a sender, an account, a template and a tag."""

from dataclasses import dataclass
from datetime import datetime

from policies.facts import PersonFact, TagFact


@dataclass(frozen=True, slots=True)
class StoredState:
    """What the store says of a sender, an account or a template beyond the configuration."""

    revision: int = 0
    state: str | None = None
    paused_until: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """The stored half of `policies.facts.Facts`; the configured half is joined in `worker/dispatch/facts.py`.

    `content_sid`: of what `template` is the state. `registered`: the account that the last worker to start knew the
    sender by, of which a claim's facts are; empty when none knew it, or the store lost it. `sender_known_at`,
    `template_known_at`: when a living process last knew the sender by that account, and the template. `other_digests`:
    those of the person's other spellings, under which another release may write, with blanks between.
    """

    person_digest: str
    person: PersonFact
    sender: StoredState = StoredState()
    account: StoredState = StoredState()
    template: StoredState = StoredState()
    tag: TagFact = TagFact()
    content_sid: str = ""
    registered: str = ""
    sender_known_at: datetime | None = None
    template_known_at: datetime | None = None
    other_digests: str = ""

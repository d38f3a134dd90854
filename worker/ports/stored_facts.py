"""What the store knows about a person, a sender, an account, a template and a tag."""

from dataclasses import dataclass
from datetime import datetime

from policies.facts import PersonFact, TagFact


@dataclass(frozen=True, slots=True)
class StoredState:
    """What the store knows about a sender, an account or a template beyond the settings."""

    revision: int = 0
    state: str | None = None
    paused_until: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """The part of `policies.facts.Facts` that comes from the store.

    `worker/pipeline/decision_inputs.py` joins it with the part that comes from the settings.

    `content_sid`: the ContentSid that `template` describes. `registered`: the account that the
    sender belonged to in the settings of the last worker that started. The facts of a claim are
    about that account. Empty when no worker registered the sender, or the store lost the account.
    `sender_known_at`: when a living process last had the sender with that account in its settings.
    `template_known_at`: when one last had the template. `other_digests`: the digests of the
    person's other spellings, separated by blanks. Another release may write under them.
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

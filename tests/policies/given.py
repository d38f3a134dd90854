"""The start of the rules' tests: the shipped data, and a message, person and sender without a
fault.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from policies.decide import decide
from policies.decision import Decision
from policies.error_catalogue import ErrorCatalogue, parse_errors
from policies.facts import (
    Approval,
    ConsentFact,
    Draft,
    Facts,
    FreeformDraft,
    PersonFact,
    SenderFact,
    TagFact,
    TemplateFact,
    TemplateRef,
)
from policies.keyword_data import parse_keywords
from policies.keywords import Keywords
from policies.policy import Policy, parse_policy
from sendwindow.vocabulary import Category, Channel, Purpose
from tests.support.shipped import shipped

NOW: Final = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
TICK: Final = timedelta(microseconds=1)

POLICY: Final[Policy] = parse_policy(shipped())
ERRORS: Final[ErrorCatalogue] = parse_errors(shipped())
KEYWORDS: Final[Keywords] = parse_keywords(shipped())

TO: Final[Mapping[Channel, str]] = {
    Channel.WHATSAPP: "whatsapp:+14165550100",
    Channel.MESSENGER: "messenger:1002",
    Channel.SMS: "+14165550100",
}
FROM: Final[Mapping[Channel, str]] = {
    Channel.WHATSAPP: "whatsapp:+14165550199",
    Channel.MESSENGER: "messenger:1001",
    Channel.SMS: "+14165550199",
}

FREEFORM: Final = FreeformDraft("text")
WISH: Final = TemplateRef("order_update", {"1": "x"})
GRANT: Final = ConsentFact(granted=True, at=NOW - DAY)
STOP: Final = ConsentFact(granted=False, at=NOW - MINUTE)


def draft(
    channel: Channel | None = Channel.WHATSAPP, purpose: Purpose = Purpose.UTILITY, **changes: Any
) -> Draft:
    """Make a freeform message that expires in two days."""
    to = TO[channel or Channel.WHATSAPP]
    return replace(Draft(channel, to, True, purpose, FREEFORM, None, NOW + 2 * DAY), **changes)


def person(*consents: ConsentFact, wrote: timedelta | None = None, **changes: Any) -> PersonFact:
    """Make a person; `wrote` is how long ago they last wrote."""
    last = None if wrote is None else NOW - wrote
    return replace(PersonFact(last_inbound_at=last, consents=consents, revision=7), **changes)


def template(category: Category = Category.UTILITY, **changes: Any) -> TemplateFact:
    """Make a usable WhatsApp template with one variable."""
    base = TemplateFact(
        "order_update", "HX1", category, Approval.APPROVED, frozenset({"1"}), revision=5
    )
    return replace(base, **changes)


def facts(someone: PersonFact | None, channel: Channel = Channel.WHATSAPP, **changes: Any) -> Facts:
    """Make facts with a sender that may send."""
    sender = SenderFact("shop", channel, FROM[channel], revision=3, account_revision=4)
    return replace(Facts(sender, someone, template(), TagFact(revision=6)), **changes)


def decided(message: Draft, known: Facts, policy: Policy = POLICY, now: datetime = NOW) -> Decision:
    """Decide at the instant of the tests."""
    return decide(message, known, policy, now)

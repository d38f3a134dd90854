"""The rows of the decision table as scenarios.

Each scenario has a draft, facts and policy changes that are an example of its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from policies.decide import decide
from policies.decision import Decision
from policies.facts import (
    Approval,
    BlockFact,
    ConsentFact,
    Draft,
    Facts,
    FreeformDraft,
    Holds,
    PersonFact,
    SenderFact,
    TagFact,
    TagState,
    TemplateFact,
    TemplateRef,
)
from policies.policy import AccountUpdate, Policy
from sendwindow.vocabulary import Category, Channel, MediaKind, Purpose, WhenClosed

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""The instant of every scenario. It is fixed, so that the table does not depend on today's date."""

_HOUR: Final = timedelta(hours=1)
_CANADIAN: Final = "+14165550100"
_AMERICAN: Final = "+14155550100"
_FREEFORM: Final = FreeformDraft("text")
_FILM: Final = FreeformDraft("text", "https://example.com/film.mp4", MediaKind.VIDEO)
_WISH: Final = TemplateRef("order_update", {"1": "x"})

ANYONE: Final = PersonFact()
GRANTED: Final = PersonFact(consents=(ConsentFact(granted=True, at=NOW - _HOUR),))
MARKETING_GRANTED: Final = PersonFact(
    consents=(ConsentFact(granted=True, at=NOW - _HOUR, purpose=Purpose.MARKETING),)
)
STOPPED: Final = PersonFact(consents=(ConsentFact(granted=False, at=NOW - timedelta(minutes=1)),))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row: the text of its columns, and an example with draft, facts and policy changes."""

    consent: str
    window: str
    carries: str
    draft: Draft
    facts: Facts
    policy: dict[str, Any] = field(default_factory=dict)

    def decision(self, policy: Policy) -> Decision:
        """Return what the rules decide for the scenario."""
        return decide(self.draft, self.facts, replace(policy, **self.policy), NOW)


def _draft(channel: Channel | None, purpose: Purpose = Purpose.UTILITY, **changes: Any) -> Draft:
    to = {Channel.WHATSAPP: "whatsapp:" + _CANADIAN, Channel.MESSENGER: "messenger:1002"}.get(
        channel or Channel.SMS, _CANADIAN
    )
    base = Draft(
        channel,
        to,
        channel is not Channel.MESSENGER,
        purpose,
        _FREEFORM,
        None,
        NOW + 2 * _HOUR,
    )
    return replace(base, **changes)


def _facts(channel: Channel, person: PersonFact | None, **changes: Any) -> Facts:
    address = {Channel.WHATSAPP: "whatsapp:+12125550100", Channel.MESSENGER: "messenger:1001"}.get(
        channel, "+12125550100"
    )
    base = Facts(
        SenderFact("shop", channel, address), person, _template(Category.UTILITY), TagFact()
    )
    return replace(base, **changes)


def _template(category: Category, **changes: Any) -> TemplateFact:
    return replace(
        TemplateFact("order_update", "HX1", category, Approval.APPROVED, frozenset({"1"})),
        **changes,
    )


def _wrote(person: PersonFact, hours: float) -> PersonFact:
    return replace(person, last_inbound_at=NOW - hours * _HOUR)


def _blocked(holds: Holds) -> PersonFact:
    return replace(
        GRANTED, blocks=(BlockFact(holds, NOW - timedelta(minutes=1), 63014, until_inbound=True),)
    )


def _paused(**changes: Any) -> Facts:
    facts = _facts(Channel.SMS, GRANTED)
    sender = facts.sender
    return facts if sender is None else replace(facts, sender=replace(sender, **changes))


_SMS: Final = _facts(Channel.SMS, GRANTED)

GUARDS: Final[Sequence[Scenario]] = (
    Scenario("any", "any", "anything, expired", _draft(Channel.SMS, expires_at=NOW), _SMS),
    Scenario(
        "any",
        "any",
        "a sender that is not in the settings",
        _draft(Channel.SMS),
        replace(_SMS, sender=None),
    ),
    Scenario("any", "any", "an address of no known channel", _draft(None), _SMS),
    Scenario(
        "any",
        "any",
        "an address of another channel than the sender's",
        _draft(Channel.WHATSAPP),
        _SMS,
    ),
    Scenario(
        "any", "any", "the sender's own address", _draft(Channel.SMS, to="+12125550100"), _SMS
    ),
    Scenario(
        "any",
        "any",
        "an address not on the allow list",
        _draft(Channel.SMS),
        _SMS,
        {"allow_recipients": frozenset()},
    ),
    Scenario("not known", "not known", "anything", _draft(Channel.SMS), replace(_SMS, person=None)),
    Scenario("opted out", "any", "anything", _draft(Channel.SMS), _facts(Channel.SMS, STOPPED)),
    Scenario(
        "any",
        "any",
        "anything, before its `not_before`",
        _draft(Channel.SMS, not_before=NOW + _HOUR),
        _SMS,
    ),
    Scenario(
        "any",
        "any",
        "anything, account paused",
        _draft(Channel.SMS),
        _paused(account_paused_until=NOW + _HOUR),
    ),
    Scenario(
        "any",
        "any",
        "anything, sender paused",
        _draft(Channel.SMS),
        _paused(paused_until=NOW + _HOUR),
    ),
    Scenario(
        "any",
        "any",
        "an address the provider called unusable",
        _draft(Channel.SMS),
        _facts(Channel.SMS, replace(GRANTED, suppressed_until=NOW + _HOUR)),
    ),
    Scenario(
        "any",
        "any",
        "anything but an answer in the open window, the person blocked us",
        _draft(Channel.WHATSAPP),
        _facts(Channel.WHATSAPP, _blocked(Holds.ALL_BUT_REPLIES)),
    ),
    Scenario(
        "any",
        "any",
        "purpose marketing, held back by the provider's word",
        _draft(Channel.WHATSAPP, Purpose.MARKETING),
        _facts(Channel.WHATSAPP, _blocked(Holds.MARKETING)),
    ),
    Scenario(
        "given",
        "any",
        "anything but an answer in the open window, the number may have a new owner",
        _draft(Channel.SMS),
        _facts(Channel.SMS, _blocked(Holds.GRANTS)),
    ),
    Scenario(
        "any",
        "any",
        "more than the cap of this person",
        _draft(Channel.SMS),
        _facts(Channel.SMS, replace(GRANTED, sent_last_day=1)),
        {"person_cap": 1},
    ),
    Scenario(
        "opted out in the last 5 minutes",
        "any",
        "the one confirmation of the stop",
        _draft(Channel.SMS, is_opt_out_confirmation=True),
        _facts(Channel.SMS, STOPPED),
    ),
    Scenario(
        "given, but may have meant stop",
        "any",
        "purpose marketing",
        _draft(Channel.SMS, Purpose.MARKETING),
        _facts(Channel.SMS, replace(MARKETING_GRANTED, suspected_at=NOW - _HOUR)),
    ),
)
"""The rows for every channel, in the order in which the rules are evaluated."""


def _whatsapp() -> tuple[Scenario, ...]:
    channel = Channel.WHATSAPP
    both: dict[str, Any] = {"template": _WISH}
    only: dict[str, Any] = {"template": _WISH, "freeform": None}
    waits: dict[str, Any] = {"when_closed": WhenClosed.WAIT}
    closed, is_open = _facts(channel, GRANTED), _facts(channel, _wrote(GRANTED, 1))
    marketing = _facts(channel, MARKETING_GRANTED, template=_template(Category.MARKETING))
    code = _facts(channel, GRANTED, template=_template(Category.AUTHENTICATION))
    reply, written = Purpose.REPLY, _facts(channel, _wrote(ANYONE, 1))
    american = {**only, "to": "whatsapp:" + _AMERICAN}
    user_id = {**only, "to": "whatsapp:CA.1a2b", "to_is_phone": False}
    expired = replace(
        ANYONE, consents=(ConsentFact(granted=True, at=NOW - 2 * _HOUR, expires_at=NOW - _HOUR),)
    )
    return (
        Scenario("none", "open", "freeform, purpose reply", _draft(channel, reply), written),
        Scenario(
            "none",
            "closed",
            "freeform, purpose reply, may wait",
            _draft(channel, reply, **waits),
            _facts(channel, ANYONE),
        ),
        Scenario("none", "any", "any other purpose", _draft(channel, **both), written),
        Scenario(
            "none for marketing",
            "any",
            "purpose marketing",
            _draft(channel, Purpose.MARKETING),
            is_open,
        ),
        Scenario(
            "expired", "any", "anything but such a reply", _draft(channel), _facts(channel, expired)
        ),
        Scenario(
            "given", "open", "freeform, with or without template", _draft(channel, **both), is_open
        ),
        Scenario(
            "given",
            "open, near its edge",
            "freeform and a usable template",
            _draft(channel, **both),
            _facts(channel, _wrote(GRANTED, 23.95)),
        ),
        Scenario(
            "given",
            "open, near its edge",
            "freeform only",
            _draft(channel),
            _facts(channel, _wrote(GRANTED, 23.95)),
        ),
        Scenario("given", "open", "a usable template only", _draft(channel, **only), is_open),
        Scenario("given", "closed", "a usable template", _draft(channel, **both), closed),
        Scenario("given", "closed", "freeform only", _draft(channel), closed),
        Scenario("given", "closed", "freeform, may wait", _draft(channel, **waits), closed),
        Scenario(
            "given",
            "closed",
            "a template that is not approved",
            _draft(channel, **only),
            replace(closed, template=_template(Category.UTILITY, approval=Approval.PENDING)),
        ),
        Scenario(
            "given",
            "open",
            "a text with a file that is not an image",
            _draft(channel, freeform=_FILM),
            is_open,
        ),
        Scenario(
            "given",
            "any",
            "a template of another category only",
            _draft(channel, Purpose.AUTHENTICATION, **only),
            is_open,
        ),
        Scenario(
            "given",
            "any",
            "a marketing template only, to a US number",
            _draft(channel, Purpose.MARKETING, **american),
            marketing,
        ),
        Scenario(
            "given",
            "any",
            "an authentication template, to a user id",
            _draft(channel, Purpose.AUTHENTICATION, **user_id),
            code,
        ),
    )


def _messenger() -> tuple[Scenario, ...]:
    channel, update = Channel.MESSENGER, Purpose.ACCOUNT_UPDATE
    is_open, closed = _facts(channel, _wrote(ANYONE, 1)), _facts(channel, _wrote(ANYONE, 30))
    only: dict[str, Any] = {"template": _WISH, "freeform": None}
    rich = _template(Category.UTILITY, channels=frozenset({channel}))
    waits: dict[str, Any] = {"when_closed": WhenClosed.WAIT}
    return (
        Scenario(
            "never wrote", "never opened", "anything", _draft(channel), _facts(channel, ANYONE)
        ),
        Scenario("wrote", "open", "freeform", _draft(channel), is_open),
        Scenario(
            "wrote",
            "open",
            "a template for Messenger only",
            _draft(channel, **only),
            replace(is_open, template=rich),
        ),
        Scenario(
            "wrote", "open", "a template of another channel only", _draft(channel, **only), is_open
        ),
        Scenario(
            "wrote", "closed", "freeform, purpose account_update", _draft(channel, update), closed
        ),
        Scenario(
            "wrote",
            "closed",
            "the same, an unproven one in flight",
            _draft(channel, update),
            replace(closed, tag=TagFact(TagState.UNPROVEN, in_flight=True)),
        ),
        Scenario(
            "wrote",
            "closed",
            "the same, the tag is dead on this Page",
            _draft(channel, update),
            replace(closed, tag=TagFact(TagState.DEAD)),
        ),
        Scenario(
            "wrote",
            "closed",
            "the same, policy refuse",
            _draft(channel, update),
            closed,
            {"account_update": AccountUpdate.REFUSE},
        ),
        Scenario("wrote", "closed", "anything else", _draft(channel), closed),
        Scenario("wrote", "closed", "anything else, may wait", _draft(channel, **waits), closed),
    )


def _sms() -> tuple[Scenario, ...]:
    channel = Channel.SMS
    only: dict[str, Any] = {"template": _WISH, "freeform": None}
    rich = _template(Category.UTILITY, channels=frozenset({channel}))
    written = _facts(channel, _wrote(ANYONE, 1))
    return (
        Scenario(
            "none", "open", "freeform, purpose reply", _draft(channel, Purpose.REPLY), written
        ),
        Scenario("none", "any", "any other purpose", _draft(channel), written),
        Scenario("given", "–", "freeform", _draft(channel), _SMS),
        Scenario(
            "given",
            "–",
            "a template for SMS only",
            _draft(channel, **only),
            replace(_SMS, template=rich),
        ),
        Scenario("given", "–", "a template of another channel only", _draft(channel, **only), _SMS),
    )


CHANNELS: Final[Sequence[tuple[str, Sequence[Scenario]]]] = (
    ("WhatsApp", _whatsapp()),
    ("Messenger", _messenger()),
    ("SMS", _sms()),
)

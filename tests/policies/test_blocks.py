"""What the provider's errors hold back: which messages, where, and until when."""

from datetime import timedelta

import pytest

from policies.decision import Refuse, Send
from policies.facts import BlockFact, ConsentFact, FreeformDraft, Holds
from sendwindow.vocabulary import Category, Channel, MediaKind, Purpose, Reason, WhenClosed
from tests.policies.given import (
    DAY,
    GRANT,
    HOUR,
    MINUTE,
    NOW,
    STOP,
    TICK,
    WISH,
    decided,
    draft,
    facts,
    person,
    template,
)

REASONS = {
    Holds.MARKETING: Reason.MARKETING_HELD,
    Holds.ALL_BUT_REPLIES: Reason.PROVIDER_BLOCK,
    Holds.GRANTS: Reason.GRANTS_SUSPENDED,
}
GRANTS = (GRANT, ConsentFact(granted=True, at=NOW - DAY, purpose=Purpose.MARKETING))


def block(holds: Holds = Holds.ALL_BUT_REPLIES, **changes: object) -> BlockFact:
    """Make a block of an hour ago that the person's own act ends."""
    given = {"holds": holds, "at": NOW - HOUR, "code": 63014, "until_inbound": True} | changes
    return BlockFact(**given)  # type: ignore[arg-type]  # a table of changes


@pytest.mark.parametrize("holds", Holds)
@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("wrote", [None, 2 * HOUR], ids=["window-closed", "window-open"])
def test_a_block_holds_what_it_names_and_never_an_answer(
    holds: Holds, purpose: Purpose, wrote: timedelta | None
) -> None:
    """Answers inside the open window pass every block. A marketing hold stops marketing alone."""
    fitting = {
        Purpose.AUTHENTICATION: Category.AUTHENTICATION,
        Purpose.MARKETING: Category.MARKETING,
    }
    known = facts(
        person(*GRANTS, wrote=wrote, blocks=(block(holds),)),
        template=template(fitting.get(purpose, Category.UTILITY)),
    )
    decision = decided(draft(purpose=purpose, template=WISH), known)
    is_answer = purpose is Purpose.REPLY and wrote is not None
    is_held = purpose is Purpose.MARKETING if holds is Holds.MARKETING else not is_answer
    assert isinstance(decision, Refuse if is_held else Send)
    assert (decision.reason is REASONS[holds]) is is_held


def test_an_answer_past_a_block_goes_while_the_window_is_open() -> None:
    """A template that passes a block as an answer may go only until the window closes."""
    known = facts(person(GRANT, wrote=2 * HOUR, blocks=(block(),)))
    decision = decided(draft(purpose=Purpose.REPLY, freeform=None, template=WISH), known)
    assert isinstance(decision, Send)
    assert decision.valid_until == NOW + 22 * HOUR


@pytest.mark.parametrize(
    "sender, is_held",
    [(None, True), ("shop", True), ("other", False)],
    ids=["account", "this-sender", "another"],
)
def test_a_block_holds_where_it_was_taught(sender: str | None, is_held: bool) -> None:
    """63049 holds at one sender, and a block by the person at the whole account."""
    decision = decided(draft(), facts(person(GRANT, wrote=HOUR, blocks=(block(sender=sender),))))
    assert isinstance(decision, Refuse) is is_held


@pytest.mark.parametrize("left, is_held", [(TICK, True), (timedelta(0), False)])
def test_a_term_ends_on_its_instant(left: timedelta, is_held: bool) -> None:
    """24 hours after 63049 marketing may go again."""
    cap = block(Holds.MARKETING, ends_at=NOW + left, until_inbound=False, sender="shop", code=63049)
    known = facts(person(*GRANTS, wrote=HOUR, blocks=(cap,)), template=template(Category.MARKETING))
    assert isinstance(decided(draft(purpose=Purpose.MARKETING), known), Refuse) is is_held


@pytest.mark.parametrize(
    "change, is_held",
    [
        pytest.param({}, False, id="since"),
        pytest.param({"at": NOW - HOUR}, True, id="at-the-same-instant"),
        pytest.param({"at": NOW - 2 * HOUR}, True, id="before"),
        pytest.param({"at": NOW + MINUTE}, True, id="in-the-future"),
        pytest.param({"granted": False}, True, id="a-withdrawal"),
        pytest.param({"sender": "other"}, True, id="at-another-sender"),
        pytest.param({"sender": "shop"}, False, id="at-this-sender"),
        pytest.param({"purpose": Purpose.UTILITY}, False, id="for-this-purpose"),
        pytest.param({"purpose": Purpose.MARKETING}, True, id="for-another-purpose"),
    ],
)
@pytest.mark.parametrize("until_inbound", [True, False])
def test_a_grant_given_since_is_the_persons_own_act(
    change: dict[str, object], is_held: bool, until_inbound: bool
) -> None:
    """A newer grant ends a hold, because it is the person's own act.

    A term such as 63049's stays.
    """
    given = {"granted": True, "at": NOW - MINUTE} | change
    newer = ConsentFact(**given)  # type: ignore[arg-type]  # a table of changes
    someone = person(GRANT, newer, blocks=(block(until_inbound=until_inbound),), wrote=HOUR)
    decision = decided(draft(), facts(someone))
    if not newer.granted:
        assert isinstance(decision, Refuse)
    else:
        assert (decision.reason is Reason.PROVIDER_BLOCK) is (is_held or not until_inbound)


@pytest.mark.parametrize("holds", Holds)
def test_the_confirmation_of_a_stop_passes_a_block(holds: Holds) -> None:
    """The confirmation of a STOP passes a block, because the person has just written."""
    someone = person(STOP, wrote=MINUTE, blocks=(block(holds),))
    confirmation = draft(purpose=Purpose.MARKETING, is_opt_out_confirmation=True)
    assert decided(confirmation, facts(someone)).reason is Reason.OPT_OUT_CONFIRMATION


def test_what_is_held_back_is_refused_and_does_not_wait() -> None:
    """A message that a block holds is refused and does not wait.

    Waiting messages would come in a burst when the person writes.
    """
    waits = draft(when_closed=WhenClosed.WAIT)
    assert decided(waits, facts(person(GRANT, blocks=(block(),)))).reason is Reason.PROVIDER_BLOCK


def test_suspended_grants_hold_on_sms_too() -> None:
    """Suspended grants hold on SMS too: a number's new owner gets only answers."""
    someone = person(*GRANTS, wrote=HOUR, blocks=(block(Holds.GRANTS, code=21610),))
    for purpose in Purpose:
        decision = decided(draft(Channel.SMS, purpose), facts(someone, Channel.SMS))
        assert (decision.reason is Reason.GRANTS_SUSPENDED) is (purpose is not Purpose.REPLY)


@pytest.mark.parametrize(
    "channel, body, kind, is_lost",
    [
        (Channel.WHATSAPP, "text", MediaKind.VIDEO, True),
        (Channel.WHATSAPP, "text", MediaKind.AUDIO, True),
        (Channel.WHATSAPP, "text", MediaKind.DOCUMENT, True),
        (Channel.WHATSAPP, "text", MediaKind.CONTACT, True),
        (Channel.WHATSAPP, "text", MediaKind.IMAGE, False),
        (Channel.WHATSAPP, "text", None, False),
        (Channel.WHATSAPP, "", MediaKind.VIDEO, False),
        (Channel.MESSENGER, "text", MediaKind.VIDEO, False),
        (Channel.SMS, "text", MediaKind.VIDEO, False),
    ],
)
def test_a_text_that_whatsapp_would_drop_is_refused(
    channel: Channel, body: str, kind: MediaKind | None, is_lost: bool
) -> None:
    """A text that WhatsApp certainly drops is refused, and the template of that message may
    still go.
    """
    freeform = FreeformDraft(body, "https://example.com/file", kind)
    known = facts(person(GRANT, wrote=HOUR), channel)
    decision = decided(draft(channel, freeform=freeform), known)
    assert (decision.reason is Reason.BODY_LOST_WITH_MEDIA) is is_lost
    if channel is Channel.WHATSAPP and is_lost:
        assert (
            decided(draft(freeform=freeform, template=WISH), known).reason is Reason.TEMPLATE_ONLY
        )
        assert (
            decided(draft(freeform=freeform), facts(person(GRANT))).reason
            is Reason.BODY_LOST_WITH_MEDIA
        )
        waiting = draft(purpose=Purpose.REPLY, freeform=freeform)
        assert decided(waiting, facts(person(wrote=HOUR))).reason is Reason.BODY_LOST_WITH_MEDIA

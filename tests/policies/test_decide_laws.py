"""The laws at the top of policies/decide.py, over generated facts.

Each oracle is an implementation of its own.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policies.decision import FreeformContent, Refuse, Send, TemplateContent, Wait
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
from policies.reasons import SENT
from sendwindow.vocabulary import Category, Channel, MediaKind, Purpose, Reason, WhenClosed
from tests.depth import examples
from tests.policies.given import (
    DAY,
    FROM,
    GRANT,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    TICK,
    TO,
    decided,
    draft,
    facts,
    person,
    template,
)

OFFSETS = st.one_of(
    st.sampled_from(
        [
            timedelta(0),
            *(
                sign * edge + step
                for sign in (1, -1)
                for edge in (DAY, DAY - 5 * MINUTE, 5 * MINUTE, HOUR)
                for step in (-TICK, timedelta(0), TICK)
            ),
        ]
    ),
    st.timedeltas(-3 * DAY, 3 * DAY),
)
INSTANTS = OFFSETS.map(lambda offset: NOW + offset)
PURPOSES = st.sampled_from(Purpose)
CONSENTS = st.builds(
    ConsentFact,
    granted=st.sampled_from([True, True, False]),
    at=INSTANTS,
    purpose=st.none() | PURPOSES,
    sender=st.sampled_from([None, None, "shop", "other"]),
    expires_at=st.none() | INSTANTS,
)
FILM = FreeformDraft("text", "https://example.com/a.mp4", MediaKind.VIDEO)
BLOCKS = st.builds(
    BlockFact,
    holds=st.sampled_from(Holds),
    at=INSTANTS,
    code=st.just(63014),
    sender=st.sampled_from([None, "shop", "other"]),
    ends_at=st.none() | INSTANTS,
    until_inbound=st.booleans(),
)
PEOPLE = st.builds(
    PersonFact,
    last_inbound_at=st.none() | INSTANTS,
    closed_at=st.one_of(st.none(), st.none(), INSTANTS),
    consents=st.lists(CONSENTS, max_size=4).map(tuple),
    blocks=st.one_of(st.just(()), st.just(()), st.lists(BLOCKS, max_size=2).map(tuple)),
)
TEMPLATES = st.builds(
    TemplateFact,
    name=st.sampled_from(["order_update", "order_update", "order_update", "else"]),
    content_sid=st.sampled_from(["HX1", "HX1", "HX1", None]),
    category=st.sampled_from([Category.UTILITY, *Category]),
    approval=st.sampled_from([Approval.APPROVED] * 6 + list(Approval)),
    variables=st.sampled_from([frozenset({"1"}), frozenset({"1"}), frozenset()]),
    needs_phone=st.booleans(),
    channels=st.sampled_from([frozenset({Channel.WHATSAPP}), frozenset(Channel)]),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Draft, Facts, Policy]:
    """Draw a draft, facts and a policy.

    In half of them only consent, window and content may stop the message.
    """
    channel = draw(st.sampled_from(Channel))
    wishes = [None, TemplateRef("order_update", {"1": "x"}), TemplateRef("HX1", {})]
    message = Draft(
        channel=channel,
        to=TO[channel],
        to_is_phone=True,
        purpose=draw(PURPOSES),
        freeform=draw(
            st.sampled_from(
                [
                    None,
                    FreeformDraft("text"),
                    FreeformDraft("text", "https://example.com/a.png"),
                    FILM,
                ]
            )
        ),
        template=draw(st.sampled_from(wishes)),
        expires_at=NOW + 2 * DAY,
        when_closed=draw(st.sampled_from(WhenClosed)),
    )
    known = Facts(
        sender=SenderFact("shop", channel, FROM[channel]),
        person=draw(PEOPLE),
        template=draw(st.one_of(TEMPLATES, TEMPLATES, st.none())),
        tag=draw(st.none() | st.builds(TagFact, st.sampled_from(TagState), st.booleans())),
    )
    policy = replace(POLICY, account_update=draw(st.sampled_from(AccountUpdate)))
    return (
        draw(hindered(message, known, policy)) if draw(st.booleans()) else (message, known, policy)
    )


@st.composite
def hindered(
    draw: st.DrawFn, message: Draft, known: Facts, policy: Policy
) -> tuple[Draft, Facts, Policy]:
    """Add anything that may stop the message."""
    pause = st.none() | INSTANTS
    message = replace(
        message,
        channel=draw(st.sampled_from([message.channel, message.channel, None, Channel.SMS])),
        to=draw(
            st.sampled_from(
                [
                    message.to,
                    message.to,
                    "whatsapp:+14155550100",
                    "whatsapp:US.1a2b",
                    *FROM.values(),
                ]
            )
        ),
        to_is_phone=draw(st.booleans()),
        expires_at=draw(INSTANTS),
        not_before=draw(pause),
        is_opt_out_confirmation=draw(st.booleans()),
    )
    assert known.sender is not None
    assert known.person is not None
    sender = replace(known.sender, paused_until=draw(pause), account_paused_until=draw(pause))
    someone = replace(
        known.person, suppressed_until=draw(pause), sent_last_day=draw(st.integers(0, 4))
    )
    someone = replace(someone, suspected_at=draw(pause))
    known = replace(
        known,
        sender=draw(st.sampled_from([sender, sender, None])),
        person=draw(st.sampled_from([someone, someone, None])),
    )
    allowed = draw(st.sampled_from([None, None, frozenset(TO.values())]))
    return (
        message,
        known,
        replace(policy, allow_recipients=allowed, person_cap=draw(st.sampled_from([0, 3]))),
    )


ANY_SITUATION = settings(max_examples=examples(300))


def opted_out(message: Draft, consents: Sequence[ConsentFact], now: datetime) -> bool:
    """Return whether one of all withdrawals stands."""
    for stop in consents:
        if (
            stop.granted
            or stop.sender not in (None, "shop")
            or stop.purpose not in (None, message.purpose)
        ):
            continue
        undone = False
        for grant in consents:
            both_general = grant.purpose is None and stop.purpose is None
            names_it = grant.purpose == message.purpose or (
                both_general and message.purpose is not Purpose.MARKETING
            )
            in_force = (
                grant.granted
                and stop.at < grant.at
                and (grant.expires_at is None or grant.expires_at > now)
            )
            undone = undone or (names_it and in_force and grant.sender in (None, "shop"))
        if not undone:
            return True
    return False


def has_consent(message: Draft, consents: Sequence[ConsentFact], now: datetime) -> bool:
    """Return whether a grant in force covers the purpose. Marketing must be named."""
    wanted = (message.purpose,) if message.purpose is Purpose.MARKETING else (message.purpose, None)
    return any(
        grant.granted
        and grant.purpose in wanted
        and grant.sender in (None, "shop")
        and (grant.expires_at is None or grant.expires_at > now)
        for grant in consents
    )


def window_end(known: Facts, now: datetime) -> datetime | None:
    """Return when the window ends, or None when it is closed."""
    assert known.person is not None
    wrote, closed = known.person.last_inbound_at, known.person.closed_at
    if wrote is None or (closed is not None and closed >= wrote):
        return None
    end = min(wrote, now) + DAY
    return end if now < end else None


def check_send(message: Draft, known: Facts, policy: Policy, decision: Send, now: datetime) -> None:
    """Check every law against one send."""
    someone, sender = known.person, known.sender
    assert someone is not None
    assert sender is not None
    assert message.channel is sender.channel
    end = window_end(known, now)
    # neither expired nor early, neither paused nor suppressed
    assert now < decision.valid_until <= message.expires_at
    assert message.not_before is None or message.not_before <= now
    for pause in (sender.paused_until, sender.account_paused_until, someone.suppressed_until):
        assert pause is None or pause <= now
    assert policy.person_cap == 0 or someone.sent_last_day < policy.person_cap
    assert policy.allow_recipients is None or message.to in policy.allow_recipients
    # no person who opted out, no person without consent
    if opted_out(message, someone.consents, now):
        assert decision.reason is Reason.OPT_OUT_CONFIRMATION
        assert message.is_opt_out_confirmation
        latest = max(fact.at for fact in someone.consents if not fact.granted)
        assert now < latest + 5 * MINUTE
    elif message.channel is Channel.MESSENGER:
        assert someone.last_inbound_at is not None
    elif not has_consent(message, someone.consents, now):
        assert message.purpose is Purpose.REPLY
        assert end is not None
        assert isinstance(decision.content, FreeformContent)
    for block in someone.blocks:
        check_block(message, block, someone.consents, decision, end)
    # the form fits the window
    content = decision.content
    if isinstance(content, FreeformContent):
        check_freeform(message, known, policy, decision, end)
    else:
        check_template(message, known, content)
    limit = min(message.expires_at, NOW + timedelta(hours=10))
    assert (
        timedelta(seconds=1) <= decision.validity_period <= max(limit - now, timedelta(seconds=1))
    )


def check_block(
    message: Draft,
    block: BlockFact,
    consents: Sequence[ConsentFact],
    decision: Send,
    end: datetime | None,
) -> None:
    """Check that a held message goes only after the hold's end or a newer grant, or as an answer.

    An answer goes in the open window.
    """
    if message.is_opt_out_confirmation or block.sender == "other":
        return
    if block.ends_at is not None and block.ends_at <= NOW:
        return
    wanted = (message.purpose,) if message.purpose is Purpose.MARKETING else (message.purpose, None)
    if block.until_inbound and any(
        fact.granted
        and fact.purpose in wanted
        and fact.sender in (None, "shop")
        and block.at < fact.at <= NOW
        for fact in consents
    ):
        return
    if block.holds is Holds.MARKETING:
        assert message.purpose is not Purpose.MARKETING
    else:
        assert message.purpose is Purpose.REPLY
        assert end is not None
        assert decision.valid_until <= end


def check_freeform(
    message: Draft, known: Facts, policy: Policy, decision: Send, end: datetime | None
) -> None:
    """Check that freeform on WhatsApp and Messenger stays inside the window, except for
    ACCOUNT_UPDATE.
    """
    assert isinstance(decision.content, FreeformContent)
    assert message.freeform is not None
    assert decision.content.body == message.freeform.body
    if decision.content.relies_on_tag:
        assert message.channel is Channel.MESSENGER
        assert message.purpose is Purpose.ACCOUNT_UPDATE
        assert end is None
        assert policy.account_update is AccountUpdate.ATTEMPT
        assert known.tag is not None
        assert known.tag.state is not TagState.DEAD
        assert known.tag.state is TagState.PROVEN or not known.tag.in_flight
    elif message.channel is not Channel.SMS:
        assert (
            message.channel is not Channel.WHATSAPP
            or message.freeform.media_kind is not MediaKind.VIDEO
        )
        assert end is not None
        assert decision.valid_until <= end
        assert decision.validity_period <= max(end - NOW, timedelta(seconds=1))


def check_template(message: Draft, known: Facts, content: TemplateContent) -> None:
    """Check that a template is the one asked for, complete, of the right category, and approved
    on WhatsApp.
    """
    fact = known.template
    assert fact is not None
    assert message.template is not None
    assert content.content_sid == fact.content_sid
    assert set(content.variables) == fact.variables
    assert (fact.category is Category.MARKETING) is (message.purpose is Purpose.MARKETING)
    assert message.channel in fact.channels
    if message.channel is Channel.WHATSAPP:
        assert fact.approval is Approval.APPROVED
        assert message.to_is_phone or not (
            fact.needs_phone or fact.category is Category.AUTHENTICATION
        )
        if fact.category is Category.MARKETING:
            assert message.to not in ("whatsapp:+14155550100", "whatsapp:US.1a2b")


@ANY_SITUATION
@given(situations())
def test_whatever_the_facts_a_send_breaks_no_law(situation: tuple[Draft, Facts, Policy]) -> None:
    """No facts make a send to an opted-out person, without consent, too late, or in the wrong
    form.
    """
    message, known, policy = situation
    decision = decided(message, known, policy)
    if isinstance(decision, Send):
        check_send(message, known, policy, decision, NOW)


@ANY_SITUATION
@given(situations())
def test_whatever_the_facts_there_is_one_explained_decision(
    situation: tuple[Draft, Facts, Policy],
) -> None:
    """`decide` raises for no facts, returns the same twice, and its last verdict is the deciding
    one.
    """
    message, known, policy = situation
    decision = decided(message, known, policy)
    assert decision == decided(message, known, policy)
    words = [verdict.verdict for verdict in decision.trace.verdicts]
    last = {Send: "choose", Wait: "wait", Refuse: "deny"}[type(decision)]
    assert words[-1] == last
    assert set(words[:-1]) <= {"pass", "skip"}
    if isinstance(decision, Wait):
        assert NOW < decision.until <= message.expires_at
        consents = known.person.consents if known.person else ()
        assert message.is_opt_out_confirmation or not opted_out(message, consents, NOW)


@ANY_SITUATION
@given(situations())
def test_no_trace_holds_an_address_or_a_text(situation: tuple[Draft, Facts, Policy]) -> None:
    """Traces hold only codes and words of the rules, because they are stored and shown."""
    message, known, policy = situation
    told = repr(decided(message, known, policy).trace)
    assert message.to not in told
    assert "text" not in told


@settings(max_examples=examples(200))
@given(
    situations(),
    st.lists(
        st.builds(lambda at, granted: ConsentFact(granted=granted, at=at), INSTANTS, st.booleans()),
        max_size=4,
    ),
)
def test_a_newer_stop_ends_all_sending_whatever_came_before(
    situation: tuple[Draft, Facts, Policy], earlier: list[ConsentFact]
) -> None:
    """After any history a STOP allows only its confirmation.

    The store dates it after all grants.
    """
    message, known, policy = situation
    if known.person is None:
        return
    history = (*known.person.consents, *earlier)
    heard_at = max(NOW, *(one.at for one in history), NOW)
    stopped = replace(known.person, consents=(*history, ConsentFact(granted=False, at=heard_at)))
    decision = decided(message, replace(known, person=stopped), policy)
    assert isinstance(decision, Refuse) or message.is_opt_out_confirmation


CONSENT_STATES = (
    (),
    (GRANT,),
    (GRANT, ConsentFact(granted=True, at=NOW - DAY, purpose=Purpose.MARKETING)),
    (replace(GRANT, expires_at=NOW),),
    (replace(GRANT, expires_at=NOW + MINUTE),),
    (GRANT, ConsentFact(granted=False, at=NOW - MINUTE)),
    (GRANT, ConsentFact(granted=False, at=NOW - HOUR, purpose=Purpose.UTILITY)),
    (
        ConsentFact(granted=False, at=NOW - HOUR, sender="shop"),
        ConsentFact(granted=True, at=NOW - MINUTE),
    ),
)
WROTE = (None, timedelta(0), DAY - 5 * MINUTE - TICK, DAY - 5 * MINUTE, DAY - TICK, DAY)
WISH = TemplateRef("order_update", {"1": "x"})
CONTENTS = ((FreeformDraft("text"), None), (None, WISH), (FreeformDraft("text"), WISH))
OFFERED = (
    None,
    *(template(category, channels=frozenset(Channel)) for category in Category),
    template(approval=Approval.PAUSED),
    template(Category.AUTHENTICATION, needs_phone=True),
)
PLAIN = (None, template(channels=frozenset(Channel)))
"""The templates with which every state of the tag is tried. The others meet the first state."""

TAGS = (None, TagFact(), TagFact(in_flight=True), TagFact(TagState.PROVEN), TagFact(TagState.DEAD))


WAYS_OF_SENDING = {
    Channel.WHATSAPP: {
        Reason.WINDOW_OPEN,
        Reason.REPLY_IMPLIED,
        Reason.TEMPLATE_ONLY,
        Reason.TEMPLATE_NEAR_EDGE,
        Reason.TEMPLATE_WINDOW_CLOSED,
    },
    Channel.MESSENGER: {Reason.WINDOW_OPEN, Reason.TEMPLATE_ONLY, Reason.ACCOUNT_UPDATE},
    Channel.SMS: {Reason.SMS_CONSENT, Reason.REPLY_IMPLIED, Reason.TEMPLATE_ONLY},
}
ALL_WAYS = set(SENT)


@pytest.mark.parametrize("channel", Channel)
def test_every_combination_of_what_matters_obeys_the_laws(channel: Channel) -> None:
    """Every combination of edges obeys the laws, in thousands of situations with all ways of
    sending. A tag meets only the templates that could take its place.
    """
    reasons: set[Reason] = set()
    tags = TAGS[1:] if channel is Channel.MESSENGER else ()
    others = (*((offered, TAGS[0]) for offered in OFFERED), *itertools.product(PLAIN, tags))
    for purpose, consents, wrote, (freeform, wish), (
        offered,
        tag,
    ), when_closed in itertools.product(
        Purpose, CONSENT_STATES, WROTE, CONTENTS, others, WhenClosed
    ):
        message = draft(
            channel,
            purpose,
            freeform=freeform,
            template=wish,
            when_closed=when_closed,
            to_is_phone=False,
        )
        known = facts(person(*consents, wrote=wrote), channel, template=offered, tag=tag)
        decision = decided(message, known)
        reasons.add(decision.reason)
        if isinstance(decision, Send):
            check_send(message, known, POLICY, decision, NOW)
        else:
            assert decision.reason not in ALL_WAYS
    assert reasons & ALL_WAYS == WAYS_OF_SENDING[channel]


@settings(max_examples=examples(150))
@example([timedelta(0), DAY - TICK, DAY])
@given(st.lists(st.timedeltas(timedelta(0), 3 * DAY), min_size=1, max_size=12))
def test_as_time_passes_a_freeform_never_leaves_its_window(steps: list[timedelta]) -> None:
    """With the same facts and a later time, freeform goes inside the window and never after it."""
    known = facts(person(GRANT, wrote=timedelta(0)))
    closed = False
    for step in sorted(steps):
        decision = decided(draft(expires_at=NOW + 9 * DAY), known, now=NOW + step)
        assert isinstance(decision, Send) is (step < DAY)
        assert not (closed and isinstance(decision, Send))
        closed = closed or isinstance(decision, Refuse)

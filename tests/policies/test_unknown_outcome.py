"""What follows an unproven attempt."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.unknown import Evidence, UnknownAction, next_step, restored_step, rule_for
from sendwindow import contract
from sendwindow.vocabulary import OnUnknown, Purpose, Reason
from tests.policies.given import DAY, HOUR, MINUTE, POLICY, SECOND, TICK

BIND, LOOK, RESEND, HOLD, END = UnknownAction


@pytest.mark.parametrize(
    "rule, evidence, since, action, reason",
    [
        pytest.param(
            OnUnknown.RESEND, Evidence.NONE, 30 * SECOND - TICK, LOOK, None, id="resend-too-soon"
        ),
        pytest.param(
            OnUnknown.RESEND, Evidence.NONE, 30 * SECOND, RESEND, Reason.RESENT_BY_RULE, id="resend"
        ),
        pytest.param(
            OnUnknown.RESEND,
            Evidence.UNPROVEN_LIST,
            MINUTE,
            RESEND,
            Reason.RESENT_BY_RULE,
            id="no-proof-asked",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.ABSENT,
            10 * MINUTE - TICK,
            LOOK,
            None,
            id="absent-too-soon",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.ABSENT,
            10 * MINUTE,
            RESEND,
            Reason.RESENT_BY_RULE,
            id="absent",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.UNPROVEN_LIST,
            10 * MINUTE,
            HOLD,
            Reason.HELD_BY_RULE,
            id="unproven",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.NONE,
            HOUR - TICK,
            LOOK,
            None,
            id="list-not-read-yet",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.NONE,
            HOUR,
            HOLD,
            Reason.HELD_BY_RULE,
            id="never-readable",
        ),
        pytest.param(
            OnUnknown.NEVER, Evidence.ABSENT, 10 * MINUTE - TICK, LOOK, None, id="never-looks-first"
        ),
        pytest.param(
            OnUnknown.NEVER, Evidence.ABSENT, 10 * MINUTE, END, Reason.NEVER_BY_RULE, id="never"
        ),
        pytest.param(
            OnUnknown.HOLD, Evidence.ABSENT, 10 * MINUTE, HOLD, Reason.HELD_BY_RULE, id="hold"
        ),
    ],
)
def test_each_rule_on_both_sides_of_its_time(
    rule: OnUnknown,
    evidence: Evidence,
    since: timedelta,
    action: UnknownAction,
    reason: Reason | None,
) -> None:
    """`resend` resends after 30 s without proof, `resend_if_absent` after 10 min with a proven
    list.
    """
    step = next_step(rule, Purpose.UTILITY, evidence, since, POLICY)
    assert (step.action, step.reason) == (action, reason)
    assert (step.after > timedelta(0)) is (action is LOOK)


@pytest.mark.parametrize("unproven, action", [(1, RESEND), (2, RESEND), (3, HOLD), (50, HOLD)])
def test_a_message_is_not_sent_again_without_end(unproven: int, action: UnknownAction) -> None:
    """A message that Twilio takes and never proves is not resent forever."""
    assert next_step(
        OnUnknown.RESEND, Purpose.AUTHENTICATION, Evidence.NONE, MINUTE, POLICY, unproven=unproven
    ).action is (action)


@pytest.mark.parametrize(
    "purpose, rule",
    [
        (Purpose.AUTHENTICATION, OnUnknown.RESEND),
        (Purpose.REPLY, OnUnknown.RESEND_IF_ABSENT),
        (Purpose.UTILITY, OnUnknown.RESEND_IF_ABSENT),
        (Purpose.ACCOUNT_UPDATE, OnUnknown.RESEND_IF_ABSENT),
        (Purpose.MARKETING, OnUnknown.NEVER),
    ],
)
def test_a_message_without_a_rule_takes_its_purposes(purpose: Purpose, rule: OnUnknown) -> None:
    """Without a rule the purpose decides: a second code beats none, a second advertisement does
    not.
    """
    assert rule_for(None, purpose, POLICY) is rule
    assert rule_for(OnUnknown.HOLD, purpose, POLICY) is OnUnknown.HOLD


def test_the_contract_gives_the_defaults_that_the_policy_names() -> None:
    """sendwindow/contract.py, which cannot import policies, has the same expiry and rule as the
    policy.
    """
    for purpose, rule in POLICY.purposes.items():
        assert contract.LIFETIME[purpose] == rule.expiry
        assert contract.ON_UNKNOWN[purpose] is rule.on_unknown
    assert POLICY.longest_wait == contract.MAX_LIFETIME


@given(
    rule=st.none() | st.sampled_from(OnUnknown),
    purpose=st.sampled_from(Purpose),
    evidence=st.sampled_from(Evidence),
    since=st.timedeltas(timedelta(0), 2 * DAY),
)
def test_nothing_is_sent_again_unless_its_rule_says_so(
    rule: OnUnknown | None, purpose: Purpose, evidence: Evidence, since: timedelta
) -> None:
    """Evidence always binds, never and hold never resend, resend_if_absent needs proof, and
    searches end.
    """
    step = next_step(rule, purpose, evidence, since, POLICY)
    applied = rule_for(rule, purpose, POLICY)
    assert (step.action is BIND) is (evidence is Evidence.FOUND)
    if step.action is RESEND:
        assert applied is OnUnknown.RESEND or (
            applied is OnUnknown.RESEND_IF_ABSENT
            and evidence is Evidence.ABSENT
            and since >= 10 * MINUTE
        )
    if step.action is LOOK:
        assert since < HOUR
        assert timedelta(0) < step.after <= 10 * MINUTE


@pytest.mark.parametrize(
    "evidence, since, action, reason",
    [
        pytest.param(Evidence.FOUND, timedelta(0), BIND, None, id="found"),
        pytest.param(Evidence.ABSENT, 10 * MINUTE - TICK, LOOK, None, id="too-soon"),
        pytest.param(Evidence.ABSENT, 10 * MINUTE, RESEND, Reason.NOT_SENT, id="absent"),
        pytest.param(Evidence.UNPROVEN_LIST, 10 * MINUTE, HOLD, Reason.HELD_BY_RULE, id="in-doubt"),
        pytest.param(Evidence.NONE, HOUR - TICK, LOOK, None, id="not-proven-yet"),
        pytest.param(Evidence.NONE, HOUR, HOLD, Reason.HELD_BY_RULE, id="never-proven"),
    ],
)
def test_what_a_restored_copy_has_as_queued_goes_out_by_proof_alone(
    evidence: Evidence, since: timedelta, action: UnknownAction, reason: Reason | None
) -> None:
    """A queued message of a restored copy goes out by proof only.

    Its rule is about attempts that were posted.
    """
    step = restored_step(evidence, since, POLICY)
    assert (step.action, step.reason) == (action, reason)
    assert (step.after > timedelta(0)) is (action is LOOK)

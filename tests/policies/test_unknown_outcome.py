"""What follows an unproven attempt."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.unknown import Evidence, UnknownAction, next_step, restored_step
from sendwindow.vocabulary import OnUnknown
from tests.policies.given import DAY, HOUR, MINUTE, POLICY, SECOND, TICK

BIND, LOOK, RESEND, HOLD, END = UnknownAction


@pytest.mark.parametrize(
    "rule, evidence, since, action",
    [
        pytest.param(
            OnUnknown.RESEND, Evidence.NONE, 30 * SECOND - TICK, LOOK, id="resend-too-soon"
        ),
        pytest.param(OnUnknown.RESEND, Evidence.NONE, 30 * SECOND, RESEND, id="resend"),
        pytest.param(
            OnUnknown.RESEND,
            Evidence.UNPROVEN_LIST,
            MINUTE,
            RESEND,
            id="no-proof-asked",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.ABSENT,
            10 * MINUTE - TICK,
            LOOK,
            id="absent-too-soon",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.ABSENT,
            10 * MINUTE,
            RESEND,
            id="absent",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.UNPROVEN_LIST,
            10 * MINUTE,
            HOLD,
            id="unproven",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.NONE,
            HOUR - TICK,
            LOOK,
            id="list-not-read-yet",
        ),
        pytest.param(
            OnUnknown.RESEND_IF_ABSENT,
            Evidence.NONE,
            HOUR,
            HOLD,
            id="never-readable",
        ),
        pytest.param(
            OnUnknown.NEVER, Evidence.ABSENT, 10 * MINUTE - TICK, LOOK, id="never-looks-first"
        ),
        pytest.param(OnUnknown.NEVER, Evidence.ABSENT, 10 * MINUTE, END, id="never"),
        pytest.param(OnUnknown.HOLD, Evidence.ABSENT, 10 * MINUTE, HOLD, id="hold"),
    ],
)
def test_each_rule_on_both_sides_of_its_time(
    rule: OnUnknown,
    evidence: Evidence,
    since: timedelta,
    action: UnknownAction,
) -> None:
    """`resend` resends after 30 s without proof, `resend_if_absent` after 10 min with a proven
    list.
    """
    step = next_step(rule, evidence, since, POLICY)
    assert step.action is action
    assert (step.after > timedelta(0)) is (action is LOOK)


@pytest.mark.parametrize("unproven, action", [(1, RESEND), (2, RESEND), (3, HOLD), (50, HOLD)])
def test_a_message_is_not_sent_again_without_end(unproven: int, action: UnknownAction) -> None:
    """A message that Twilio takes and never proves is not resent forever."""
    assert next_step(OnUnknown.RESEND, Evidence.NONE, MINUTE, POLICY, unproven=unproven).action is (
        action
    )


@given(
    rule=st.sampled_from(OnUnknown),
    evidence=st.sampled_from(Evidence),
    since=st.timedeltas(timedelta(0), 2 * DAY),
)
def test_nothing_is_sent_again_unless_its_rule_says_so(
    rule: OnUnknown, evidence: Evidence, since: timedelta
) -> None:
    """Evidence always binds, never and hold never resend, resend_if_absent needs proof, and
    searches end.
    """
    step = next_step(rule, evidence, since, POLICY)
    assert (step.action is BIND) is (evidence is Evidence.FOUND)
    if step.action is RESEND:
        assert rule is OnUnknown.RESEND or (
            rule is OnUnknown.RESEND_IF_ABSENT
            and evidence is Evidence.ABSENT
            and since >= 10 * MINUTE
        )
    if step.action is LOOK:
        assert since < HOUR
        assert timedelta(0) < step.after <= 10 * MINUTE


@pytest.mark.parametrize(
    "evidence, since, action",
    [
        pytest.param(Evidence.FOUND, timedelta(0), BIND, id="found"),
        pytest.param(Evidence.ABSENT, 10 * MINUTE - TICK, LOOK, id="too-soon"),
        pytest.param(Evidence.ABSENT, 10 * MINUTE, RESEND, id="absent"),
        pytest.param(Evidence.UNPROVEN_LIST, 10 * MINUTE, HOLD, id="in-doubt"),
        pytest.param(Evidence.NONE, HOUR - TICK, LOOK, id="not-proven-yet"),
        pytest.param(Evidence.NONE, HOUR, HOLD, id="never-proven"),
    ],
)
def test_what_a_restored_copy_has_as_queued_goes_out_by_proof_alone(
    evidence: Evidence, since: timedelta, action: UnknownAction
) -> None:
    """A queued message of a restored copy goes out by proof only.

    Its rule is about attempts that were posted.
    """
    step = restored_step(evidence, since, POLICY)
    assert step.action is action
    assert (step.after > timedelta(0)) is (action is LOOK)

"""ACCOUNT_UPDATE: what a Page risks, and what an outcome proves about the tag."""

from dataclasses import replace

import pytest

from policies.facts import TagFact, TagState
from policies.policy import AccountUpdate
from policies.tag import tag_after, tag_problem
from sendwindow.vocabulary import Reason
from tests.policies.given import POLICY


@pytest.mark.parametrize(
    "tag, reason",
    [
        (None, Reason.MISSING_FACT),
        (TagFact(TagState.UNPROVEN), None),
        (TagFact(TagState.UNPROVEN, in_flight=True), Reason.ACCOUNT_UPDATE_UNPROVEN),
        (TagFact(TagState.PROVEN), None),
        (TagFact(TagState.PROVEN, in_flight=True), None),
        (TagFact(TagState.DEAD), Reason.ACCOUNT_UPDATE_DEAD),
        (TagFact(TagState.DEAD, in_flight=True), Reason.ACCOUNT_UPDATE_DEAD),
    ],
)
def test_an_unproven_page_risks_one_message_and_a_dead_one_none(
    tag: TagFact | None, reason: Reason | None
) -> None:
    """An unproven Page risks one message, and a dead one, or the policy refuse, allows none."""
    assert tag_problem(tag, POLICY) is reason
    refusing = replace(POLICY, account_update=AccountUpdate.REFUSE)
    assert tag_problem(tag, refusing) is Reason.ACCOUNT_UPDATE_REFUSED


@pytest.mark.parametrize("code", [63016, 63005, 63013, 63021, 63023, 63039])
def test_a_code_that_a_dead_tag_produces_opens_the_breaker(code: int) -> None:
    """The six codes of Meta's refusal of the tag open the breaker."""
    assert tag_after(POLICY, status="failed", code=code) is TagState.DEAD


@pytest.mark.parametrize(
    "status, code, state",
    [
        ("sent", None, TagState.PROVEN),
        ("delivered", None, TagState.PROVEN),
        ("read", None, TagState.PROVEN),
        ("queued", None, None),
        ("sending", None, None),
        ("failed", 63003, None),
        ("failed", None, None),
        (None, None, None),
    ],
)
def test_only_a_status_from_sent_on_proves_the_tag(
    status: str | None, code: int | None, state: TagState | None
) -> None:
    """Twilio's acceptance proves nothing, and an error about the person says nothing of the tag."""
    assert tag_after(POLICY, status=status, code=code) is state

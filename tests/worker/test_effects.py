"""What the catalogue's errors teach, and what of it depends on how they were heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import ErrorClass
from policies.facts import Holds
from sendwindow.vocabulary import Channel
from tests.worker.shipped import rules
from worker.effects import Heard, effects_of
from worker.values.effects import (
    Effect,
    HoldBack,
    OptOut,
    PauseAccount,
    PauseSender,
    SuppressAddress,
    WithdrawMarketing,
)

RULES = rules()
OF_PERSON = (OptOut, HoldBack, SuppressAddress, WithdrawMarketing)


PLAINLY = Heard()


def taught(code: int, heard: Heard = PLAINLY, *, to_user_id: bool = False) -> tuple[Effect, ...]:
    """What a code teaches that came with a failure."""
    entry = RULES.errors.lookup(code, message_status="failed", asynchronous=True, to_user_id=to_user_id)
    return effects_of(entry, RULES, heard)


def test_a_pause_without_a_term_lasts_until_a_person_ends_it() -> None:
    """No entry of the catalogue pauses for zero seconds: that would pause nothing."""
    for entry in RULES.errors.entries.values():
        for effect in effects_of(entry, RULES):
            if isinstance(effect, PauseSender | PauseAccount | SuppressAddress):
                assert effect.seconds > 0


@pytest.mark.parametrize("code", [63014, 63033])
def test_a_block_is_held_and_no_opt_out_is_recorded(code: int) -> None:
    """Everything but answers until the person writes; after a marketing template only marketing."""
    [effect] = taught(code)
    assert effect == HoldBack(
        holds=Holds.ALL_BUT_REPLIES,
        after_marketing=Holds.MARKETING,
        seconds=0,
        until_inbound=True,
        sender_only=False,
        code=code,
        guard=RULES.policy.error_guard,
    )


def test_a_marketing_cap_lasts_a_day_at_one_sender() -> None:
    """63049 is no sign that the provider is out of order, so that nothing keeps it aside."""
    [effect] = taught(63049)
    assert effect == HoldBack(
        holds=Holds.MARKETING,
        after_marketing=Holds.MARKETING,
        seconds=86_400,
        until_inbound=False,
        sender_only=True,
        code=63049,
    )


@pytest.mark.parametrize("channel", [None, *Channel])
def test_21610_suspends_grants_on_sms_only(channel: Channel | None) -> None:
    """It stops the sender everywhere; on SMS it may also mean that the number has a new owner."""
    [effect] = taught(21610, Heard(channel=channel))
    assert isinstance(effect, OptOut)
    assert effect.sender_only
    assert effect.suspends_grants is (channel is Channel.SMS)


def test_21211_suppresses_phones_only() -> None:
    """For a user id the code is a fault of the sender; where the report hides the user id, the store looks."""
    [effect] = taught(21211)
    assert isinstance(effect, SuppressAddress)
    assert effect.phones_only
    assert taught(21211, to_user_id=True) == ()
    [other] = taught(63003)
    assert isinstance(other, SuppressAddress)
    assert not other.phones_only


@pytest.mark.parametrize("code", [63014, 63033, 63050, 63003, 21610, 99999])
def test_meta_131050_withdraws_marketing_alone(code: int) -> None:
    """The channel's own word stands in place of whatever Twilio's code would teach about the person."""
    effects = taught(code, Heard(channel_codes=frozenset({131026, 131050})))
    assert [type(effect) for effect in effects] == [WithdrawMarketing]


@given(code=st.sampled_from(sorted(RULES.errors.entries)), stopped=st.booleans())
def test_a_warning_teaches_nothing_and_an_error_says_one_thing_of_a_person(code: int, stopped: bool) -> None:
    """Whatever the codes: at most one effect on a person, and none beside a status that is no failure."""
    heard = Heard(channel_codes=frozenset({131050} if stopped else {131026}))
    effects = taught(code, heard)
    of_person = [effect for effect in effects if isinstance(effect, OF_PERSON)]
    entry = RULES.errors.entries[code]
    is_about_person = entry.error_class in (ErrorClass.OPTOUT, ErrorClass.HOLD, ErrorClass.BADADDR)
    assert len(of_person) == (entry.error_class is not ErrorClass.IGNORE if stopped else is_about_person)
    warning = RULES.errors.lookup(code, message_status="sent", asynchronous=True)
    assert effects_of(warning, RULES, heard) == ()

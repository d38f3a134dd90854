"""The effects of the catalogue's errors, and how they depend on the way an error arrived."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.error_catalogue import ErrorClass
from policies.facts import Holds
from sendwindow.vocabulary import Channel
from tests.support.shipped import rules
from worker.error_effects import Heard, effects_of
from worker.ports.effects import (
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
    """Return the effects of a code that came with a failure."""
    entry = RULES.errors.lookup(
        code, message_status="failed", asynchronous=True, to_user_id=to_user_id
    )
    return effects_of(entry, RULES, heard)


def test_a_pause_without_a_term_lasts_until_a_person_ends_it() -> None:
    """A pause without a term lasts until an operator ends it: no entry pauses for zero seconds."""
    for entry in RULES.errors.entries.values():
        for effect in effects_of(entry, RULES):
            if isinstance(effect, PauseSender | PauseAccount | SuppressAddress):
                assert effect.seconds > 0


@pytest.mark.parametrize("code", [63014, 63033])
def test_a_block_is_held_and_no_opt_out_is_recorded(code: int) -> None:
    """A block holds everything but answers until the person writes, and records no opt-out.

    After a marketing template it holds only marketing.
    """
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
    """63049 caps marketing for a day at one sender.

    It is no sign of a provider fault, so the guard on jumps ignores it.
    """
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
    """21610 stops the sender everywhere.

    On SMS it also suspends grants, since the number may have a new owner.
    """
    [effect] = taught(21610, Heard(channel=channel))
    assert isinstance(effect, OptOut)
    assert effect.sender_only
    assert effect.suspends_grants is (channel is Channel.SMS)


def test_21211_suppresses_phones_only() -> None:
    """21211 suppresses phones only; for a user id the code is a fault of the sender.

    The store checks where the report hides the user id.
    """
    [effect] = taught(21211)
    assert isinstance(effect, SuppressAddress)
    assert effect.phones_only
    assert taught(21211, to_user_id=True) == ()
    [other] = taught(63003)
    assert isinstance(other, SuppressAddress)
    assert not other.phones_only


@pytest.mark.parametrize("code", [63014, 63033, 63050, 63003, 21610, 99999])
def test_meta_131050_withdraws_marketing_alone(code: int) -> None:
    """Meta's 131050 withdraws marketing, in place of the effects of Twilio's code on the person."""
    effects = taught(code, Heard(channel_codes=frozenset({131026, 131050})))
    assert [type(effect) for effect in effects] == [WithdrawMarketing]


@given(code=st.sampled_from(sorted(RULES.errors.entries)), stopped=st.booleans())
def test_a_warning_teaches_nothing_and_an_error_says_one_thing_of_a_person(
    code: int, stopped: bool
) -> None:
    """Every code has at most one effect on a person, and none with a status that is no failure."""
    heard = Heard(channel_codes=frozenset({131050} if stopped else {131026}))
    effects = taught(code, heard)
    of_person = [effect for effect in effects if isinstance(effect, OF_PERSON)]
    entry = RULES.errors.entries[code]
    is_about_person = entry.error_class in (ErrorClass.OPTOUT, ErrorClass.HOLD, ErrorClass.BADADDR)
    assert len(of_person) == (
        entry.error_class is not ErrorClass.IGNORE if stopped else is_about_person
    )
    warning = RULES.errors.lookup(code, message_status="sent", asynchronous=True)
    assert effects_of(warning, RULES, heard) == ()

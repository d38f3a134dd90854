"""What a person means, from Twilio's form to what may be sent: buttons, words, unclear
sentences.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from policies.consent import Standing, permission
from sendwindow.scripts import Argument
from sendwindow.vocabulary import Purpose, Reason, Stage
from tests.support.cast import ANNA, sid, whatsapp
from tests.support.gateway_world import Scene, gateway_at
from tests.support.shipped import rules
from tests.support.stores_world import Place, accepted
from tests.support.waiting import HANG_SECONDS, until
from tests.worker.gateway.test_inbound import LASTING, known_of
from worker.ports.people import ConsentEntry
from worker.ports.settlements import SettleAgain
from worker.stores.people import _SUSPECTED
from worker.stores.script_runner import compact

MARKETING, UTILITY = Purpose.MARKETING, Purpose.UTILITY
META_STOP = {"body": "Stop promotions", "ButtonText": "Stop promotions", "ButtonPayload": "STOP"}
META_RESUME = {
    "body": "Resume promotions",
    "ButtonText": "Resume promotions",
    "ButtonPayload": "START",
}


async def standings(scene: Scene, address: str = ANNA) -> tuple[str, str]:
    """Return how a person stands to utility and marketing at the shop."""
    known, now = await known_of(scene, address), await scene.world.store.now()
    utility, marketing = (
        permission(known, purpose, "shop", rules().policy, now).standing
        for purpose in (UTILITY, MARKETING)
    )
    return utility.value, marketing.value


async def consented(scene: Scene, **changes: Any) -> None:
    """Record a grant of everything and one of marketing by name."""
    for purpose in (None, "marketing"):
        entry = ConsentEntry(True, "main", purpose, None, "form", **changes)
        await scene.world.store.people.record_consent(ANNA, entry)
    await scene.world.later(seconds=1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "tap",
    [
        {
            "body": "Cancel",
            "ButtonText": "Cancel",
            "ButtonPayload": "cancel_appointment_42",
            "ButtonType": "REPLY",
        },
        {"body": "End", "ListTitle": "End", "ListId": "menu_end"},
        {"body": "Stop", "ButtonText": "Stop", "ButtonPayload": "x"},
        {"body": "STOP", "ListTitle": "STOP", "ListId": "row_1"},
        {"body": "Abmelden", "ButtonPayload": "kurs-7"},
        {"body": "", "ButtonText": "please stop texting me", "ButtonPayload": "feedback"},
    ],
)
async def test_a_tap_on_a_button_of_ours_is_an_answer(store: Place, tap: dict[str, str]) -> None:
    """A tap on our button is an answer whatever its label is, and opens the window.

    Its payload is none that opts out.
    """
    async with gateway_at(store) as scene:
        await consented(scene)
        assert (await scene.twilio.inbound(**tap))[0] == 200
        known = await known_of(scene)
        assert known.suspected_at is None
        assert known.last_inbound_at is not None
        assert await standings(scene) == ("granted", "granted")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "said",
    [
        {"body": "Weiter", "ButtonText": "Weiter", "ButtonPayload": "STOP"},
        {"body": "Menu", "ListTitle": "Menu", "ListId": "unsubscribe"},
        {
            "body": "Stop promotions",
            "ButtonText": "Stop promotions",
            "ButtonPayload": "STOP",
            "OptOutType": "STOP",
        },
        {"body": "Cancel", "ButtonText": "Cancel"},
        {"body": "", "ButtonText": "Stop"},
        {"body": "END", "ListTitle": "End"},
        {"body": "Стоп"},
        {"body": "STOP\n--\nSent from my phone"},
    ],
)
async def test_a_stop_however_it_is_said(store: Place, said: dict[str, str]) -> None:
    """A STOP is a payload that opts out, Twilio's verdict, or a word without a payload."""
    async with gateway_at(store) as scene:
        await consented(scene)
        assert (await scene.twilio.inbound(**said))[0] == 200
        assert await standings(scene) == ("opted_out", "opted_out")


@pytest.mark.asyncio
@pytest.mark.parametrize("said", [META_STOP, {"body": "stop promotions"}])
async def test_metas_own_button_stops_marketing_only(store: Place, said: dict[str, str]) -> None:
    """Meta's own button stops marketing only.

    Its payload STOP does not stop order confirmations, and the ledger records a withdrawal of
    marketing.
    """
    async with gateway_at(store) as scene:
        await consented(scene)
        await scene.twilio.inbound(**said)
        assert await standings(scene) == ("granted", "opted_out")
        line = dict((await scene.world.store.people.consents(ANNA))[-1])
        assert line | {"at": ""} == {
            "at": "",
            "granted": False,
            "account": "main",
            "purpose": "marketing",
            "source": "inbound",
            "evidence": "SM" + "b" * 32,
        }


@pytest.mark.asyncio
async def test_resume_undoes_what_the_tap_withdrew_and_no_more(store: Place) -> None:
    """Resume restores the same grant with the same end, but no full stop and no grant that never
    existed.
    """
    async with gateway_at(store) as scene:
        ends_at = await scene.world.store.now() + timedelta(days=9)
        await consented(scene, expires_at=ends_at)
        for number, said in enumerate((META_STOP, META_STOP, META_RESUME)):
            await scene.twilio.inbound(**said, MessageSid=sid(number))
            await scene.world.later(seconds=1)
        assert await standings(scene) == ("granted", "granted")
        line = (await scene.world.store.people.consents(ANNA))[-1]
        assert (line["purpose"], line["granted"], line["source"]) == ("marketing", True, "inbound")
        assert abs(line["expires_at"] - ends_at) < timedelta(seconds=1)  # type: ignore[operator]  # a datetime
        await scene.twilio.inbound("STOP", MessageSid=sid(8))
        await scene.world.later(seconds=1)
        await scene.twilio.inbound(**META_RESUME, MessageSid=sid(9))
        assert await standings(scene) == ("opted_out", "opted_out")


@pytest.mark.asyncio
@pytest.mark.parametrize("withdrawn_by", ["nobody", "the operator", "the person"])
async def test_resume_grants_nothing_that_was_not_taken_by_the_person(
    store: Place, withdrawn_by: str
) -> None:
    """Resume is an ordinary answer if the person withdrew nothing by the button, or had never
    granted it.
    """
    async with gateway_at(store) as scene:
        people = scene.world.store.people
        if withdrawn_by != "the person":
            await consented(scene)
        if withdrawn_by == "the operator":
            await people.record_consent(
                ANNA, ConsentEntry(False, "main", "marketing", None, "mail")
            )
        elif withdrawn_by == "the person":
            await scene.twilio.inbound(**META_STOP, MessageSid=sid(1))
        await scene.world.later(seconds=1)
        before = await standings(scene)
        await scene.twilio.inbound(**META_RESUME, MessageSid=sid(2))
        assert await standings(scene) == before
        assert before[1] == ("granted" if withdrawn_by == "nobody" else "opted_out")


@pytest.mark.asyncio
async def test_resume_keeps_the_scope_of_what_was_granted(store: Place) -> None:
    """Resume restores marketing for the one sender that it was granted for."""
    async with gateway_at(store) as scene:
        people = scene.world.store.people
        for sender in ("shop", "page"):
            await people.record_consent(
                ANNA, ConsentEntry(True, "main", "marketing", sender, "form")
            )
        await people.record_consent(ANNA, ConsentEntry(False, "main", "marketing", "page", "form"))
        await scene.world.later(seconds=1)
        await scene.twilio.inbound(**META_STOP, MessageSid=sid(1))
        assert (await standings(scene))[1] == "opted_out"
        await scene.world.later(seconds=1)
        await scene.twilio.inbound(**META_RESUME, MessageSid=sid(2))
        assert (await standings(scene))[1] == "granted"
        known, now = await known_of(scene, sender="page"), await scene.world.store.now()
        assert (
            permission(known, MARKETING, "page", rules().policy, now).standing is Standing.OPTED_OUT
        )


@pytest.mark.asyncio
async def test_a_sentence_that_may_mean_stop_is_held_and_listed(store: Place) -> None:
    """A sentence that may mean stop withdraws nothing.

    Person, time and SID are kept, not the text.
    """
    async with gateway_at(store) as scene:
        await consented(scene)
        assert (await scene.twilio.inbound("please stop texting me"))[0] == 200
        assert await standings(scene) == ("granted", "granted")
        known = await known_of(scene)
        [stop] = [one async for one in scene.world.store.people.suspected()]
        assert (stop.account, stop.sender, stop.message_sid) == ("main", "shop", "SM" + "b" * 32)
        assert stop.since == known.suspected_at
        assert await scene.world.count("suspected") == 1
        assert (
            b'sendwindow_inbound_total{effect="first",keyword="suspected"} 1.0'
            in scene.metrics.render()
        )
        everything = b"".join(value or b"" for value in (await scene.world.contents()).values())
        assert b"texting" not in everything


@pytest.mark.asyncio
async def test_the_first_sentence_stays_the_evidence(store: Place) -> None:
    """A repeated sentence is counted again, but it stays one case of one person."""
    async with gateway_at(store) as scene:
        for number in (1, 2, 2):
            await scene.twilio.inbound("leave me alone", MessageSid=sid(number))
            await scene.world.later(seconds=1)
        [stop] = [one async for one in scene.world.store.people.suspected()]
        assert stop.message_sid == sid(1)
        assert await scene.world.count("suspected") == 2


@pytest.mark.asyncio
async def test_a_suspected_stop_to_an_address_without_a_sender_is_held_too(store: Place) -> None:
    """A suspected stop to an address without a sender is held too, because a stop covers the
    account.
    """
    async with gateway_at(store) as scene:
        await scene.twilio.inbound("leave me alone", To="whatsapp:+14155550199")
        assert (await known_of(scene)).suspected_at is not None
        [stop] = [one async for one in scene.world.store.people.suspected()]
        assert stop.sender == "?"


@pytest.mark.asyncio
@pytest.mark.parametrize("words", ["STOP", "START", "Stop promotions", "Resume promotions"])
async def test_a_clear_word_of_the_person_settles_it(store: Place, words: str) -> None:
    """A clear STOP or START settles a suspected stop without an operator.

    An ordinary message does not.
    """
    async with gateway_at(store) as scene:
        await scene.twilio.inbound("leave me alone", MessageSid=sid(1))
        await scene.twilio.inbound("hello?", MessageSid=sid(2))
        assert (await known_of(scene)).suspected_at is not None
        await scene.twilio.inbound(words, MessageSid=sid(3))
        assert (await known_of(scene)).suspected_at is None
        assert [one async for one in scene.world.store.people.suspected()] == []


@pytest.mark.asyncio
async def test_a_suspected_stop_is_answered_only_when_no_post_can_start(store: Place) -> None:
    """The answer to a suspected stop waits for open permits, because marketing is held at once."""
    async with gateway_at(store, tuning=LASTING) as scene:
        claimed = await scene.world.post()
        told = asyncio.create_task(scene.twilio.inbound("leave me alone"))
        await until(
            lambda: known_of(scene), "the suspected stop", holds=lambda person: person.suspected_at
        )
        assert not told.done()
        await scene.world.settle(claimed, accepted())
        assert (await asyncio.wait_for(told, HANG_SECONDS))[0] == 200


def held(now: datetime) -> SettleAgain:
    """Return the settlement of a message while a suspected stop is undecided."""
    return SettleAgain(
        Stage.WAITING, Reason.STOP_SUSPECTED, due_at=now + timedelta(days=3), on_inbound=True
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        ("dismiss", ("granted", "granted")),
        ("marketing", ("granted", "opted_out")),
        ("all", ("opted_out", "opted_out")),
    ],
)
async def test_a_decision_withdraws_or_dismisses_and_lets_go_of_what_waits(
    store: Place, decision: Any, expected: tuple[str, str]
) -> None:
    """A decision withdraws or dismisses in one step, and a second decision finds nothing.

    The ledger names the message as evidence.
    """
    async with gateway_at(store) as scene:
        await consented(scene)
        await scene.twilio.inbound("leave me alone")
        await scene.world.enqueue()
        await scene.world.settle(await scene.world.claim_one(), held(await scene.world.store.now()))
        assert (await scene.world.row())["s"] == Stage.WAITING
        people = scene.world.store.people
        stops = [one async for one in people.suspected()]
        assert await people.decide_suspected(stops, decision, ["page", "shop"]) == [1]
        assert (await scene.world.claim_one()).message_id == "m1"
        assert await standings(scene) == expected
        assert (await known_of(scene)).suspected_at is None
        last = (await people.consents(ANNA))[-1]
        if decision != "dismiss":
            assert (last["source"], last["evidence"], last["granted"]) == (
                "suspected",
                "SM" + "b" * 32,
                False,
            )
        assert await people.decide_suspected(stops, decision, []) == [None]
        assert await people.decide_suspected([], decision, []) == []
        assert (
            await scene.world.count(
                f"suspected:{'dismissed' if decision == 'dismiss' else 'confirmed'}"
            )
            == 1
        )


@pytest.mark.asyncio
async def test_a_decision_whose_answer_was_lost_gives_the_same_answer(store: Place) -> None:
    """A decision that is repeated under its request id returns the same answer and changes
    nothing.
    """
    async with gateway_at(store) as scene:
        await scene.twilio.inbound("leave me alone")
        people, calls = scene.world.store.people, scene.world.calls
        [stop] = [one async for one in people.suspected()]
        asked = {
            "decision": "marketing",
            "senders": ["shop"],
            "stops": [(stop.person_digest, stop.account)],
        }
        args: list[Argument] = ["request", compact(asked)]
        assert await calls.run_durably(_SUSPECTED, args) == [0]
        before = await scene.world.contents()
        assert await calls.run_durably(_SUSPECTED, args) == [0]
        assert await scene.world.contents() == before


@pytest.mark.asyncio
async def test_many_are_listed_page_by_page_oldest_first(store: Place) -> None:
    """A long list shows each case once, page by page, oldest first."""
    async with gateway_at(store) as scene:
        for number in range(103):
            await scene.twilio.inbound(
                "leave me alone", From=whatsapp(number), MessageSid=sid(number)
            )
        stops = [one async for one in scene.world.store.people.suspected()]
        assert sorted(one.message_sid for one in stops) == [sid(number) for number in range(103)]
        assert [one.since for one in stops] == sorted(one.since for one in stops)
        assert (await scene.world.store.records.depths())["suspected_stops"] == 103

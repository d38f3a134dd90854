"""Inbound messages over real sockets and a real store: windows, keywords, and held answers to a
STOP.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from policies.facts import PersonFact
from sendwindow.vocabulary import Stage
from tests.support.cast import ANNA, OTHER_ACCOUNT_SID, PAGE, sid
from tests.support.clocks import Clock
from tests.support.gateway_world import (
    OTHER_TOKEN,
    Between,
    Scene,
    gateway_at,
    inbound_form,
    journal_lines,
)
from tests.support.stores_world import WAITS, Place, accepted
from tests.support.waiting import HANG_SECONDS, until
from worker.gateway import inbound_endpoint, stop_barrier
from worker.gateway.stop_barrier import wait_for_permits
from worker.ports.people import ConsentEntry
from worker.stores.ledger import Tuning
from worker.stores.store import Store

LASTING = Tuning(permit=timedelta(minutes=1))
"""Permits that outlast a test on any machine."""

EMPTY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


async def known_of(scene: Scene, address: str = ANNA, sender: str = "shop") -> PersonFact:
    """Return what a decision would see of a person now."""
    return (await scene.world.store.people.facts(address, sender, "main", None)).person


async def stop_is_stored(scene: Scene) -> None:
    """Wait until a stop is in the store, answered or not."""
    await until(
        lambda: known_of(scene), "a stop in the store", holds=lambda person: person.consents
    )


@pytest.mark.asyncio
async def test_a_message_opens_the_window_before_the_answer(store: Place) -> None:
    """An inbound message opens the session window, and the answer is TwiML that sends nothing.

    Only something that the person does opens it.
    """
    async with gateway_at(store) as scene:
        assert (await known_of(scene)).last_inbound_at is None
        assert await scene.twilio.inbound("hello") == (200, EMPTY)
        assert (await known_of(scene)).last_inbound_at is not None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "known, delivered",
    [
        ("whatsapp:+5511995550123", "whatsapp:+551195550123"),
        ("whatsapp:+525555550123", "whatsapp:+5215555550123"),
        ("whatsapp:+541155550123", "whatsapp:+5491155550123"),
        ("whatsapp:+4407700900124", "whatsapp:+447700900124"),
        # No entry of the data has this spelling, so only the WaId joins it.
        ("whatsapp:+2290161234567", "whatsapp:+22961234567"),
    ],
)
async def test_a_person_is_one_under_every_spelling(
    store: Place, known: str, delivered: str
) -> None:
    """A window and a STOP count for both spellings, if the backend uses one and Twilio the
    other.
    """
    wa_id = {"WaId": known.partition("+")[2]} if known.startswith("whatsapp:+229") else {}
    async with gateway_at(store) as scene:
        assert (await known_of(scene, known)).last_inbound_at is None
        await scene.twilio.inbound("Hi", From=delivered, **wa_id)
        assert (await known_of(scene, known)).last_inbound_at is not None
        await scene.twilio.inbound("STOP", MessageSid=sid(2), From=delivered)
        for address in (known, delivered):
            assert [one.granted for one in (await known_of(scene, address)).consents] == [False]
        await scene.world.later(seconds=1)
        await scene.twilio.inbound("YES", MessageSid=sid(3), From=known)
        for address in (known, delivered):
            assert not any(not one.granted for one in (await known_of(scene, address)).consents)


@pytest.mark.asyncio
@pytest.mark.parametrize("wa_id", ["", "+", "not a number", "14155550999", "0", "1" * 40, "US.abc"])
async def test_a_wa_id_that_is_no_other_spelling_joins_nothing(store: Place, wa_id: str) -> None:
    """A WaId that is not another spelling of the sender's number joins no other person to the
    message. That covers garbage and numbers with a different ending.
    """
    async with gateway_at(store) as scene:
        assert (await scene.twilio.inbound("STOP", WaId=wa_id))[0] == 200
        assert (await known_of(scene)).consents
        assert not (await known_of(scene, "whatsapp:+14155550198")).consents


@pytest.mark.asyncio
async def test_the_window_is_that_of_the_sender_written_to(store: Place) -> None:
    """`To` names the sender; another sender's window stays closed."""
    async with gateway_at(store) as scene:
        await scene.twilio.inbound(From="messenger:77", To=PAGE)
        assert (await known_of(scene, "messenger:77", "page")).last_inbound_at is not None
        assert (await known_of(scene, "messenger:77", "shop")).last_inbound_at is None


@pytest.mark.asyncio
async def test_a_repeated_message_counts_once(store: Place) -> None:
    """A message that Twilio delivers again changes nothing."""
    async with gateway_at(store) as scene:
        await scene.twilio.inbound("STOP", MessageSid=sid(1))
        await scene.world.later(seconds=1)
        await scene.twilio.inbound("START", MessageSid=sid(2))
        before = await scene.world.contents()
        assert await scene.twilio.inbound("STOP", MessageSid=sid(1)) == (200, EMPTY)
        assert await scene.world.contents() == before
        assert not (await known_of(scene)).consents


@pytest.mark.asyncio
async def test_a_waiting_message_is_released(store: Place) -> None:
    """A message that waits for the person goes back to its lane when the person writes."""
    async with gateway_at(store) as scene:
        await scene.world.enqueue()
        await scene.world.settle(await scene.world.claim_one(), WAITS)
        assert (await scene.world.row())["s"] == Stage.WAITING
        await scene.twilio.inbound("hello")
        assert (await scene.world.claim_one()).message_id == "m1"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "words",
    [
        {"body": "STOP"},
        {"body": " stop. "},
        {"body": "Unsubscribe"},
        {"body": "please end this", "OptOutType": "STOP"},
        {"body": "", "ButtonText": "Stop"},
        {"body": "Arrêt"},
    ],
)
async def test_a_stop_is_recorded_however_it_is_said(store: Place, words: dict[str, str]) -> None:
    """A whole message that is a stop word, or Twilio's own verdict, withdraws consent."""
    async with gateway_at(store) as scene:
        await scene.twilio.inbound(**words)
        assert [one.granted for one in (await known_of(scene)).consents] == [False]


@pytest.mark.asyncio
async def test_a_stop_inside_a_sentence_is_none(store: Place) -> None:
    """Only the whole message counts (Twilio, Advanced Opt-Out)."""
    async with gateway_at(store) as scene:
        await scene.twilio.inbound("when does the bus stop")
        assert not (await known_of(scene)).consents


@pytest.mark.asyncio
async def test_yes_counts_only_from_someone_who_stopped(store: Place) -> None:
    """YES is an ordinary answer; after a stop it starts again."""
    async with gateway_at(store) as scene:
        await scene.twilio.inbound("yes", MessageSid=sid(1))
        await scene.twilio.inbound("STOP", MessageSid=sid(2))
        await scene.world.later(seconds=1)
        await scene.twilio.inbound("Yes!", MessageSid=sid(3))
        lines = [line for line in scene.lines if line["event"] == "inbound"]
        assert [(line["keyword"], line["opted"]) for line in lines] == [
            (None, None),
            ("stop", "stop"),
            ("start", "start"),
        ]
        assert not (await known_of(scene)).consents


@pytest.mark.asyncio
async def test_yes_from_someone_who_granted_everything_again_is_an_ordinary_answer(
    store: Place,
) -> None:
    """A YES after a later full grant is an ordinary answer: it grants no marketing that a STOP
    ended.
    """
    async with gateway_at(store) as scene:
        people, grant = scene.world.store.people, ConsentEntry(True, "main", None, None, "form")
        await people.record_consent(ANNA, replace(grant, purpose="marketing"))
        await scene.twilio.inbound("STOP", MessageSid=sid(1))
        await scene.world.later(seconds=1)
        assert await people.record_consent(ANNA, grant, after_stop=True) == "recorded"
        await scene.world.later(seconds=1)
        await scene.twilio.inbound("Yes", MessageSid=sid(2))
        lines = [line for line in scene.lines if line["event"] == "inbound"]
        assert [line["keyword"] for line in lines] == ["stop", None]


@pytest.mark.asyncio
async def test_a_stop_to_an_address_without_a_sender_still_counts(store: Place) -> None:
    """A STOP to an address without a sender is stored for the account, and the log tells the
    operator.
    """
    async with gateway_at(store) as scene:
        assert (await scene.twilio.inbound("STOP", To="whatsapp:+14155550199", MessageSid=sid(1)))[
            0
        ] == 200
        assert [one.granted for one in (await known_of(scene)).consents] == [False]
        await scene.world.later(seconds=1)
        assert (await scene.twilio.inbound("START", To="whatsapp:+14155550199", MessageSid=sid(2)))[
            0
        ] == 200
        assert [one.granted for one in (await known_of(scene)).consents] == [False]
        assert scene.logged_events().count("unknown_sender") == 2
        assert (
            b'refused_requests_total{endpoint="inbound",reason="unknown_sender"} 2.0'
            in scene.metrics.render()
        )


@pytest.mark.asyncio
async def test_a_sender_of_another_account_is_not_found(store: Place) -> None:
    """An inbound to a sender of another account opens no window: the account that signed counts."""
    async with gateway_at(store) as scene:
        form = inbound_form(AccountSid=OTHER_ACCOUNT_SID)
        assert (await scene.twilio.post("/twilio/inbound", form, token=OTHER_TOKEN))[0] == 200
        assert (await known_of(scene)).last_inbound_at is None
        assert "unknown_sender" in scene.logged_events()


@pytest.mark.asyncio
@pytest.mark.parametrize("address", ["rcs:agent_1", "32665", "whatsapp:", "nobody"])
async def test_what_is_no_person_is_answered_and_not_stored(store: Place, address: str) -> None:
    """A short code or an unsupported channel is answered with 200 but not stored.

    It is no person, and Twilio must not repeat the request.
    """
    async with gateway_at(store) as scene:
        before = await scene.world.contents()
        assert (await scene.twilio.inbound("STOP", From=address))[0] == 200
        assert await scene.world.contents() == before
        assert scene.logged_events() == ["inbound_not_a_person"]


@pytest.mark.asyncio
async def test_what_is_not_stored_is_journalled_as_ignored(store: Place, tmp_path: Path) -> None:
    """An ignored inbound message is journaled without an address, so that `verify` learns the
    reason.
    """
    journal = tmp_path / "journal"
    async with gateway_at(store, journal=journal) as scene:
        assert (await scene.twilio.inbound("hi", From="rcs:agent_1", MessageSid=sid(1)))[0] == 200
    (line,) = journal_lines(journal)
    assert (line["e"], line["sid"], line["ignored"], line["account"]) == (
        "inbound",
        sid(1),
        "not_a_person",
        "main",
    )
    assert "agent_1" not in journal.read_text()


@pytest.mark.asyncio
async def test_nothing_personal_is_logged_or_counted(store: Place, tmp_path: Path) -> None:
    """Texts, names and addresses stay out of logs, metrics and journals; a person is a label."""
    journal = tmp_path / "journal"
    async with gateway_at(store, journal=journal) as scene:
        await scene.twilio.inbound("my secret wish")
        everything = scene.logged.getvalue() + scene.metrics.render().decode() + journal.read_text()
        for personal in ("my secret wish", "Anna", "14155550123"):
            assert personal not in everything
        assert len(scene.lines[0]["person"]) == 16
    (line,) = journal_lines(journal)
    assert (line["e"], line["keyword"], line["opted"]) == ("inbound", None, None)


@pytest.mark.asyncio
async def test_a_stop_is_answered_only_when_no_post_can_start(store: Place) -> None:
    """The answer to a STOP waits until open permits for that person are settled."""
    async with gateway_at(store, tuning=LASTING) as scene:
        claimed = await scene.world.post()
        stop = asyncio.create_task(scene.twilio.inbound("STOP"))
        await stop_is_stored(scene)
        assert not stop.done()
        await scene.world.settle(claimed, accepted())
        assert await asyncio.wait_for(stop, HANG_SECONDS) == (200, EMPTY)
        assert await scene.world.store.people.permits_left_ms(claimed.facts.person_digest) == 0
        assert "opt_out_overlap" not in scene.logged_events()


@pytest.mark.asyncio
async def test_a_stop_waits_for_a_permit_to_lapse(store: Place) -> None:
    """An attempt that is never settled holds the answer until its permit lapses, seconds later."""
    async with gateway_at(store) as scene:
        claimed = await scene.world.post()
        assert await asyncio.wait_for(scene.twilio.inbound("STOP"), HANG_SECONDS) == (200, EMPTY)
        assert await scene.world.store.people.permits_left_ms(claimed.facts.person_digest) < 0
        assert "opt_out_overlap" not in scene.logged_events()


@pytest.mark.asyncio
async def test_a_stop_waits_though_the_stores_clock_says_that_the_permit_lapsed(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store's clock jumps ahead, a permit is open until its settlement or its end by our
    clock.
    """
    monkeypatch.setattr(stop_barrier, "PERMIT_SECONDS", 3600.0)
    monkeypatch.setattr(inbound_endpoint, "MAX_SECONDS", 3600.0)
    async with gateway_at(store) as scene:
        claimed = await scene.world.post()
        await scene.world.later(hours=1)
        stop = asyncio.create_task(scene.twilio.inbound("STOP"))
        await stop_is_stored(scene)
        repeated = asyncio.create_task(scene.twilio.inbound("STOP"))
        asked = scene.world.store.people.permits_left_ms
        assert await asked(claimed.facts.person_digest) < 0
        assert not stop.done()
        assert not repeated.done()
        await scene.world.settle(claimed, accepted())
        assert await asyncio.wait_for(stop, HANG_SECONDS) == (200, EMPTY)
        assert await asyncio.wait_for(repeated, HANG_SECONDS) == (200, EMPTY)


@pytest.mark.parametrize(
    "left_ms, ends_at, answer",
    [
        pytest.param(-3_600_000, 2.0, 0, id="the store's clock jumped ahead"),
        pytest.param(1, 2.0, 0, id="and while it waited"),
        pytest.param(3_600_000, 5.0, 3_600_000, id="the store's clock stepped back"),
        pytest.param(0, 0.0, 0, id="settled"),
    ],
)
@pytest.mark.asyncio
async def test_a_permits_time_is_waited_for_by_the_gateways_own_clock(
    left_ms: int, ends_at: float, answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seconds after a STOP was stored no older permit is open, whatever the store's clock
    does.
    """
    clock = Clock(monkeypatch, stop_barrier, now=0.0)

    class Unsettled:
        async def permits_left_ms(self, digest: str) -> int:
            return left_ms if left_ms != 1 else -3_600_000

    left = await wait_for_permits(Unsettled(), "digest", left_ms, longest=5.0, sleep=clock.sleep)  # type: ignore[arg-type]  # the one call it makes
    assert (left, round(clock.now, 3)) == (answer, ends_at)


@pytest.mark.asyncio
async def test_an_ordinary_message_is_not_held(store: Place) -> None:
    """Only a stop waits for open permits."""
    async with gateway_at(store, tuning=LASTING) as scene:
        claimed = await scene.world.post()
        assert await scene.twilio.inbound("hello") == (200, EMPTY)
        assert await scene.world.store.people.permits_left_ms(claimed.facts.person_digest) > 0


class StillOpen:
    """A store in which a permit never ends."""

    async def permits_left_ms(self, digest: str) -> int:
        return 900


@pytest.mark.asyncio
async def test_the_wait_ends_even_if_a_permit_does_not() -> None:
    """The answer goes after 5 s even if a permit is open, and the permit is reported.

    Twilio waits 15 s at most.
    """
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(seconds)

    people = StillOpen()
    left = await wait_for_permits(people, "digest", 900, longest=0.06, sleep=sleep)  # type: ignore[arg-type]  # the one call it makes
    assert left == 900
    assert slept
    assert max(slept) <= 0.025


@pytest.mark.asyncio
async def test_a_stop_that_overlaps_is_named(store: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a POST may still be open at the answer, a log line and a metric say so, without naming the
    person.
    """
    monkeypatch.setattr(inbound_endpoint, "MAX_SECONDS", 0.05)

    def wrap(real: Store) -> Between:
        between = Between(real)
        monkeypatch.setattr(between.people, "permits_left_ms", StillOpen().permits_left_ms)
        return between

    async with gateway_at(store, tuning=LASTING, wrap=wrap) as scene:
        await scene.world.post()
        assert (await scene.twilio.inbound("STOP"))[0] == 200
        (line,) = [line for line in scene.lines if line["event"] == "opt_out_overlap"]
        assert line["left_ms"] == 900
        assert b"sendwindow_opt_out_overlaps_total 1.0" in scene.metrics.render()


@pytest.mark.asyncio
async def test_a_repeated_stop_waits_too(store: Place) -> None:
    """A repeated STOP waits as well, so that no POST starts after its answer."""
    async with gateway_at(store, tuning=LASTING) as scene:
        claimed = await scene.world.post()
        first = asyncio.create_task(scene.twilio.inbound("STOP"))
        second = asyncio.create_task(scene.twilio.inbound("STOP"))
        await stop_is_stored(scene)
        assert not first.done()
        assert not second.done()
        await scene.world.settle(claimed, accepted())
        assert [await asyncio.wait_for(answer, HANG_SECONDS) for answer in (first, second)] == [
            (200, EMPTY),
            (200, EMPTY),
        ]

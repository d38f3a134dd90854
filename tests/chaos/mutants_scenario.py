"""A short life of the whole service: every form, channel, stop and fault, two kills, a frozen
worker.

The same seed makes the same people, messages and faults. The expected end of each message is
written next to it, so that a scenario that no longer plays something is noticed before it judges a
mutant.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from sandbox.faults import Action, FaultRule, Match
from sendwindow.timestamps import to_ms
from sendwindow.vocabulary import OnUnknown, Purpose
from tests.chaos.mutants_cast import BODY, KINDS, TEMPLATE, Kind, sandbox_for, settings_for
from tests.chaos.mutants_cast import OFFER_WORDS as OFFER
from tests.chaos.mutants_players import ORDINARY, Players
from tests.chaos.mutants_rig import Rig, Runaway, rigged
from tests.support.stores_world import Place
from verify.judge import verify
from verify.judge_context import Options
from verify.report import Report

REPEATS: Final = 2
HOUR_MS: Final = 3_600_000
CALLBACK_FAULTS: Final = (Action.CALLBACK_DOUBLED, Action.CALLBACK_REORDERED, Action.CALLBACK_FIRST)


@dataclass(slots=True)
class Outcome:
    """The result of a run. `unexpected`: message → (expected end, stage found)."""

    report: Report
    unexpected: dict[str, tuple[str, str]]
    came_to_rest: bool


class Scenario:
    """The acts, in order. Every act leaves the service at rest."""

    def __init__(self, rig: Rig, players: Players) -> None:
        self._rig = rig
        self._players = players
        self._cast = [
            (f"{kind.name}-{number}", kind) for kind in KINDS for number in range(REPEATS)
        ]

    async def play(self) -> bool:
        """Play all acts. Returns False if a mutant never came to rest."""
        acts = (
            self._meet,
            self._traffic,
            self._tag_unproven,
            self._tag_dies,
            self._not_yet,
            self._address_unusable,
            self._failed_too_early,
            self._blocked,
            self._marketing_refused,
            self._stop_before_admission,
            self._stop_before_post,
            self._stop_while_a_clock_jumps,
            self._stop_before_the_first_byte,
            self._worker_killed,
            self._worker_frozen,
            self._gateway_killed,
            self._outcomes_unknown,
            self._called_failed,
            self._come_to_rest,
            self._letter_cancelled,
        )
        try:
            for act in acts:
                await act()
        except Runaway:
            return False
        return True

    # -- acts ------------------------------------------------------------------------------------

    async def _meet(self) -> None:
        """Some write, a day passes, others write, and some stop."""
        await self._rig.start_gateway("gateway-a")
        for name, kind in self._cast:
            if kind.consents != "no":
                await self._players.consent(name, kind)
        before = [(name, kind.sender) for name, kind in self._cast if kind.wrote == "before"]
        await asyncio.gather(
            *(self._players.write(name, "Hello", sender=sender) for name, sender in before)
        )
        for name, sender in (
            ("tag-1", "board"),
            ("tag-2", "board"),
            ("risk-1", "stall"),
            ("risk-2", "stall"),
        ):
            await self._players.write(name, "Hello", sender=sender)
        await self._players.write("frozen", "Hello")
        await self._rig.later(hours=5)
        for name in (name for name, kind in self._cast if kind.wrote == "today"):
            await self._players.write(name, "Hello")
        await self._rig.later(hours=20)
        now = [(name, kind) for name, kind in self._cast if kind.wrote == "now"]
        says = (
            self._players.write(name, "Hello", *kind.then, sender=kind.sender) for name, kind in now
        )
        await asyncio.gather(*says)

    async def _traffic(self) -> None:
        """Messages of every kind are queued twice, while callbacks come twice, reordered and
        before the reply.
        """
        rig, send = self._rig, self._players.send
        for action in CALLBACK_FAULTS:
            rig.sandbox.faults.add(FaultRule(action=action, match=Match(probability=0.3)))
        await rig.start_worker("worker-a")
        self._players.chance.shuffle(self._cast)
        for name, kind in self._cast:
            await send(name, kind)
        await send(
            "cancelled", ORDINARY, "cancelled", not_before=datetime.now(UTC) + timedelta(days=3)
        )
        await rig.producer.cancel("cancelled")
        await rig.rest()
        await self._players.dismiss_suspected()
        await rig.rest()
        waiting = [name for name, kind in self._cast if kind.name == "waits"]
        await asyncio.gather(*(self._players.write(name, "Here I am") for name in waiting))
        for name, kind in self._cast:
            if kind.name in {"open", "closed"}:
                await send(name, kind)
        await rig.rest()
        await rig.later(seconds=61)  # what waited for an unproven tag
        await rig.tick()
        await rig.rest()
        rig.sandbox.faults.clear()

    async def _tag_unproven(self) -> None:
        """The first tagged message of a Page gets no status.

        The second waits until the tag is dead.
        """
        kind = Kind("risk", "", "stall", wrote="before", purpose=Purpose.ACCOUNT_UPDATE, says=BODY)
        self._players.trouble("callback_lost", "risk-1", "stall")
        for name, end in (("risk-1", "accepted"), ("risk-2", "refused")):
            await self._players.meet(name, end, kind)
            await self._rig.rest()

    async def _not_yet(self) -> None:
        """A message is due in twenty minutes."""
        await self._players.write("early", "Hello")
        await self._players.consent("early", ORDINARY)
        begins = datetime.now(UTC) + self._rig.offset + timedelta(minutes=20)
        await self._players.send("early", ORDINARY, not_before=begins)
        await self._rig.rest()

    async def _address_unusable(self) -> None:
        """The provider calls an address unusable.

        The next message to it comes ten seconds later.
        """
        self._players.trouble("reject", "gone", code=63024)
        await self._players.meet("gone", "failed")
        await self._rig.rest()
        await self._rig.later(seconds=10)
        self._players.share_address("gone", "gone-again")
        await self._players.send("gone-again", ORDINARY, "refused")
        await self._rig.rest()
        await self._rig.later(seconds=10)
        self._players.share_address("gone", "gone-back")
        await self._players.write("gone-back", "Hello again")
        await self._players.send("gone-back", ORDINARY, "accepted")
        await self._rig.rest()

    async def _failed_too_early(self) -> None:
        """An address is called unusable for a message that arrives after all.

        The next message to it goes out.
        """
        names = [f"early-{number}" for number in range(REPEATS + 1)]
        for name in names:
            self._players.trouble("fail", name, code=63024, then="delivered")
            await self._players.meet(name, "accepted", Kind(name, "accepted", says=TEMPLATE))
        await self._rig.rest()
        await self._rig.later(seconds=10)
        for name in names:
            self._players.share_address(name, f"{name}-next")
            await self._players.send(f"{name}-next", Kind(name, "accepted", says=TEMPLATE))
        await self._rig.rest()

    async def _blocked(self) -> None:
        """The provider says that a person blocked us. The person writes and gets messages again."""
        await self._one_after_the_other(
            Kind("blocked", "accepted", says=TEMPLATE),
            Kind("blocked-still", "refused", says=TEMPLATE),
            code=63014,
            status="undelivered",
        )
        await self._players.write("blocked", "Hello again")
        self._players.share_address("blocked", "blocked-back")
        await self._players.send("blocked-back", Kind("back", "accepted", says=TEMPLATE))
        await self._rig.rest()

    async def _marketing_refused(self) -> None:
        """After a refused or capped marketing template no other one goes; other purposes do."""
        offer = Kind("", "", purpose=Purpose.MARKETING, says=OFFER)
        for name, code in (("unwanted", 63033), ("capped", 63049)):
            await self._one_after_the_other(
                replace(offer, name=name, end="accepted"),
                replace(offer, name=f"{name}-offer", end="refused"),
                code=code,
            )
            self._players.share_address(name, f"{name}-order")
            await self._players.send(f"{name}-order", Kind("order", "accepted", says=TEMPLATE))
            await self._rig.rest()

    async def _one_after_the_other(self, first: Kind, second: Kind, **failure: Any) -> None:
        """A message fails after acceptance, and ten seconds later another one goes to the same
        person.
        """
        self._players.trouble("fail", first.name, **failure)
        await self._players.meet(first.name, first.end, first)
        await self._rig.rest()
        await self._rig.later(seconds=10)
        self._players.share_address(first.name, second.name)
        await self._players.send(second.name, second)
        await self._rig.rest()

    async def _tag_dies(self) -> None:
        """Meta ends ACCOUNT_UPDATE: one message a Page is risked, and no second one."""
        self._rig.sandbox.settings.account_update = "dead"
        kind = Kind(
            "tag", "refused", "board", wrote="before", purpose=Purpose.ACCOUNT_UPDATE, says=BODY
        )
        for name in ("tag-1", "tag-2"):
            await self._players.meet(name, "refused", kind)
            await self._rig.rest()

    async def _stop_before_admission(self) -> None:
        """A stop arrives between decision and admission."""
        gate = self._rig.gates.hold("admit", "stale")
        await self._players.meet("stale", "refused")
        await self._rig.rest(unless=gate.reached)
        await self._players.write("stale", "STOP")
        gate.open()
        await self._rig.rest()

    async def _stop_before_post(self) -> None:
        """A stop arrives between permit and POST.

        The POST begins once the stop is answered or known to be held.
        """
        rig, sid = self._rig, "SM" + "5" * 32
        gate = rig.gates.hold("post", "raced")
        await self._players.meet("raced", "failed")
        await rig.rest(unless=gate.reached)
        stopping = asyncio.create_task(self._players.write("raced", "STOP", sid=sid))
        await rig.until(lambda: "permits" in rig.steps or rig.seen("said_acked", sid=sid))
        gate.open()
        await stopping
        await rig.rest()

    async def _stop_while_a_clock_jumps(self) -> None:
        """As above, while by the store's clock the permit has lapsed, and by the worker's it has
        not.
        """
        rig, sid = self._rig, "SM" + "6" * 32
        gate = rig.gates.hold("post", "jumped")
        rig.stand_still()
        await self._players.meet("jumped", "failed")
        await rig.rest(unless=gate.reached)
        await rig.later(seconds=3)
        rig.steps.discard("permits")
        stopping = asyncio.create_task(self._players.write("jumped", "STOP", sid=sid))
        await rig.until(lambda: "permits" in rig.steps or rig.seen("said_acked", sid=sid))
        gate.open()
        await stopping
        rig.go_on()
        await rig.rest()

    async def _stop_before_the_first_byte(self) -> None:
        """A POST waits for a connection until its permit has lapsed and a stop is answered."""
        rig, sid = self._rig, "SM" + "7" * 32
        gate = rig.gates.hold("connect", "worker-a")
        rig.stand_still()
        await self._players.meet("stalled", "refused")
        await rig.rest(unless=gate.reached)
        rig.steps.discard("permits")
        stopping = asyncio.create_task(self._players.write("stalled", "STOP", sid=sid))
        await rig.until(lambda: "permits" in rig.steps or rig.seen("said_acked", sid=sid))
        await rig.later(seconds=3)
        rig.jump(3)
        await stopping
        gate.open()
        await rig.until(lambda: rig.seen("replied", id="stalled"))
        rig.go_on()
        await rig.rest()
        await rig.later(seconds=1)
        await rig.tick()
        await rig.rest()

    async def _worker_killed(self) -> None:
        """A worker dies with one claimed message, one that the provider took and one on its way
        there.
        """
        rig = self._rig
        gate = rig.gates.hold("admit", "claimed")
        self._players.trouble("accept_hang", "taken")
        self._players.trouble("callback_lost", "taken")
        self._players.trouble("hang", "phone-lost")
        for name in ("taken", "phone-lost"):
            await self._players.meet(name, on_unknown=OnUnknown.RESEND_IF_ABSENT)
        await rig.until(
            lambda: all(
                rig.seen("post", fault=fault) for fault in ("accept_hang,callback_lost", "hang")
            )
        )
        await self._players.meet("claimed")
        await rig.rest(unless=gate.reached)
        await rig.kill("worker-a")
        gate.open()
        await rig.later(seconds=16)
        await rig.start_worker("worker-b")
        await rig.tick()
        await rig.rest()

    async def _worker_frozen(self) -> None:
        """A worker stands still before it records a refusal.

        Another one takes over, the person writes, and the first one wakes.
        """
        rig = self._rig
        kind = Kind("frozen", "accepted", wrote="before", says=BODY)
        refusal = rig.gates.hold("settle", "worker-b/frozen")
        await self._players.meet("frozen", kind=kind)
        await rig.rest(unless=refusal.reached)
        claiming = rig.gates.hold("claim", "worker-b")
        await rig.later(seconds=16)
        await self._players.write("frozen", "Hello again")
        posting = rig.gates.hold("post", "frozen")
        await rig.start_worker("worker-c")
        await rig.tick("worker-c")
        await rig.rest(unless=posting.reached)
        refusal.open()
        await rig.until(lambda: rig.seen("settled", id="frozen", who="worker-b"))
        posting.open()
        claiming.open()
        await rig.rest()

    async def _gateway_killed(self) -> None:
        """The gateway dies while it stores a callback, and the provider repeats it to the next
        gateway.
        """
        rig = self._rig
        gate = rig.gates.hold("status", "told")
        await self._players.meet("told")
        await rig.rest(unless=gate.reached)
        await rig.visit_gateway("gateway-a")
        await rig.kill("gateway-a")
        gate.open()
        await rig.start_gateway("gateway-b")
        await rig.rest()

    async def _outcomes_unknown(self) -> None:
        """POSTs end without proof, each with its own rule and evidence."""
        trouble, meet, absent = (
            self._players.trouble,
            self._players.meet,
            OnUnknown.RESEND_IF_ABSENT,
        )
        trouble("accept_reset", "by-callback")
        trouble("accept_garbage", "by-callback-too")
        trouble("unavailable", "phone-absent")
        trouble("unavailable", "id-absent")
        trouble("fail", "failing", code=63012)
        trouble("rate_limited", "slowed", retry_after=1)
        for name, sender in (
            ("by-list", "shop"),
            ("resent", "shop"),
            ("given-up", "shop"),
            ("held", "text"),
        ):
            trouble("accept_unavailable", name, sender)
            trouble("callback_lost", name, sender)
            if name != "by-list":
                trouble("list_lag", name, sender, delay_ms=HOUR_MS)
        # The only message of its sender: nothing else shows whether that list can be trusted.
        await meet("held", "unresolved", Kind("text", "", "text", wrote="now", says=BODY), absent)
        await meet("given-up", "dead", on_unknown=OnUnknown.NEVER)
        await meet("resent", on_unknown=OnUnknown.RESEND)
        await meet("phone-absent", on_unknown=absent)
        # Its list may show it under the phone behind the user id, so silence there proves nothing.
        await meet("id-absent", "unresolved", on_unknown=absent)
        for name in ("by-callback", "by-callback-too", "by-list"):
            await meet(name, on_unknown=OnUnknown.HOLD)
        await self._twins()
        await self._templates_unread()
        await meet("failing")
        await self._rig.rest()
        # Lists date messages to the second, so a witness must be from a later second.
        await self._rig.later(seconds=1)
        await meet("phone-witness")
        await self._rig.rest()
        # This is last, because the provider's "slow down" stops the whole account for a second.
        await meet("slowed")
        await self._rig.rest()

    async def _twins(self) -> None:
        """The same text goes twice to one person.

        The provider takes the second, and its list cannot tell them apart.
        """
        for name, action in (
            ("twin-a", "unavailable"),
            ("twin-b", "accept_unavailable"),
            ("twin-b", "callback_lost"),
        ):
            self._rig.sandbox.faults.add(
                FaultRule(action=Action(action), match=Match(id=name), times=1)
            )
        self._players.share_address("twin-a", "twin-b")
        for name in ("twin-a", "twin-b"):
            await self._players.meet(name, "unresolved", on_unknown=OnUnknown.RESEND_IF_ABSENT)
            await self._rig.rest()

    async def _templates_unread(self) -> None:
        """Of two templates with unknown text one was taken.

        For the other the list has a stranger's row.
        """
        kind = Kind("letter", "unresolved", says=TEMPLATE)
        for name, action in (
            ("phone-unread", "accept_unavailable"),
            ("phone-agent", "unavailable"),
        ):
            self._rig.sandbox.faults.add(
                FaultRule(action=Action(action), match=Match(id=name), times=1)
            )
            self._players.trouble("callback_lost", name)
            await self._players.meet(name, "unresolved", kind, OnUnknown.RESEND_IF_ABSENT)
            await self._rig.rest()
        self._players.answer_by_hand("phone-agent", "An agent here, how can I help?")

    async def _called_failed(self) -> None:
        """Twilio reports failures: one message arrives after all, one may go only once, one is a
        template.
        """
        self._players.trouble("fail", "mistaken", code=63012, then="delivered")
        self._players.trouble("fail", "once", code=63012)
        self._players.trouble("reject", "unneeded", code=63016)
        await self._players.meet("mistaken")
        await self._players.meet("once", on_unknown=OnUnknown.NEVER)
        await self._players.meet("unneeded", "failed", Kind("unneeded", "failed", says=TEMPLATE))
        await self._rig.rest()

    async def _letter_cancelled(self) -> None:
        """A producer cancels a dead letter, and an operator who does not know it replays it."""
        rig, name = self._rig, "given-up"
        await rig.producer.cancel(name)
        rig.journal.write("cancel_asked", id=name)
        asked_at, expires_at = rig.journal.now(), await rig.store.now() + timedelta(hours=1)
        [word] = await rig.store.records.replay([name], expires_at, even_if_sent=True)
        if word == "replayed":
            rig.journal.write("replayed", id=name, t=asked_at, expires=to_ms(expires_at))
        await rig.rest()

    async def _come_to_rest(self) -> None:
        """Let half an hour pass."""
        for step in (20, 20, 700, 120, 1000):
            await self._rig.later(seconds=step)
            await self._rig.tick()
            await self._rig.rest()


async def play(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Outcome:
    """Play the scenario with the service as it is patched, and let `verify` judge the journals."""
    folder.mkdir()
    sandbox = sandbox_for(folder, seed)
    async with rigged(
        place, folder, monkeypatch, sandbox, lambda url: settings_for(place, url)
    ) as rig:
        players = Players(rig, seed)
        came_to_rest = await Scenario(rig, players).play()
        unexpected = await players.compare()
    report = verify(sorted(folder.glob("*.jsonl")), Options(open_allowed=frozenset({"unresolved"})))
    return Outcome(report, unexpected, came_to_rest)

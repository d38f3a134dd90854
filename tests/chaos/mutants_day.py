"""An ordinary day: every kind of message and person, and what is due later."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from sandbox.faults import Action, FaultRule, Match
from sendwindow.vocabulary import Purpose
from tests.chaos.mutants_acts import REPEATS, Acts
from tests.chaos.mutants_cast import BODY, KINDS, Kind
from tests.chaos.mutants_players import ORDINARY, Players
from tests.chaos.mutants_rig import Rig

CALLBACK_FAULTS: Final = (Action.CALLBACK_DOUBLED, Action.CALLBACK_REORDERED, Action.CALLBACK_FIRST)


class Day(Acts):
    """The day's acts, in order."""

    def __init__(self, rig: Rig, players: Players) -> None:
        super().__init__(rig, players)
        self.cast = [(f"{kind.name}-{number}", kind) for kind in KINDS for number in range(REPEATS)]

    async def meet(self) -> None:
        """Some write, a day passes, others write, and some stop."""
        await self.rig.start_gateway("gateway-a")
        for name, kind in self.cast:
            if kind.consents != "no":
                await self.players.consent(name, kind)
        before = [(name, kind.sender) for name, kind in self.cast if kind.wrote == "before"]
        await asyncio.gather(
            *(self.players.write(name, "Hello", sender=sender) for name, sender in before)
        )
        for name, sender in (
            ("tag-1", "board"),
            ("tag-2", "board"),
            ("risk-1", "stall"),
            ("risk-2", "stall"),
        ):
            await self.players.write(name, "Hello", sender=sender)
        await self.players.write("frozen", "Hello")
        await self.rig.later(hours=5)
        for name in (name for name, kind in self.cast if kind.wrote == "today"):
            await self.players.write(name, "Hello")
        await self.rig.later(hours=20)
        now = [(name, kind) for name, kind in self.cast if kind.wrote == "now"]
        says = (
            self.players.write(name, "Hello", *kind.then, sender=kind.sender) for name, kind in now
        )
        await asyncio.gather(*says)

    async def traffic(self) -> None:
        """Messages of every kind are queued twice, while callbacks come twice, reordered and
        before the reply.
        """
        rig, send = self.rig, self.players.send
        for action in CALLBACK_FAULTS:
            rig.sandbox.faults.add(FaultRule(action=action, match=Match(probability=0.3)))
        await rig.start_worker("worker-a")
        self.players.chance.shuffle(self.cast)
        for name, kind in self.cast:
            await send(name, kind)
        await send(
            "cancelled", ORDINARY, "cancelled", not_before=datetime.now(UTC) + timedelta(days=3)
        )
        await rig.producer.cancel("cancelled")
        await rig.rest()
        await self.players.dismiss_suspected()
        await rig.rest()
        waiting = [name for name, kind in self.cast if kind.name == "waits"]
        await asyncio.gather(*(self.players.write(name, "Here I am") for name in waiting))
        for name, kind in self.cast:
            if kind.name in {"open", "closed"}:
                await send(name, kind)
        await rig.rest()
        await rig.later(seconds=61)  # what waited for an unproven tag
        await rig.tick()
        await rig.rest()
        rig.sandbox.faults.clear()

    async def tag_unproven(self) -> None:
        """The first tagged message of a Page gets no status.

        The second waits until the tag is dead.
        """
        kind = Kind("risk", "", "stall", wrote="before", purpose=Purpose.ACCOUNT_UPDATE, says=BODY)
        self.players.trouble("callback_lost", "risk-1", "stall")
        for name, end in (("risk-1", "accepted"), ("risk-2", "refused")):
            await self.players.meet(name, end, kind)
            await self.rig.rest()

    async def tag_dies(self) -> None:
        """Meta ends ACCOUNT_UPDATE: one message a Page is risked, and no second one."""
        self.rig.sandbox.settings.account_update = "dead"
        kind = Kind(
            "tag", "refused", "board", wrote="before", purpose=Purpose.ACCOUNT_UPDATE, says=BODY
        )
        for name in ("tag-1", "tag-2"):
            await self.players.meet(name, "refused", kind)
            await self.rig.rest()

    async def not_yet(self) -> None:
        """A message is due in twenty minutes."""
        await self.players.write("early", "Hello")
        await self.players.consent("early", ORDINARY)
        begins = datetime.now(UTC) + self.rig.offset + timedelta(minutes=20)
        await self.players.send("early", ORDINARY, not_before=begins)
        await self.rig.rest()

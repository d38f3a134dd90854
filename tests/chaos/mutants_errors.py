"""What errors teach about a person, and what ends it."""

from dataclasses import replace

from sendwindow.vocabulary import OnUnknown, Purpose
from tests.chaos.mutants_acts import REPEATS, Acts
from tests.chaos.mutants_cast import OFFER_WORDS as OFFER
from tests.chaos.mutants_cast import TEMPLATE, Kind
from tests.chaos.mutants_players import ORDINARY


class Errors(Acts):
    """Messages that fail, and the next ones to the same persons."""

    async def address_unusable(self) -> None:
        """The provider calls an address unusable.

        The next message to it comes ten seconds later.
        """
        self.players.trouble("reject", "gone", code=63024)
        await self.players.meet("gone", "failed")
        await self.rig.rest()
        await self.rig.later(seconds=10)
        self.players.share_address("gone", "gone-again")
        await self.players.send("gone-again", ORDINARY, "refused")
        await self.rig.rest()
        await self.rig.later(seconds=10)
        self.players.share_address("gone", "gone-back")
        await self.players.write("gone-back", "Hello again")
        await self.players.send("gone-back", ORDINARY, "accepted")
        await self.rig.rest()

    async def failed_too_early(self) -> None:
        """An address is called unusable for a message that arrives after all.

        The next message to it goes out.
        """
        names = [f"early-{number}" for number in range(REPEATS + 1)]
        for name in names:
            self.players.trouble("fail", name, code=63024, then="delivered")
            await self.players.meet(name, "accepted", Kind(name, "accepted", says=TEMPLATE))
        await self.rig.rest()
        await self.rig.later(seconds=10)
        for name in names:
            self.players.share_address(name, f"{name}-next")
            await self.players.send(f"{name}-next", Kind(name, "accepted", says=TEMPLATE))
        await self.rig.rest()

    async def blocked(self) -> None:
        """The provider says that a person blocked us. The person writes and gets messages again."""
        await self.one_after_the_other(
            Kind("blocked", "accepted", says=TEMPLATE),
            Kind("blocked-still", "refused", says=TEMPLATE),
            code=63014,
            status="undelivered",
        )
        await self.players.write("blocked", "Hello again")
        self.players.share_address("blocked", "blocked-back")
        await self.players.send("blocked-back", Kind("back", "accepted", says=TEMPLATE))
        await self.rig.rest()

    async def marketing_refused(self) -> None:
        """After a refused or capped marketing template no other one goes; other purposes do."""
        offer = Kind("", "", purpose=Purpose.MARKETING, says=OFFER)
        for name, code in (("unwanted", 63033), ("capped", 63049)):
            await self.one_after_the_other(
                replace(offer, name=name, end="accepted"),
                replace(offer, name=f"{name}-offer", end="refused"),
                code=code,
            )
            self.players.share_address(name, f"{name}-order")
            await self.players.send(f"{name}-order", Kind("order", "accepted", says=TEMPLATE))
            await self.rig.rest()

    async def called_failed(self) -> None:
        """Twilio reports failures: one message arrives after all, one may go only once, one is a
        template.
        """
        self.players.trouble("fail", "mistaken", code=63012, then="delivered")
        self.players.trouble("fail", "once", code=63012)
        self.players.trouble("reject", "unneeded", code=63016)
        await self.players.meet("mistaken")
        await self.players.meet("once", on_unknown=OnUnknown.NEVER)
        await self.players.meet("unneeded", "failed", Kind("unneeded", "failed", says=TEMPLATE))
        await self.rig.rest()

"""What is rare: forms of codes, requests and consent that a service may fail to read, and a jump of
errors.
"""

from dataclasses import replace
from typing import Final

from sandbox.faults import Action, FaultRule, Match
from sendwindow.vocabulary import Purpose
from tests.chaos.mutants_acts import Acts
from tests.chaos.mutants_cast import BODY, OFFERED, SENDERS, TEMPLATE, Kind

BELIEVED: Final = 50
"""Errors of one sender whose effects apply at once; those of further ones wait for an operator."""

BEYOND: Final = 2

TEXT: Final = Kind("text", "refused", "text", says=BODY)
ORDER: Final = Kind("order", "accepted", says=TEMPLATE)
OFFER: Final = Kind("offer", "refused", purpose=Purpose.MARKETING, says=OFFERED)
FAIR: Final = Kind("fair", "failed", "fair", says=BODY)


class Rare(Acts):
    """Each act is a situation in which a message was once lost, or sent though it was forbidden."""

    async def open(self) -> None:
        """A gateway and a worker start."""
        await self.rig.start_gateway("gateway-a")
        await self.rig.start_worker("worker-a")

    async def decimal_codes(self) -> None:
        """Twilio writes 21610 with a decimal point: in an answer, in a callback.

        The next message to each of these persons is refused.
        """
        self.players.trouble("decimal_code", "told", "text")
        self.players.trouble("reject", "told", "text", code=21610)
        await self.players.meet("told", "failed", TEXT)
        await self.rig.rest()
        await self.send_again("told", replace(TEXT, name="told-again"))
        self.players.trouble("decimal_code", "phone-told")
        await self.one_after_the_other(
            replace(ORDER, name="phone-told"),
            replace(ORDER, name="phone-told-again", end="refused"),
            code=21610,
        )

    async def consent_of_a_newer_release(self) -> None:
        """A newer release recorded purposes and words that this one does not know.

        They deny for their own persons; the others of the batch get their messages.
        """
        kinds = (
            Kind("phone-newer-grant", "refused", consents="newer-grant", says=TEMPLATE),
            Kind("phone-newer-withdrawal", "refused", consents="newer-withdrawal", says=TEMPLATE),
            Kind("phone-newer-word", "refused", consents="newer-word", says=TEMPLATE),
            replace(ORDER, name="phone-neighbour"),
        )
        for kind in kinds:
            await self.players.consent(kind.name, kind)
        for kind in kinds:
            await self.players.send(kind.name, kind)
        await self.rig.rest()

    async def user_id_refused(self) -> None:
        """Twilio answers 21211 for a user id, because the sender is not set up for user ids.

        The next message to it goes out.
        """
        self.players.trouble("reject", "id-new", code=21211)
        await self.players.meet("id-new", "failed", ORDER)
        await self.rig.rest()
        await self.send_again("id-new", replace(ORDER, name="id-new-again"))

    async def marketing_stopped_in_the_channel(self) -> None:
        """Meta's own code next to Twilio's says that a person stopped marketing, and no more.

        The person writes, and gets orders but no offers.
        """
        await self.one_after_the_other(
            replace(ORDER, name="phone-promo"),
            replace(ORDER, name="phone-promo-order"),
            code=63033,
            channel_status="131050: the user stopped marketing messages",
        )
        await self.players.write("phone-promo", "Hello again")
        await self.send_again("phone-promo", replace(OFFER, name="phone-promo-offer"))

    async def too_many_errors(self) -> None:
        """Twilio calls the addresses of all persons of a sender unusable.

        Once these are too many, the next messages go out. The first persons stay suppressed.
        """
        names = [f"fair-{number}" for number in range(BELIEVED + BEYOND)]
        self.rig.sandbox.faults.add(
            FaultRule(
                action=Action.REJECT,
                match=Match(sender=SENDERS["fair"]),
                times=len(names),
                code=21614,
            )
        )
        for wave in (names[:BELIEVED], names[BELIEVED:]):
            for name in wave:
                await self.players.meet(name, "failed", FAIR)
            await self.rig.rest()
        await self.send_again(names[0], replace(FAIR, name="fair-first-again"), "refused")
        for name in names[BELIEVED:]:
            await self.send_again(name, replace(FAIR, name=f"{name}-again"), "accepted")

    async def by_get(self) -> None:
        """Twilio is set up to deliver a status, and what a person writes, by GET."""
        self.players.trouble("callback_by_get", "phone-got")
        await self.players.meet("phone-got", "accepted", ORDER)
        await self.rig.rest()
        await self.players.consent("phone-fetched", ORDER)
        await self.players.write("phone-fetched", {"body": "STOP", "method": "GET"})
        await self.players.send("phone-fetched", ORDER, "refused")
        await self.rig.rest()

    async def by_rcs(self) -> None:
        """A person who gets text messages writes STOP by RCS."""
        await self.players.consent("rcs", TEXT)
        await self.players.write("rcs", {"body": "STOP", "rcs": True}, sender="text")
        await self.players.send("rcs", TEXT)
        await self.rig.rest()

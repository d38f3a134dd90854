"""POSTs without proof, and what proves them."""

from datetime import timedelta
from typing import Final

from sandbox.faults import Action, FaultRule, Match
from sendwindow.timestamps import to_ms
from sendwindow.vocabulary import OnUnknown
from tests.chaos.mutants_acts import Acts
from tests.chaos.mutants_cast import BODY, TEMPLATE, Kind

HOUR_MS: Final = 3_600_000


class Unknowns(Acts):
    """Unproven attempts, each with its own rule and evidence."""

    async def outcomes_unknown(self) -> None:
        """POSTs end without proof, each with its own rule and evidence."""
        trouble, meet, absent = (
            self.players.trouble,
            self.players.meet,
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
        await self.rig.rest()
        # Lists date messages to the second, so a witness must be from a later second.
        await self.rig.later(seconds=1)
        await meet("phone-witness")
        await self.rig.rest()
        # This is last, because the provider's "slow down" stops the whole account for a second.
        await meet("slowed")
        await self.rig.rest()

    async def _twins(self) -> None:
        """The same text goes twice to one person.

        The provider takes the second, and its list cannot tell them apart.
        """
        for name, action in (
            ("twin-a", "unavailable"),
            ("twin-b", "accept_unavailable"),
            ("twin-b", "callback_lost"),
        ):
            self.rig.sandbox.faults.add(
                FaultRule(action=Action(action), match=Match(id=name), times=1)
            )
        self.players.share_address("twin-a", "twin-b")
        for name in ("twin-a", "twin-b"):
            await self.players.meet(name, "unresolved", on_unknown=OnUnknown.RESEND_IF_ABSENT)
            await self.rig.rest()

    async def _templates_unread(self) -> None:
        """Of two templates with unknown text one was taken.

        For the other the list has a stranger's row.
        """
        kind = Kind("letter", "unresolved", says=TEMPLATE)
        for name, action in (
            ("phone-unread", "accept_unavailable"),
            ("phone-agent", "unavailable"),
        ):
            self.rig.sandbox.faults.add(
                FaultRule(action=Action(action), match=Match(id=name), times=1)
            )
            self.players.trouble("callback_lost", name)
            await self.players.meet(name, "unresolved", kind, OnUnknown.RESEND_IF_ABSENT)
            await self.rig.rest()
        self.players.answer_by_hand("phone-agent", "An agent here, how can I help?")

    async def letter_cancelled(self) -> None:
        """A producer cancels a dead letter, and an operator who does not know it replays it."""
        rig, name = self.rig, "given-up"
        await rig.producer.cancel(name)
        rig.journal.write("cancel_asked", id=name)
        asked_at, expires_at = rig.journal.now(), await rig.store.now() + timedelta(hours=1)
        [word] = await rig.store.records.replay([name], expires_at, even_if_sent=True)
        if word == "replayed":
            rig.journal.write("replayed", id=name, t=asked_at, expires=to_ms(expires_at))
        await rig.rest()

    async def come_to_rest(self) -> None:
        """Let half an hour pass."""
        for step in (20, 20, 700, 120, 1000):
            await self.rig.later(seconds=step)
            await self.rig.tick()
            await self.rig.rest()

"""Steps of the tests of limits: register limits, claim, and a fleet that sends what it claims."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta

from policies.rate_limits import Pace
from sendwindow.vocabulary import Stage
from tests.support.stores_world import ACCOUNT, SENDER, Place, World, accepted, ask, opened
from worker.ports.admissions import Charge, Later, Permit
from worker.ports.claims import ClaimBatch, ClaimedMessage, Suspects
from worker.ports.settlements import SettleAgain
from worker.stores.store import AccountLimits

MINUTE = Pace(60_000_000, 0)
"""One message a minute: no test runs so long that a second one may go out."""

OTHER = "other"
"""The second sender of the account."""


async def limit(
    world: World, sender: Pace | None = None, account: Pace | None = None, posts: int = 0
) -> None:
    """Register the limits of the first sender and of the account."""
    await world.store.register_senders(
        {SENDER: ACCOUNT, OTHER: ACCOUNT},
        paces={SENDER: sender} if sender else {},
        limits={ACCOUNT: AccountLimits(account, posts)},
    )


async def claim(world: World, most: int = 64) -> ClaimBatch:
    return await world.store.ledger.claim(most, Suspects.NEVER)


@dataclass(slots=True)
class Fleet:
    """Some workers that claim, and then admit and settle what they claimed.

    `posting`: how many rounds a POST lasts.
    """

    worlds: list[World]
    charges: Mapping[str, Charge]
    posting: int = 0
    open: list[list[tuple[World, ClaimedMessage, str]]] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    turned_away: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    calls: int = 0

    async def work(self, messages: int, *, most_rounds: int) -> None:
        """Work until that many messages were accepted. Time jumps to what falls due next."""
        for _ in range(most_rounds):
            batches = [await claim(world) for world in self.worlds]
            self.calls += len(batches)
            self.open.append([])
            for world, batch in zip(self.worlds, batches, strict=True):
                for one in batch.claimed:
                    await self._process(world, one)
            if len(self.open) > self.posting:
                for world, one, sender in self.open.pop(0):
                    result = accepted(f"SM-{one.message_id}")
                    await world.settle(one, result, sender=sender)
            if len(self.accepted) >= messages:
                return
            last = batches[-1]
            if not any(batch.claimed for batch in batches) and last.next_due_at is not None:
                waits = last.next_due_at - last.now
                assert waits < timedelta(hours=1)
                await self.worlds[0].later(seconds=waits.total_seconds())
        raise AssertionError(f"{len(self.accepted)} of {messages} were accepted")

    async def _process(self, world: World, one: ClaimedMessage) -> None:
        self.claimed.append(one.message_id)
        sender = OTHER if one.message_id.startswith(OTHER) else SENDER
        request = ask(one, sender=sender, charge=self.charges[sender])
        [answer] = await world.store.ledger.admit([request])
        if isinstance(answer, Permit):
            self.accepted.append(one.message_id)
            self.open[-1].append((world, one, sender))
            return
        assert isinstance(answer, Later)
        self.turned_away.append(one.message_id)
        again = SettleAgain(Stage.WAITING, answer.reason, due_at=answer.until)
        await world.settle(one, again, sender=sender, attempt=0, posted=False)


async def fleet(
    stack: AsyncExitStack, store: Place, workers: int, charges: Mapping[str, Charge]
) -> Fleet:
    worlds = [
        await stack.enter_async_context(opened(store, worker_id=f"w{number}"))
        for number in range(workers)
    ]
    return Fleet(worlds, charges)

"""What urgent messages get of the claims while bulk messages wait too.

Urgent weighs 16 and bulk 1, so a fair share of urgent claims is 94 of 100 while both have work.

`draining`: one bulk campaign gets 8 messages after each claim of 8, so that its lane often drains
and refills. `many`: 200 bulk campaigns have one message each, and each gets another one as soon as
it was served. Nothing is sent: the row asks the store for claims, and counts. The size is how many
claims it makes.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from bench.row import Figure, Place, Row, Sizes
from bench.world import message, opened
from sendwindow import Priority, Producer
from worker.stores.store import Store

_CLAIMED_MESSAGES: Final = 8
_CAMPAIGNS: Final = 200
_MARK: Final = "urgent-"

Refill = Callable[[list[str]], Awaitable[None]]
"""Called with the campaigns of the bulk messages that a claim returned."""


async def _urgent_share(store: Store, claims: int, refill: Refill) -> float:
    """Return what part of the claimed messages was urgent, in percent."""
    urgent = total = 0
    for _ in range(claims):
        names = [one.message_id for one in (await store.ledger.claim(_CLAIMED_MESSAGES)).claimed]
        served = [name.partition("-")[0] for name in names if not name.startswith(_MARK)]
        total += len(names)
        urgent += len(names) - len(served)
        await refill(served)
    return 100 * urgent / total


async def _measure(place: Place, partition: str, campaigns: int, *, refills_all: bool) -> float:
    """Measure in a partition of its own.

    With `refills_all`, every claim is followed by a refill of the one campaign.
    """
    numbers = iter(range(10**9))
    async with (
        opened(place.store_url, partition) as store,
        Producer(place.store_url, partition) as producer,
    ):

        async def add(names: list[str]) -> None:
            await producer.send_many(
                message(
                    0, message_id=f"{name}-{next(numbers)}", priority=Priority.BULK, campaign=name
                )
                for name in names
            )

        async def refill(served: list[str]) -> None:
            await add(_CLAIMED_MESSAGES * ["c0"] if refills_all else served)

        # Senders are registered by a worker; claims look their accounts up.
        await store.register_senders({"shop": "main"})
        await producer.send_many(
            message(at, message_id=f"{_MARK}{at}", priority=Priority.URGENT)
            for at in range(_CLAIMED_MESSAGES * place.size)
        )
        await add([f"c{at}" for at in range(campaigns)])
        return await _urgent_share(store, place.size, refill)


async def measure(place: Place) -> Mapping[str, float]:
    return {
        "draining": await _measure(place, "draining", 1, refills_all=True),
        "many": await _measure(place, "many", _CAMPAIGNS, refills_all=False),
    }


ROWS: Final = (
    Row(
        "fair_shares",
        "what urgent messages get of the claims; 94 of 100 is fair",
        (
            Figure("draining", "urgent, next to a lane that often drains", "%"),
            Figure("many", "urgent, next to 200 campaigns", "%"),
        ),
        Sizes(200, 50, 5),
        measure,
        mock="none",
        group="situation",
    ),
)

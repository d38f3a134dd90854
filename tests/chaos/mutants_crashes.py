"""Services that are killed or stand still."""

from sendwindow.vocabulary import OnUnknown
from tests.chaos.mutants_acts import Acts
from tests.chaos.mutants_cast import BODY, Kind


class Crashes(Acts):
    """Two kills and a frozen worker. Other services take over."""

    async def worker_killed(self) -> None:
        """A worker dies with one claimed message, one that the provider took and one on its way
        there.
        """
        rig = self.rig
        gate = rig.gates.hold("admit", "claimed")
        self.players.trouble("accept_hang", "taken")
        self.players.trouble("callback_lost", "taken")
        self.players.trouble("hang", "phone-lost")
        for name in ("taken", "phone-lost"):
            await self.players.meet(name, on_unknown=OnUnknown.RESEND_IF_ABSENT)
        await rig.until(
            lambda: all(
                rig.seen("post", fault=fault) for fault in ("accept_hang,callback_lost", "hang")
            )
        )
        await self.players.meet("claimed")
        await rig.rest(unless=gate.reached)
        await rig.kill("worker-a")
        gate.open()
        await rig.later(seconds=16)
        await rig.start_worker("worker-b")
        await rig.tick()
        await rig.rest()

    async def worker_frozen(self) -> None:
        """A worker stands still before it records a refusal.

        Another one takes over, the person writes, and the first one wakes.
        """
        rig = self.rig
        kind = Kind("frozen", "accepted", wrote="before", says=BODY)
        refusal = rig.gates.hold("settle", "worker-b/frozen")
        await self.players.meet("frozen", kind=kind)
        await rig.rest(unless=refusal.reached)
        claiming = rig.gates.hold("claim", "worker-b")
        await rig.later(seconds=16)
        await self.players.write("frozen", "Hello again")
        posting = rig.gates.hold("post", "frozen")
        await rig.start_worker("worker-c")
        await rig.tick("worker-c")
        await rig.rest(unless=posting.reached)
        refusal.open()
        await rig.until(lambda: rig.seen("settled", id="frozen", who="worker-b"))
        posting.open()
        claiming.open()
        await rig.rest()

    async def gateway_killed(self) -> None:
        """The gateway dies while it stores a callback, and the provider repeats it to the next
        gateway.
        """
        rig = self.rig
        gate = rig.gates.hold("status", "told")
        await self.players.meet("told")
        await rig.rest(unless=gate.reached)
        await rig.visit_gateway("gateway-a")
        await rig.kill("gateway-a")
        gate.open()
        await rig.start_gateway("gateway-b")
        await rig.rest()

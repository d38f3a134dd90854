"""Stops that arrive while a message is on its way."""

import asyncio

from tests.chaos.mutants_acts import Acts


class Stops(Acts):
    """A stop before admission, before the POST, while a clock jumps, before the first byte."""

    async def stop_before_admission(self) -> None:
        """A stop arrives between decision and admission."""
        gate = self.rig.gates.hold("admit", "stale")
        await self.players.meet("stale", "refused")
        await self.rig.rest(unless=gate.reached)
        await self.players.write("stale", "STOP")
        gate.open()
        await self.rig.rest()

    async def stop_before_post(self) -> None:
        """A stop arrives between permit and POST.

        The POST begins once the stop is answered or known to be held.
        """
        rig, sid = self.rig, "SM" + "5" * 32
        gate = rig.gates.hold("post", "raced")
        await self.players.meet("raced", "failed")
        await rig.rest(unless=gate.reached)
        stopping = asyncio.create_task(self.players.write("raced", "STOP", sid=sid))
        await rig.until(lambda: "permits" in rig.steps or rig.seen("said_acked", sid=sid))
        gate.open()
        await stopping
        await rig.rest()

    async def stop_while_a_clock_jumps(self) -> None:
        """As above, while by the store's clock the permit has lapsed, and by the worker's it has
        not.
        """
        rig, sid = self.rig, "SM" + "6" * 32
        gate = rig.gates.hold("post", "jumped")
        rig.stand_still()
        await self.players.meet("jumped", "failed")
        await rig.rest(unless=gate.reached)
        await rig.later(seconds=3)
        rig.steps.discard("permits")
        stopping = asyncio.create_task(self.players.write("jumped", "STOP", sid=sid))
        await rig.until(lambda: "permits" in rig.steps or rig.seen("said_acked", sid=sid))
        gate.open()
        await stopping
        rig.go_on()
        await rig.rest()

    async def stop_before_the_first_byte(self) -> None:
        """A POST waits for a connection until its permit has lapsed and a stop is answered."""
        rig, sid = self.rig, "SM" + "7" * 32
        gate = rig.gates.hold("connect", "worker-a")
        rig.stand_still()
        await self.players.meet("stalled", "refused")
        await rig.rest(unless=gate.reached)
        rig.steps.discard("permits")
        stopping = asyncio.create_task(self.players.write("stalled", "STOP", sid=sid))
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

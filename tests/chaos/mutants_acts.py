"""What the acts of every scenario share."""

from typing import Any, Final

from tests.chaos.mutants_cast import Kind
from tests.chaos.mutants_players import Players
from tests.chaos.mutants_rig import Rig

REPEATS: Final = 2
"""How many persons there are of each kind."""


class Acts:
    """Acts of a scenario. Every act leaves the service at rest."""

    def __init__(self, rig: Rig, players: Players) -> None:
        self.rig = rig
        self.players = players

    async def one_after_the_other(self, first: Kind, second: Kind, **failure: Any) -> None:
        """Let a message fail after acceptance, and ten seconds later send another one to the same
        person.
        """
        self.players.trouble("fail", first.name, first.sender, **failure)
        await self.players.meet(first.name, first.end, first)
        await self.rig.rest()
        await self.send_again(first.name, second)

    async def send_again(self, name: str, kind: Kind, end: str | None = None) -> None:
        """Ten seconds later send another message, named as the kind, to the same person."""
        await self.rig.later(seconds=10)
        self.players.share_address(name, kind.name)
        await self.players.send(kind.name, kind, end)
        await self.rig.rest()

"""The names by which accounts and senders are known.

What persons said is kept under these names, so no name may come to mean another account or sender.
"""

from collections.abc import Mapping
from typing import Any, Final

from sendwindow.scripts import Argument
from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import worker_script

_NAMES: Final = worker_script("names")

_ACCOUNT: Final = (
    "accounts.{name}: the store knows its account_sid as accounts.{known} "
    "and keeps stops and consents under that name; call it {known} again"
)
_ADDRESS: Final = (
    "senders.{name}: the store knows it with another address, "
    "and keeps that one's windows and stops under the name; "
    "give the new address a sender of its own"
)
_SENDER: Final = (
    "senders.{name}: the store knows its address as senders.{known} "
    "and keeps windows and stops under that name; call it {known} again"
)


class NameStore:
    """Records what names stand for in one partition, without a term."""

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def remember(
        self,
        accounts: Mapping[str, str],
        senders: Mapping[str, tuple[str, str]],
        *,
        reading: bool = False,
    ) -> list[str]:
        """Record what names stand for; with `reading`, only compare.

        `accounts`: name → AccountSid. `senders`: name → the name of its account and its address.

        Returns what is wrong and what to do about it. If anything is wrong, nothing is recorded.
        """
        own = [(f"account|{sid}", name, name, _ACCOUNT) for name, sid in accounts.items()]
        for name, (account, address) in senders.items():
            own.append((f"sender|{name}", address, name, _ADDRESS))
            own.append((f"address|{account}|{address}", name, name, _SENDER))
        if not own:
            return []
        known = await self._ask([(field, value) for field, value, _, _ in own], reading=reading)
        return [
            text.format(name=name, known=said)
            for (_, value, name, text), said in zip(own, known, strict=True)
            if said != value
        ]

    async def _ask(self, own: list[tuple[str, str]], *, reading: bool) -> list[str]:
        said: list[Any]
        if reading:
            ask: list[Argument] = ["HMGET", self._calls.keys.names, *(field for field, _ in own)]
            said = await self._calls.ask(*ask)
        else:
            said = await self._calls.run_durably(_NAMES, [part for pair in own for part in pair])
        return [
            value if known is None else known.decode()
            for (_, value), known in zip(own, said, strict=True)
        ]

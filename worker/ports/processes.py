"""A worker or gateway as other processes see it in the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from sendwindow.keys import SCHEMA


@dataclass(frozen=True, slots=True)
class LayoutRange:
    """The store layouts that a release can read and write, from `first` to `last`."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


LAYOUTS: Final = LayoutRange(SCHEMA, SCHEMA)
"""The layouts that this release can read and write.

Two releases may run at the same time when their ranges overlap.
"""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a worker holds now: `messages` under its lease, and `posts` that are open."""

    messages: int
    posts: int


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What a process reports about itself.

    `settings`: the digest of each section. `holds`: None for a gateway. `is_working`: whether it
    works now. A process that does not work reports in order to learn whether it may begin.
    """

    role: str
    settings: Mapping[str, str]
    release: str
    holds: Holdings | None = None
    is_working: bool = False


@dataclass(frozen=True, slots=True)
class LivingProcess:
    """A worker or gateway that is alive.

    `settings`: the digest of each section. A section that the process does not know is absent.

    `release`, `layouts`: None for a release that did not report them yet, which is older than every
    release that does. `is_waiting`: it does no work, because a process of another release is alive.
    """

    process_id: str
    role: str
    settings: Mapping[str, str]
    release: str | None = None
    layouts: LayoutRange | None = None
    holds: Holdings | None = None
    is_waiting: bool = False

    @property
    def release_name(self) -> str:
        """The release for people, also where the process did not report it."""
        return self.release or "before 0.1.0"

    def differs_in(self, settings: Mapping[str, str]) -> list[str]:
        """Return the sections in which this process has other settings than these."""
        return sorted(
            name for name, digest in self.settings.items() if settings.get(name, digest) != digest
        )


@dataclass(frozen=True, slots=True)
class RegistryAnswer:
    """What the registry answers to a report.

    `at`: the store's clock. `is_restoring`: the store is marked as restored from a copy, so that no
    message is claimed. `in_the_way`: the living processes because of which the reporting process
    must not work.
    """

    at: datetime
    is_restoring: bool
    in_the_way: tuple[LivingProcess, ...] = ()


class ProcessRegistry(Protocol):
    """The registry of the processes that are alive at a store."""

    async def report(self, report: ProcessReport) -> RegistryAnswer:
        """Record that this process is alive. Returns whether it may work."""
        ...

    async def forget(self) -> None:
        """Record that this process ends."""
        ...

    async def living(self) -> list[LivingProcess]:
        """Return the processes that are alive, in no order."""
        ...

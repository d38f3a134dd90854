"""A worker or gateway as other processes see it in the store."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LivingProcess:
    """A worker or gateway that is alive.

    `settings`: the digest of each section. A section that the process does not know is absent.
    """

    process_id: str
    role: str
    settings: Mapping[str, str]

    def differs_in(self, settings: Mapping[str, str]) -> list[str]:
        """Return the sections in which this process has other settings than these."""
        return sorted(
            name for name, digest in self.settings.items() if settings.get(name, digest) != digest
        )

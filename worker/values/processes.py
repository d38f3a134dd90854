"""A process of the service as others see it in the store."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LivingProcess:
    """A worker or gateway that is alive. `settings`: section to digest; a section it does not know is absent."""

    process_id: str
    role: str
    settings: Mapping[str, str]

    def differs_in(self, settings: Mapping[str, str]) -> list[str]:
        """Name the sections in which this process has other settings than these."""
        return sorted(name for name, digest in self.settings.items() if settings.get(name, digest) != digest)

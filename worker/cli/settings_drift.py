"""Whether the running processes have the same settings as the file that a command reads."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.settings.settings import Settings
    from worker.stores.store import Store


async def other_settings(settings: "Settings", store: "Store") -> str | None:
    """Return a sentence when processes run with other settings than these.

    Returns None when all have the same settings, or when no process runs. `store` is open. Raises
    redis-py's errors.
    """
    from worker.wiring import settings_digests

    own = settings_digests(settings)
    differing = [
        sections for one in await store.processes.living() if (sections := one.differs_in(own))
    ]
    if not differing:
        return None
    names = ", ".join(sorted({f"[{name}]" for sections in differing for name in sections}))
    many = "1 process runs" if len(differing) == 1 else f"{len(differing)} processes run"
    return f"{many} with other settings than this file in {names}: restart what runs"

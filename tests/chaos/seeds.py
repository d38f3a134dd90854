"""The seeds of the long nemesis: drawn once for a run and its processes, printed, never drawn
again.
"""

import os
import secrets
from collections.abc import MutableMapping
from typing import Final

VARIABLE: Final = "NEMESIS_SEEDS"
"""Repeats given seeds: whole numbers with commas between them.

One process passes them to the next with it.
"""

HOW_MANY: Final = 3


def seeds(environ: MutableMapping[str, str] = os.environ) -> tuple[int, ...]:
    """Return the given seeds, or draw some and leave them for processes that this one starts.

    Raises ValueError.
    """
    if not environ.get(VARIABLE):
        environ[VARIABLE] = ",".join(str(secrets.randbits(32)) for _ in range(HOW_MANY))
    try:
        return tuple(int(text) for text in environ[VARIABLE].split(","))
    except ValueError as error:
        raise ValueError(
            f"{VARIABLE} must be whole numbers with commas between them, as in 7,11"
        ) from error


def told(drawn: tuple[int, ...]) -> str:
    """Return the seeds as text, and how to repeat them."""
    return (
        f"nemesis: seeds {', '.join(map(str, drawn))}; "
        f"{VARIABLE}={','.join(map(str, drawn))} repeats them"
    )

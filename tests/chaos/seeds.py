"""The seeds of the long nemesis: drawn once by the run, the same in each of its processes, shown, never drawn again."""

import os
import secrets
from collections.abc import MutableMapping
from typing import Final

VARIABLE: Final = "NEMESIS_SEEDS"
"""Repeats given seeds: whole numbers, with commas between them. Also how one process hands them to the next."""

HOW_MANY: Final = 3


def seeds(environ: MutableMapping[str, str] = os.environ) -> tuple[int, ...]:
    """Return the seeds given, or draw some and leave them for whom this process starts. Raises ValueError."""
    if not environ.get(VARIABLE):
        environ[VARIABLE] = ",".join(str(secrets.randbits(32)) for _ in range(HOW_MANY))
    try:
        return tuple(int(text) for text in environ[VARIABLE].split(","))
    except ValueError as error:
        raise ValueError(f"{VARIABLE} must be whole numbers with commas between them, as in 7,11") from error


def told(drawn: tuple[int, ...]) -> str:
    """Say which they are and how to have them again."""
    return f"nemesis: seeds {', '.join(map(str, drawn))}; {VARIABLE}={','.join(map(str, drawn))} repeats them"

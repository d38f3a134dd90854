"""Keeps the garbage collector from looking through what lives as long as the process."""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 20)
"""How many new containers, and then how many collections, start the next one.

A message makes hundreds of containers and nearly all of them are freed without the collector.
With Python's own 700, the collector runs every second or third message and finds nothing.
"""


def spare_long_lived() -> None:
    """Exempt everything that exists now from later collections, and collect less often.

    Call it once a process has loaded and opened what it keeps. It still collects, because an
    exception that refers to its own frame is freed by nothing else.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

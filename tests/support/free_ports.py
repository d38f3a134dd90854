"""Ports for servers that start later. No other process may take one between choice and start."""

import itertools
import os
import socket
from typing import Final

_FIRST: Final = 20_000
_BAND: Final = 1_000
_BANDS: Final = 12
# All below the range from which the kernel takes ports (from 32768 on Linux, 49152 elsewhere). The
# next outgoing connection, or a process that asks for any port, may take a port of that range.

_SPREAD: Final = 61
"""Spreads neighbouring pids over the band, for test runs at the same time.

It shares no factor with `_BAND`.
"""

_turns = itertools.count()


def free_port() -> int:
    """Return a TCP port of loopback without a listener.

    Each test process chooses in a band of its own. Raises RuntimeError when the whole band is
    taken.
    """
    # Computed at each call, because a forked process must not continue its parent's series.
    first, start = _FIRST + _BAND * (_own_number() % _BANDS), os.getpid() * _SPREAD
    for turn in itertools.islice(_turns, _BAND):
        port = first + (start + turn) % _BAND
        if _is_free(port):
            return port
    raise RuntimeError(f"no free port from {first} to {first + _BAND - 1}")


def _own_number() -> int:
    """Return the number of this pytest-xdist worker, or 0 when only one process runs tests."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: lingering connections that have ended must not make a port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

"""Ports for servers that start only later: nobody else may take one between the choice and the start."""

import itertools
import os
import socket
from typing import Final

_FIRST: Final = 20_000
_BAND: Final = 1_000
_BANDS: Final = 12
# All below the range that the kernel hands out by itself (from 32768 on Linux, 49152 elsewhere): a port from there is
# taken again by the next outgoing connection, or by another process that asks for any port.

_SPREAD: Final = 61
"""Scatters neighbouring pids over the band, for runs beside each other; it shares no factor with `_BAND`."""

_turns = itertools.count()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on; each test process chooses in a band of its own.

    Raises RuntimeError when the whole band is taken.
    """
    # Computed at each call: a forked process must not go on where its parent was.
    first, start = _FIRST + _BAND * (_own_number() % _BANDS), os.getpid() * _SPREAD
    for turn in itertools.islice(_turns, _BAND):
        port = first + (start + turn) % _BAND
        if _is_free(port):
            return port
    raise RuntimeError(f"no free port from {first} to {first + _BAND - 1}")


def _own_number() -> int:
    """Which of the processes this is that run tests side by side; 0 when it is alone."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections that have ended and only linger must not make a port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

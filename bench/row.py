"""What a row is: a name, what it measures, how large it is, and the numbers that it returns."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, Self


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a row. `digits`: how many are shown after the point."""

    key: str
    label: str
    unit: str = ""
    digits: int = 0


CPU: Final = Figure("cpu", "CPU s per 1,000", "s", 3)
RATE: Final = Figure("rate", "messages/s", "/s", 0)
CPU_AND_RATE: Final = (CPU, RATE)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a row is: messages, unless the row's module says otherwise.

    `quick` None: the row is not part of `--quick`. `tiny`: for tests, which only see that it runs.
    """

    full: int
    quick: int | None
    tiny: int


@dataclass(frozen=True, slots=True)
class Place:
    """What the runner started for one run of a row: an empty store and a mock of the Messages API.

    `tls_url` and `ca_file` are empty where there is no `openssl` to make a certificate with.
    """

    store_url: str
    base_url: str
    size: int
    tls_url: str = ""
    ca_file: str = ""

    def encode(self) -> str:
        """Return the place as a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the place that `encode` wrote."""
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor and wall seconds, and for how many messages."""

    cpu: float
    wall: float
    messages: int

    def figures(self) -> dict[str, float]:
        """Return the two figures of `CPU_AND_RATE`. Raises ValueError without a message."""
        if self.messages < 1:
            raise ValueError("no message was sent, so there is nothing to divide by")
        return {"cpu": 1000 * self.cpu / self.messages, "rate": self.messages / self.wall}


Measure = Callable[[Place], Awaitable[Mapping[str, float]]]

Mock = Literal["shared", "tls", "scripted", "none"]
"""The shared mock over HTTP or TLS, or one that the row starts with a script, or no mock."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `measure` runs in a process of its own, against a store of its own.

    `group`: `comparison` rows run in every round. A `situation` shows what one worker does in a
    difficult hour; `--quick` runs it once. `on_request`: only `--rows` runs it. `limit`: after so
    many seconds the runner ends the row. `missing` returns why the row cannot run on this machine,
    or None; it may first install what the row needs.
    """

    name: str
    what: str
    figures: tuple[Figure, ...]
    sizes: Sizes
    measure: Measure
    mock: Mock = "shared"
    group: Literal["comparison", "situation"] = "comparison"
    on_request: bool = False
    limit: float = 240.0
    missing: Callable[[], str | None] | None = None

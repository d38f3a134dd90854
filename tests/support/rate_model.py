"""A plain model of rate limits, to compare with the Lua, and the rule that both must keep."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from policies.rate_limits import Pace

SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that went out: when (µs), and how many units it has."""

    at: int
    units: int = 1


@dataclass(slots=True)
class RateModel:
    """The arrival times (µs) of some limits, by name."""

    arrivals: dict[str, int] = field(default_factory=dict)

    def admit(self, now: int, units: int, paces: dict[str, Pace]) -> dict[str, int] | None:
        """Charge a message to all its limits and return the arrival times that this left.

        Return None, and charge nothing, if one of them is in the way.
        """
        if any(
            self.arrivals.get(name, 0) - pace.tolerance_us > now for name, pace in paces.items()
        ):
            return None
        for name, pace in paces.items():
            arrival = max(self.arrivals.get(name, 0), now)
            self.arrivals[name] = arrival + units * pace.interval_us
        return {name: self.arrivals[name] for name in paces}

    def give_back(self, left: dict[str, int], units: int, paces: dict[str, Pace]) -> None:
        """Give back a charge where nothing was charged since."""
        for name, arrival in left.items():
            if self.arrivals[name] == arrival:
                self.arrivals[name] = arrival - units * paces[name].interval_us


def most_in_a_second(sent: Sequence[Sent]) -> int:
    """Return the most units in any sliding second, `[t, t + 1 s)`.

    The last message of a second counts as one unit: a text of several segments cannot be sent in
    part, so it may go out as soon as its first segment may.
    """
    most, first, units = 0, 0, 0
    for one in sent:
        while sent[first].at <= one.at - SECOND_US:
            units -= sent[first].units
            first += 1
        most = max(most, units + 1)
        units += one.units
    return most

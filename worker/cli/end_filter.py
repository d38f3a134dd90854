"""The filters by which an operator chooses messages that ended: reason, sender, campaign, time."""

import argparse
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from sendwindow.vocabulary import Reason
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.input_parsing import read_instant

NAMES: Final = ("reason", "sender", "campaign", "since", "until")
"""The arguments that `add_end_filter` adds."""


def add_end_filter(parser: argparse.ArgumentParser, ended: str) -> None:
    """Add the filters to a command. `ended`: how its messages end, as in "that died"."""
    parser.add_argument("--reason", help=f"only those that {ended} for this reason")
    parser.add_argument("--sender", help="only those of this sender")
    parser.add_argument("--campaign", help="only those of this campaign")
    parser.add_argument(
        "--since", help=f"only those that {ended} at or after this time (2026-11-21T10:00:00Z)"
    )
    parser.add_argument("--until", help=f"only those that {ended} before this time")


def lane_parts(lane: str) -> tuple[str, str]:
    """Return sender and campaign of a lane, `<sender>|<priority>|<campaign or nothing>`."""
    sender, _, rest = lane.partition("|")
    return sender, rest.partition("|")[2]


@dataclass(frozen=True, slots=True)
class EndFilter:
    """What a message must have in common with the arguments. None lets everything through."""

    reason: str | None
    sender: str | None
    campaign: str | None
    since: datetime | None
    until: datetime | None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """Parse the arguments. Raises CommandError for an unknown reason or a wrong time."""
        reason = arguments.reason
        if reason is not None and reason not in tuple(Reason):
            raise CommandError(
                "There is no such reason.", "docs/reasons.md lists them all.", Exit.USAGE
            )
        since, until = read_instant(arguments.since), read_instant(arguments.until)
        return cls(reason, arguments.sender, arguments.campaign, since, until)

    def lets_through(self, reason: str | None, lane: str, ended_at: datetime) -> bool:
        """Return whether a message that ended so is chosen."""
        sender, campaign = lane_parts(lane)
        return all(
            (
                self.reason in (None, reason),
                self.sender in (None, sender),
                self.campaign in (None, campaign),
                self.since is None or ended_at >= self.since,
                self.until is None or ended_at < self.until,
            )
        )

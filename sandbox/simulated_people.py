"""The sandbox's own memory of who wrote when, and who asked to stop."""

from dataclasses import dataclass, field
from typing import Final

from sandbox.config import Channel
from sandbox.numbers import same_phone

WINDOW_MS: Final = 24 * 3600 * 1000
STOP_WORDS: Final = frozenset(
    {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"}
)
START_WORDS: Final = frozenset({"START", "YES", "UNSTOP"})
"""Twilio's default words, which count only as the whole message
(twilio.com/docs/messaging/tutorials/advanced-opt-out, read 2026-11-20)."""

META_BUTTONS: Final = {"Stop promotions": "stop_marketing", "Resume promotions": "start_marketing"}
"""Labels of the buttons under WhatsApp's marketing messages, and their meanings."""


@dataclass(frozen=True, slots=True)
class Told:
    """A restriction that an error reported.

    `what`: `all` (everything except replies), or `marketing`. `sender`: None means the whole
    account. `at_ms`, `at_t`: when, by the sandbox's clock and by the journal's.
    """

    what: str
    account: str
    sender: str | None
    at_ms: int
    at_t: float
    ends_by_inbound: bool
    ends_ms: int | None = None

    @property
    def is_wish(self) -> bool:
        """Whether it is the person's own wish, which holds until the person says otherwise."""
        return self.ends_ms is None and not self.ends_by_inbound


@dataclass(slots=True)
class SimulatedPerson:
    """One person.

    `name`: the first address seen. `wrote_from`: the address that the person last wrote from.
    `phone` and `user_id`: addresses known to belong to this person. `wrote`: sender → last inbound
    (ms). `blocked`: senders that the provider itself refuses since a STOP. `stopped`: (account,
    channel) pairs for which the gateway acknowledged a STOP. `unusable`: address → when the sender
    was told (ms) that it takes no messages. `told`: the other restrictions that errors reported.
    """

    name: str
    wrote_from: str | None = None
    phone: str | None = None
    user_id: str | None = None
    wrote: dict[str, int] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    stopped: set[tuple[str, Channel]] = field(default_factory=set)
    unusable: dict[str, int] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)

    def write(self, sender: str, at_ms: int) -> None:
        """Open the window of this sender. It never moves back."""
        self.wrote[sender] = max(at_ms, self.wrote.get(sender, at_ms))

    def speak(self, address: str, account: str) -> None:
        """End what a message from the person ends.

        The address takes messages again, and no block of this account holds any more.
        """
        self.unusable.pop(address, None)
        self.told = [one for one in self.told if not one.ends_by_inbound or one.account != account]

    def window_is_open(self, sender: str, now_ms: int) -> bool:
        """Return whether the person wrote to this sender less than 24 h ago."""
        at = self.wrote.get(sender)
        return at is not None and at <= now_ms < at + WINDOW_MS

    def window_closes_ms(self, sender: str) -> int | None:
        """Return when this sender's last window closes or closed.

        Returns None if the person never wrote.
        """
        at = self.wrote.get(sender)
        return None if at is None else at + WINDOW_MS

    def start(self, account: str, senders: set[str], channel: Channel) -> None:
        """Lift the blocks of these senders and messaging services, and the stop."""
        self.blocked -= senders
        self.stopped.discard((account, channel))


class SimulatedPeople:
    """Persons by address.

    All spellings of a WhatsApp phone, and the user id that belongs to it, are one person.
    """

    def __init__(self) -> None:
        self._by_address: dict[str, SimulatedPerson] = {}

    def at(self, address: str) -> SimulatedPerson:
        """Return the person with this address, and create one if there is none."""
        key = same_phone(address)
        person = self._by_address.get(key)
        if person is None:
            person = self._by_address[key] = SimulatedPerson(address)
        return person

    def link(self, phone: str, user_id: str) -> None:
        """Record that a phone and a user id belong together.

        If the phone had another user id, the phone has a new owner, who inherits nothing.
        """
        person = self.at(phone)
        if person.user_id == user_id:
            return
        known = self._by_address.get(user_id)
        if person.user_id is None:
            person.phone, person.user_id = phone, user_id
            if known is not None:
                for sender, at_ms in known.wrote.items():
                    person.write(sender, at_ms)
                person.blocked |= known.blocked
                person.stopped |= known.stopped
            self._by_address[user_id] = person
        else:
            owner = known or SimulatedPerson(user_id)
            person.phone = None
            owner.phone, owner.user_id = phone, user_id
            self._by_address[same_phone(phone)] = self._by_address[user_id] = owner

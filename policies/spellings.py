"""Finds the addresses that name the same person: the spellings of a phone number.

Uses dated data and does not open files itself.

Laws:

* The first address that `persons_of` returns is the canonical one. It is the same for every
  spelling.
* All spellings of a number have the same set of spellings.
* A user id and a Page-scoped id have only one spelling.
* A message is always sent to the spelling that the backend wrote.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from policies.toml_reader import DataFault, Table, raise_faults

FILES: Final = ("spellings.toml",)
"""The names of the files in `policies/data/` that `parse_spellings` needs."""

MAX_PHONE_DIGITS: Final = 15
"""Number of digits of the longest phone number (E.164)."""

_PHONE: Final = re.compile(r"(whatsapp:|rcs:|)\+([1-9][0-9]{1,14})")
_EQUAL_DIGITS: Final = 7
"""How many last digits of a WaId and of `From` must be equal.

Otherwise the WaId does not count as a spelling of `From`. The country must be the same too.
"""


class NumberForm(Enum):
    """Which of the two forms of a number is canonical: with or without the digit."""

    WITH = "with"
    WITHOUT = "without"


@dataclass(frozen=True, slots=True)
class OptionalDigit:
    """A digit with or without which numbers of some countries are written.

    `length`: the length of the number behind the country code, without the digit; 0 for any length.
    """

    countries: frozenset[str]
    digit: str
    position: int
    followed_by: str
    length: int
    canonical: NumberForm
    is_shown: bool

    def forms(self, national: str) -> tuple[str, ...]:
        """Return both forms of the number behind the country code, the canonical one first.

        If the number has only one form, return only that.
        """
        at = self.position
        head, tail = national[:at], national[at:]
        if tail[:1] == self.digit and self._fits(tail[1:], len(national) - 1):
            with_digit, without = national, head + tail[1:]
        elif self._fits(tail, len(national)):
            with_digit, without = head + self.digit + tail, national
        else:
            return (national,)
        return (with_digit, without) if self.canonical is NumberForm.WITH else (without, with_digit)

    def _fits(self, tail: str, length: int) -> bool:
        return tail[:1] != "" and tail[0] in self.followed_by and self.length in (0, length)


@dataclass(frozen=True, slots=True)
class Spellings:
    """The optional digits, in the order in which they are applied."""

    digits: tuple[OptionalDigit, ...] = ()

    def canonical(self, address: str) -> str:
        """Return the canonical spelling of an address, which names the person."""
        return self.persons_of(address)[0]

    def is_same_person(self, one: str, other: str) -> bool:
        """Return whether two addresses are spellings of the same address."""
        return one == other or (
            one[-1:] == other[-1:] and self.canonical(one) == self.canonical(other)
        )

    def shown_as(self, address: str) -> tuple[str, ...]:
        """Return the spellings under which a provider may list a message to this address.

        `address` itself comes first.
        """
        written = [rule for rule in self.digits if rule.is_shown]
        return tuple(
            dict.fromkeys((address, *Spellings(tuple(written)).persons_of(self.canonical(address))))
        )

    def persons_of(self, address: str, wa_id: str = "") -> tuple[str, ...]:
        """Return every address under which the store may hold records of this person.

        The canonical one comes first. `wa_id`: the WaId that Twilio sent with an inbound message.
        It is WhatsApp's own number for the person, so its spellings are appended. We use it only if
        it has the same country and the same last digits as `address`.
        """
        found = self._spellings(address)
        theirs = f"whatsapp:+{wa_id}"
        if (
            wa_id
            and address.startswith("whatsapp:+")
            and theirs not in found
            and self._is_alike(found[0], theirs)
        ):
            found += tuple(one for one in self._spellings(theirs) if one not in found)
        return found

    def _spellings(self, address: str) -> tuple[str, ...]:
        match = _PHONE.fullmatch(address)
        if match is None:
            return (address,)
        prefix = match[1] if match[1] == "whatsapp:" else ""
        country, rules = self._country(match[2])
        canonical = match[2][len(country) :]
        for rule in rules:
            canonical = rule.forms(canonical)[0]
        nationals = [canonical]
        for rule in reversed(rules):
            nationals = [form for one in nationals for form in rule.forms(one)]
        return tuple(
            f"{prefix}+{country}{one}"
            for one in nationals
            if len(country) + len(one) <= MAX_PHONE_DIGITS
        )

    def _country(self, number: str) -> tuple[str, list[OptionalDigit]]:
        for length in (1, 2, 3):
            code = number[:length]
            if rules := [rule for rule in self.digits if code in rule.countries]:
                return code, rules
        return "", []

    def _is_alike(self, one: str, other: str) -> bool:
        ours, theirs = _PHONE.fullmatch(one), _PHONE.fullmatch(other)
        return bool(
            ours
            and theirs
            and ours[2][:2] == theirs[2][:2]
            and ours[2][-_EQUAL_DIGITS:] == theirs[2][-_EQUAL_DIGITS:]
        )


def parse_spellings(data: Mapping[str, Mapping[str, object]]) -> Spellings:
    """Build the spellings from parsed TOML. Raises `PolicyDataError`, which lists every fault."""
    faults: list[DataFault] = []
    spellings = read_spellings(data, faults)
    raise_faults(faults)
    return spellings


def read_spellings(data: Mapping[str, Mapping[str, object]], faults: list[DataFault]) -> Spellings:
    """Build the spellings and add every fault of the data to `faults`."""
    file = Table("spellings.toml", "", data.get("spellings.toml"), faults)
    return Spellings(tuple(_digit(file.table(name)) for name in file.keys))


def _digit(table: Table) -> OptionalDigit:
    table.text("source")
    table.date("read")
    countries = table.texts("countries")
    if not all(re.fullmatch("[1-9][0-9]{0,2}", country) for country in countries):
        table.fault("countries", 'country codes, such as "55"')
    digit, followed_by = table.text("digit"), table.text("followed_by")
    if not re.fullmatch("[0-9]", digit):
        table.fault("digit", "one digit")
    if not re.fullmatch("[0-9]+", followed_by):
        table.fault("followed_by", "the digits that may follow")
    length = table.whole("length", least=0, most=MAX_PHONE_DIGITS, default=0)
    if length == 0 and digit in followed_by:
        table.fault(
            "followed_by",
            "other digits than `digit`, where any length will do: both forms would look alike",
        )
    entry = OptionalDigit(
        countries=frozenset(countries),
        digit=digit,
        position=table.whole("position", least=0, most=MAX_PHONE_DIGITS),
        followed_by=followed_by,
        length=length,
        canonical=table.choice("canonical", NumberForm),
        is_shown=table.truth("shown", default=True),
    )
    table.done()
    return entry

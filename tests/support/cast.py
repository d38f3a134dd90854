"""Who takes part in the tests: fictional people, the shop's senders, accounts and ids.

Every phone number is of a range that a regulator keeps free for fiction:

- +1 NXX 555 0100 to 0199, in any area of the North American Numbering Plan
- +44 7700 900000 to 900999, mobile phones in the United Kingdom (Ofcom)
- +49 30 23125 000 to 999, Berlin (Bundesnetzagentur)

`tests/test_fictional_numbers.py` finds any other number in the repository. The few that a rule
needs in the form of a country without such a range are listed there with the reason.
"""

from typing import Final

ANNA: Final = "whatsapp:+14155550123"
"""A person in the United States. Her number has one spelling."""

BERT: Final = "whatsapp:+14155550124"
CARL: Final = "whatsapp:+14155550125"

GRETA: Final = "whatsapp:+493023125123"
"""A person in Germany, to whom marketing may go. Her number has a second spelling, with a 0."""

EMMA: Final = "whatsapp:+447700900101"
"""A person of the settings in examples/, who consents to everything there."""

GRETA_SMS: Final = GRETA.removeprefix("whatsapp:")
KLARA: Final = "whatsapp:+493023125124"
"""Another one."""

MIA: Final = "messenger:2000000002"
"""A person on Messenger."""

SHOP: Final = "whatsapp:+14155550100"
"""The address of the sender `shop`."""

PAGE: Final = "messenger:1000000001"
"""The Page of the sender `page`."""

ACCOUNT_SID: Final = "AC" + "1" * 32
"""The account `main`."""

OTHER_ACCOUNT_SID: Final = "AC" + "2" * 32

MESSAGE_SID: Final = "SM" + "a" * 32
"""A message of Twilio's."""

TEMPLATE_SID: Final = "HX" + "a" * 32

AREAS: Final = tuple(area for area in range(201, 1000) if area % 100 != 11 and area != 555)
"""Area codes of North America. A code that ends in 11 is a service, as 911 is."""

NUMBERS_PER_AREA: Final = 100


def phone(index: int) -> str:
    """Return one fictional phone number for each index from 0."""
    area, last = divmod(index, NUMBERS_PER_AREA)
    return f"+1{AREAS[area]}55501{last:02}"


def whatsapp(index: int) -> str:
    """Return the WhatsApp address of `phone(index)`."""
    return f"whatsapp:{phone(index)}"


def british(index: int) -> str:
    """Return one fictional phone number in the United Kingdom for each index below 1000."""
    return f"+447700900{index:03}"


def german(index: int) -> str:
    """Return one fictional phone number in Germany for each index below 1000."""
    return f"+493023125{index:03}"


def sid(number: int) -> str:
    """Return the message SID of that number."""
    return f"SM{number:032x}"

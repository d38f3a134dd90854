"""The sandbox finds the same phones as the service, by its own tables."""

from hypothesis import given

from sandbox.numbers import same_phone
from tests.policies.test_spellings import numbers
from worker.persons import SPELLINGS


@given(numbers(), numbers())
def test_the_sandbox_knows_the_same_phones_as_the_service(one: str, other: str) -> None:
    """Spellings of one person in the service are one phone in the sandbox, and no others are."""
    for address in (one, other, *SPELLINGS.persons_of(one)):
        assert (same_phone(one) == same_phone(address)) == SPELLINGS.is_same_person(one, address)


def test_other_addresses_stay_as_they_are() -> None:
    """Ids of users and Pages, short codes and names have one spelling."""
    for address in (
        "whatsapp:US.1",
        "messenger:4407700900124",
        "12345",
        "Shop",
        "sms:+4407700900124",
    ):
        assert same_phone(address) == address

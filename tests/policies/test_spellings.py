"""One person under every spelling of a phone number."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.spellings import Spellings, parse_spellings
from policies.toml_reader import PolicyDataError
from tests.support.shipped import shipped

SPELLINGS = parse_spellings(shipped())
CODES = sorted(
    {country for digit in SPELLINGS.digits for country in digit.countries}
    | {"1", "7", "39", "225", "229"}
)

ALIKE = [
    ("whatsapp:+5511995550123", "whatsapp:+551195550123"),
    ("whatsapp:+5521987654321", "whatsapp:+552187654321"),
    ("whatsapp:+525555550123", "whatsapp:+5215555550123"),
    ("whatsapp:+541155550123", "whatsapp:+5491155550123"),
    ("whatsapp:+542901555012", "whatsapp:+5492901555012"),
    ("whatsapp:+4407700900124", "whatsapp:+447700900124"),
    ("whatsapp:+49015112345678", "whatsapp:+4915112345678"),
    ("whatsapp:+9109876543210", "whatsapp:+919876543210"),
    ("whatsapp:+62081234567890", "whatsapp:+6281234567890"),
    ("whatsapp:+23408031234567", "whatsapp:+2348031234567"),
    ("whatsapp:+5501187654321", "whatsapp:+5511987654321"),
    ("whatsapp:+5401155550123", "whatsapp:+5491155550123"),
    ("+4407700900124", "+447700900124"),
    ("+5215555550123", "+525555550123"),
    ("+551187654321", "+5511987654321"),
    ("rcs:+447700900124", "+447700900124"),
    ("rcs:+14155550123", "+14155550123"),
]

APART = [
    ("whatsapp:+390612345678", "whatsapp:+39612345678"),  # Italy keeps its 0
    ("whatsapp:+2250712345678", "whatsapp:+225712345678"),  # so do Côte d'Ivoire,
    ("whatsapp:+2290161234567", "whatsapp:+229161234567"),  # Benin,
    ("whatsapp:+24106123456", "whatsapp:+2416123456"),  # and Gabon
    (
        "whatsapp:+551133334444",
        "whatsapp:+5511933334444",
    ),  # a landline in Brazil has no ninth digit
    ("whatsapp:+551153334444", "whatsapp:+5511953334444"),
    ("whatsapp:+52155555501234", "whatsapp:+5255555501234"),  # too long for Mexico
    ("whatsapp:+54911555501", "whatsapp:+5411555501"),  # too short for Argentina
    ("whatsapp:+44007700900124", "whatsapp:+447700900124"),  # two zeros are no trunk prefix
    ("whatsapp:+14155550123", "whatsapp:+104155550123"),  # North America has none
    ("whatsapp:+447700900124", "+447700900124"),  # another channel: opt-outs are its own
    ("whatsapp:+447700900124", "whatsapp:+447700900125"),
    ("messenger:4407700900124", "messenger:447700900124"),
    ("whatsapp:GB.4407700900124", "whatsapp:GB.447700900124"),
]


@pytest.mark.parametrize("one, other", ALIKE)
def test_spellings_of_one_number_name_one_person(one: str, other: str) -> None:
    """Every spelling of a number gives the same set with the same first address."""
    assert SPELLINGS.is_same_person(one, other)
    assert SPELLINGS.is_same_person(other, one)
    assert SPELLINGS.persons_of(one) == SPELLINGS.persons_of(other)


@pytest.mark.parametrize("one, other", APART)
def test_other_numbers_name_other_people(one: str, other: str) -> None:
    """Other numbers are other people: real zeros, landlines, wrong lengths, other channels, ids."""
    assert not SPELLINGS.is_same_person(one, other)
    assert other not in SPELLINGS.persons_of(one)


def test_what_has_one_spelling_has_one_digest_to_look_under() -> None:
    """Numbers of the United States and ids of users and Pages have one digest."""
    for address in (
        "whatsapp:+14155550123",
        "+14155550123",
        "whatsapp:US.13491208655302741918",
        "messenger:1002",
    ):
        assert SPELLINGS.persons_of(address) == (address,)


def test_a_number_in_brazil_has_four_spellings() -> None:
    """A number in Brazil has four spellings: with and without ninth digit and trunk zero.

    The one that is dialled today comes first.
    """
    assert SPELLINGS.persons_of("whatsapp:+551187654321") == (
        "whatsapp:+5511987654321",
        "whatsapp:+55011987654321",
        "whatsapp:+551187654321",
        "whatsapp:+5501187654321",
    )


@pytest.mark.parametrize(
    "address, shown",
    [
        ("whatsapp:+447700900124", ()),
        ("whatsapp:+4407700900124", ("whatsapp:+447700900124",)),
        ("whatsapp:+5511987654321", ("whatsapp:+551187654321",)),
        ("whatsapp:+551187654321", ("whatsapp:+5511987654321",)),
        ("+525555550123", ("+5215555550123",)),
        ("whatsapp:US.13491208655302741918", ()),
    ],
)
def test_a_provider_may_show_other_spellings_but_adds_no_trunk_prefix(
    address: str, shown: tuple[str, ...]
) -> None:
    """Twilio's lists are read under other spellings without a trunk prefix, the given spelling
    first.
    """
    assert SPELLINGS.shown_as(address) == (address, *shown)


def numbers() -> st.SearchStrategy[str]:
    """Numbers of countries with and without entries, most of them close to an entry."""
    starts = st.sampled_from(["", "0", "00", "9", "1", "11", "119", "118", "0119", "15", "911"])
    rest = st.text(string.digits, min_size=1, max_size=12)
    return st.builds(
        lambda prefix, code, start, rest: f"{prefix}+{(code + start + rest)[:15]}",
        st.sampled_from(["whatsapp:", ""]),
        st.sampled_from([*CODES, "55", "54", "52", "44"]),
        starts,
        rest,
    )


@given(numbers())
def test_every_spelling_has_the_same_spellings(address: str) -> None:
    """The canonical address is a fixed point, and every spelling of it has the same spellings.

    So no spelling is lost, and none is joined from one side only.
    """
    found = SPELLINGS.persons_of(address)
    assert address in found
    assert len(set(found)) == len(found)
    for spelling in found:
        assert SPELLINGS.persons_of(spelling) == found
        assert spelling.rpartition("+")[2][-1:] == address[-1:]


@pytest.mark.parametrize(
    "address, wa_id, joined",
    [
        (
            "whatsapp:+22961234567",
            "2290161234567",
            True,
        ),  # a change of numbering that no entry knows
        ("whatsapp:+5511987654321", "551187654321", True),
        ("whatsapp:+14155550123", "14155550123", True),
        ("whatsapp:+14155550123", "14155550124", False),  # another number: not believed
        ("whatsapp:+14155550123", "524155550123", False),  # another country
        (
            "whatsapp:US.13491208655302741918",
            "14155550123",
            False,
        ),  # linking ids is not a matter of spelling
        ("+22961234567", "2290161234567", False),  # SMS has no WaId
        ("whatsapp:+14155550123", "", False),
    ],
)
def test_a_wa_id_is_one_more_spelling(address: str, wa_id: str, joined: bool) -> None:
    """A WaId is one more spelling if its number ends alike, because WhatsApp says so."""
    found = SPELLINGS.persons_of(address, wa_id)
    assert found[0] == SPELLINGS.canonical(address)
    assert (f"whatsapp:+{wa_id}" in found) is joined


def test_without_data_every_address_is_a_person() -> None:
    """Without data every address is a person, as in a policy that a test builds."""
    assert Spellings().persons_of("whatsapp:+4407700900124") == ("whatsapp:+4407700900124",)


@pytest.mark.parametrize(
    "key, value, fault",
    [
        ("countries", ["+55"], "country codes"),
        ("digit", "99", "one digit"),
        ("followed_by", "6-9", "the digits that may follow"),
        ("followed_by", "09", "both forms would look alike"),
        ("canonical", "longest", "known: with, without"),
        ("read", "yesterday", "a date"),
        ("source", "", "a text"),
        ("position", -1, "a whole number"),
        ("digits", "0", "there is no such key"),
    ],
)
def test_a_fault_in_the_data_names_file_key_and_remedy(key: str, value: object, fault: str) -> None:
    """A fault in the data stops the process and names file, key and remedy."""
    data = shipped()
    data["spellings.toml"]["trunk_zero"][key] = value
    with pytest.raises(PolicyDataError, match=rf"spellings\.toml: trunk_zero\.{key}: .*{fault}"):
        parse_spellings(data)

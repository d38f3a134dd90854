"""No page, example or test names a phone number that may belong to a person."""

import re
from pathlib import Path
from typing import Final

from tests.support.cast import AREAS, NUMBERS_PER_AREA, phone

FOLDERS: Final = (
    *("bench", "deploy", "docs", "examples", "locks", "policies", "release"),
    *("sandbox", "sendwindow", "tests", "verify", "worker"),
)
"""Where texts are. What a command installed or wrote is elsewhere."""

FICTIONAL: Final = tuple(
    map(
        re.compile,
        (
            r"\+1[2-9]\d\d55501\d\d",  # North America
            r"\+447700900\d{3}",  # United Kingdom
            r"\+493023125\d{3}",  # Berlin
        ),
    )
)
"""The ranges that `tests/support/cast.py` names."""

ALLOWED: Final = {
    "Brazil, Mexico and Argentina write a mobile number in two ways, and have no such range": (
        *("+5511995550123", "+551195550123", "+5511995550199"),
        *("+5511987654321", "+551187654321", "+55011987654321", "+5501187654321"),
        *("+5521987654321", "+552187654321"),
        *("+525555550123", "+5215555550123", "+525555550124"),
        *("+541155550123", "+5491155550123", "+5401155550123"),
        *("+542901555012", "+5492901555012"),
        *("+525512345678", "+5215512345678", "+555112345678", "+5551912345678"),
    ),
    "almost such a number: of another length, or no mobile": (
        *("+551133334444", "+5511933334444", "+551153334444", "+5511953334444"),
        *("+52155555501234", "+5255555501234", "+54911555501", "+5411555501"),
        "+5215550100",
    ),
    "countries where a 0 after the country code is a mistake, or is not": (
        *("+49015112345678", "+4915112345678", "+9109876543210", "+919876543210"),
        *("+62081234567890", "+6281234567890", "+23408031234567", "+2348031234567"),
        *("+390612345678", "+39612345678", "+2250712345678", "+225712345678"),
        *("+24106123456", "+2416123456", "+4407700900124", "+44007700900124", "+104155550123"),
    ),
    "Benin put 01 before every number": (
        *("+2290161234567", "+229161234567", "+2290161234567", "+22961234567"),
    ),
    "Twilio's own examples: a signature is known for them": (
        *("+18005551212", "+14158675309", "+14158675310", "+14155131050"),
    ),
    "Twilio's test number, which is nobody's": ("+15005550006",),
    "as long as a number may be, and one digit longer": ("+123456789012345", "+1234567890123456"),
}
"""Numbers outside those ranges, by the reason why a rule cannot be shown without them."""

_NUMBER: Final = re.compile(r"\+[1-9]\d{6,}(?![\d{])")
_COMPOSED: Final = re.compile(r"\+[1-9]\d*\{")
_MAY_BEGIN: Final = re.compile(r"\+(1[2-9]\d\d55501\d?|5511995)\{")
"""The fictional range of an area, and Brazil, which has none."""

_HERE: Final = Path(__file__)
MAY_COMPOSE: Final = {
    _HERE.parent / "support" / "cast.py",
    # It runs with an old release, so it imports nothing; upgrade.py compares it with the cast.
    _HERE.parent / "chaos" / "upgrade_producer.py",
    # It also runs in a checkout without this cast. Its area codes are 212 and those that follow.
    _HERE.parents[1] / "bench" / "script_calls.py",
}


def texts(root: Path) -> dict[Path, str]:
    """Return every text of the checkout, this file excepted."""
    files = [*root.glob("*.*"), *(path for name in FOLDERS for path in (root / name).rglob("*"))]
    return {
        path: path.read_text("utf-8", errors="replace")
        for path in files
        if path.is_file() and path != _HERE and path.suffix != ".pyc"
    }


def test_every_phone_number_is_fictional(root: Path) -> None:
    """Every number is of a range kept for fiction, or is listed with its reason."""
    allowed = {number for numbers in ALLOWED.values() for number in numbers}
    real = {
        f"{path.relative_to(root)}: {number}"
        for path, text in texts(root).items()
        for number in _NUMBER.findall(text)
        if number not in allowed and not any(kind.fullmatch(number) for kind in FICTIONAL)
    }
    assert real == set()


def test_no_number_is_composed_of_parts(root: Path) -> None:
    """A test that needs many numbers takes them from `cast.phone`, which stays in the ranges."""
    composed = {
        f"{path.relative_to(root)}: {start}"
        for path, text in texts(root).items()
        if path.suffix == ".py" and path not in MAY_COMPOSE
        for start in _COMPOSED.findall(text)
        if not _MAY_BEGIN.fullmatch(start)
    }
    assert composed == set()


def test_every_exception_is_needed(root: Path) -> None:
    """A number that is listed as an exception stands somewhere."""
    everything = "\n".join(texts(root).values())
    assert [
        number for numbers in ALLOWED.values() for number in numbers if number not in everything
    ] == []


def test_the_casts_phones_are_fictional_and_differ() -> None:
    """`phone` gives each index a number of its own, all of them fictional."""
    last = len(AREAS) * NUMBERS_PER_AREA
    assert len({phone(index) for index in range(last)}) == last
    assert all(FICTIONAL[0].fullmatch(phone(index)) for index in range(0, last, 37))

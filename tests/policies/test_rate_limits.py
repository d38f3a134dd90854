"""The limits that are documented, and what a message is charged."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.rate_limits import PAIR, default_per_second, pace, sms_segments
from sendwindow.addresses import parse_sender_address
from tests.depth import examples

SECOND_US = 1_000_000


@pytest.mark.parametrize(
    "per_second, burst, rate",
    [(20, 2, 19), (80, 6, 75), (2000, 141, 1860)],
)
def test_the_burst_is_taken_off_the_rate(per_second: float, burst: int, rate: float) -> None:
    """Rate = limit - (burst - 1)."""
    limit = pace(per_second)
    assert limit.interval_us == math.ceil(SECOND_US / rate)
    assert limit.tolerance_us == (burst - 1) * limit.interval_us


@pytest.mark.parametrize("per_second", [0.5, 1, 5, 12, 14])
def test_a_low_limit_has_no_burst(per_second: float) -> None:
    """Two messages never go out at once, but a late one costs the next one nothing."""
    limit = pace(per_second)
    assert 0 < limit.tolerance_us < limit.interval_us
    assert limit.interval_us == math.ceil((SECOND_US + limit.tolerance_us) / per_second)


@settings(max_examples=examples(500))
@given(st.floats(0.1, 100_000))
def test_the_burst_is_at_most_one_and_seven_percent(per_second: float) -> None:
    """What a burst may add is bounded, and no burst makes the pace faster than the limit."""
    limit = pace(per_second)
    burst = limit.tolerance_us // limit.interval_us + 1
    assert 1 <= burst <= 1 + 0.07 * per_second
    assert limit.interval_us * per_second >= SECOND_US + limit.tolerance_us - 1


def test_a_pair_gets_a_message_in_six_seconds_and_45_at_once() -> None:
    """WhatsApp's pair rate, as Meta documents it."""
    assert PAIR.interval_us == 6 * SECOND_US
    assert PAIR.tolerance_us == 44 * PAIR.interval_us


@pytest.mark.parametrize(
    "address, per_second",
    [
        ("whatsapp:+14155550100", 80),
        ("messenger:100200300400501", None),
        ("12345", 100),
        ("+18005550100", 3),
        ("+18885550100", 3),
        ("+14155550100", 1),
        ("+447700900123", None),
        ("ACME", None),
    ],
)
def test_each_kind_of_sender_has_its_documented_rate(
    address: str, per_second: float | None
) -> None:
    """A sender about which nothing is documented has no limit."""
    assert default_per_second(parse_sender_address(address)) == per_second


@pytest.mark.parametrize(
    "body, segments",
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("a" + "€" * 80, 2),
        # An escape and its character stay together, so 152 of 153 septets are used.
        ("a" * 152 + "€" * 77 + "a", 3),
        ("а" * 70, 1),
        ("а" * 71, 2),
        ("а" * 134, 2),
        ("а" * 135, 3),
        ("🙂" * 35, 1),
        ("🙂" * 36, 2),
        ("🙂" * 66, 2),
        ("🙂" * 67, 3),
        ("a" * 159 + "а", 3),
        ("ç" * 70, 1),
        ("ç" * 71, 2),
    ],
)
def test_a_text_is_split_into_segments(body: str, segments: int) -> None:
    """GSM-7 has 160 septets, or 153 a segment; UCS-2 has 70 units, or 67."""
    assert sms_segments(body) == segments


@settings(max_examples=examples(200))
@given(st.text(max_size=400), st.text(max_size=40))
def test_a_longer_text_never_has_fewer_segments(body: str, more: str) -> None:
    """What is added to a text costs nothing or more."""
    assert sms_segments(body + more) >= sms_segments(body)

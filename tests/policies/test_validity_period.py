"""How long Twilio may keep a message in its own queue."""

from datetime import timedelta

import pytest

from policies.decide import validity_period
from tests.policies.given import DAY, HOUR, NOW, POLICY, SECOND, TICK


@pytest.mark.parametrize(
    "left, period",
    [
        pytest.param(DAY, 10 * HOUR, id="never-more-than-36000-seconds"),
        pytest.param(10 * HOUR + TICK, 10 * HOUR, id="just-over-the-most"),
        pytest.param(10 * HOUR - TICK, 10 * HOUR - SECOND, id="rounded-down"),
        pytest.param(90 * SECOND, 90 * SECOND, id="whole"),
        pytest.param(2 * SECOND - TICK, SECOND, id="below-two"),
        pytest.param(TICK, SECOND, id="the-one-second-that-twilio-accepts"),
        pytest.param(-HOUR, SECOND, id="past"),
    ],
)
def test_the_validity_period_is_whole_seconds_within_what_is_left(
    left: timedelta, period: timedelta
) -> None:
    """ValidityPeriod is 1 to 36,000 whole seconds, rounded down to stay within the window.

    The minimum of 1 s is the only excess.
    """
    assert validity_period(POLICY, NOW + left, NOW) == period

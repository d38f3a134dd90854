"""The provider's statuses move only forward."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.status import (
    FAILURES,
    RANKS,
    UNKNOWN_RANK,
    Advance,
    advance,
    describe,
    implies_delivered,
)
from sendwindow.vocabulary import Channel

STATUSES = st.sampled_from([*RANKS, "partially_delivered", "teleported"])


@pytest.mark.parametrize(
    "status, is_final, is_failure",
    [
        ("scheduled", False, False),
        ("accepted", False, False),
        ("queued", False, False),
        ("sending", False, False),
        ("sent", False, False),
        ("delivered", True, False),
        ("read", True, False),
        ("failed", True, True),
        ("undelivered", True, True),
        ("canceled", True, True),
        ("partially_delivered", False, False),
        ("a status of next year", False, False),
        ("", False, False),
    ],
)
def test_each_status_is_final_and_a_failure_as_twilio_says(
    status: str, is_final: bool, is_failure: bool
) -> None:
    """An unknown status is kept verbatim; it ends nothing and fails nothing."""
    step = describe(status)
    assert (step.status, step.is_final, step.is_failure) == (status, is_final, is_failure)


def test_messenger_ends_at_sent() -> None:
    """Twilio reports nothing after `sent` for Messenger, but does on the other channels."""
    assert describe("sent", Channel.MESSENGER).is_final
    assert not describe("sent", Channel.WHATSAPP).is_final
    assert not describe("queued", Channel.MESSENGER).is_final


def test_a_status_nobody_knows_ranks_between_sending_and_sent() -> None:
    """An unknown status ranks between sending and sent, so that it hides no documented one."""
    assert RANKS["sending"] < UNKNOWN_RANK < RANKS["sent"]
    assert advance("sending", "teleported") == Advance("teleported", has_moved=True)
    assert advance("teleported", "sent") == Advance("sent", has_moved=True)
    assert advance("sent", "teleported") == Advance("sent", has_moved=False)


@pytest.mark.parametrize(
    "current, new, stands, moved, contradiction",
    [
        (None, "queued", "queued", True, False),
        (None, "teleported", "teleported", True, False),
        ("queued", "sent", "sent", True, False),
        ("sent", "queued", "sent", False, False),
        ("sent", "sent", "sent", False, False),
        ("sent", "failed", "failed", True, False),
        ("failed", "sent", "failed", False, False),
        ("sent", "read", "read", True, False),
        ("read", "delivered", "read", False, False),
        ("delivered", "read", "read", True, False),
        ("delivered", "failed", "delivered", False, True),
        ("read", "undelivered", "read", False, True),
        ("failed", "undelivered", "failed", False, False),
        ("undelivered", "delivered", "delivered", True, False),
        ("failed", "read", "read", True, False),
        ("canceled", "delivered", "delivered", True, False),
    ],
)
def test_a_status_moves_forward_or_stays(
    current: str | None, new: str, stands: str, moved: bool, contradiction: bool
) -> None:
    """Late and repeated reports change nothing, and a failure after delivery is a contradiction."""
    assert advance(current, new) == Advance(stands, moved, contradiction)


@given(st.lists(STATUSES, min_size=1, max_size=8))
def test_whatever_the_order_the_rank_never_goes_down(reported: list[str]) -> None:
    """The rank never falls, whatever the order of callbacks."""
    current: str | None = None
    rank = -1
    for status in reported:
        step = advance(current, status)
        assert step.has_moved is (describe(status).rank > rank)
        current = step.status
        assert describe(current).rank >= rank
        rank = describe(current).rank
    assert rank == max(describe(status).rank for status in reported)


@given(st.lists(STATUSES, max_size=6))
def test_repeating_reports_changes_nothing(reported: list[str]) -> None:
    """Applying the same callbacks twice is the same as applying them once."""

    def applied(statuses: list[str]) -> str | None:
        current: str | None = None
        for status in statuses:
            current = advance(current, status).status
        return current

    assert applied(reported + reported) == applied(reported)
    assert applied([status for status in reported for _ in range(2)]) == applied(reported)


def test_the_common_path_gives_one_result_in_every_order() -> None:
    """Any order of callbacks of a message that was read ends at `read`."""
    for order in itertools.permutations(["queued", "sending", "sent", "delivered", "read"]):
        current: str | None = None
        for status in order:
            current = advance(current, status).status
        assert current == "read"


def test_read_implies_delivered() -> None:
    """`read` implies `delivered`, which WhatsApp may leave out."""
    assert [status for status in RANKS if implies_delivered(status)] == ["delivered", "read"]
    assert not FAILURES & {"delivered", "read"}

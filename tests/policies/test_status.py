"""The provider's statuses move only forward."""

import pytest

from policies.status import (
    FAILURES,
    RANKS,
    UNKNOWN_RANK,
    describe,
    implies_delivered,
)
from sendwindow.vocabulary import Channel


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


def test_an_unknown_status_ranks_between_sending_and_sent() -> None:
    """An unknown status ranks between sending and sent, so that it hides no documented one."""
    assert RANKS["sending"] < UNKNOWN_RANK < RANKS["sent"]
    assert describe("teleported").rank == UNKNOWN_RANK


def test_failures_rank_alike_and_below_delivered() -> None:
    """The first failure stands, and only a delivery outranks it.

    The store compares the ranks: tests/worker/stores/test_status.py.
    """
    assert {RANKS[status] for status in FAILURES} == {RANKS["failed"]}
    assert RANKS["sent"] < RANKS["failed"] < RANKS["delivered"] < RANKS["read"]


def test_read_implies_delivered() -> None:
    """`read` implies `delivered`, which WhatsApp may leave out."""
    assert [status for status in RANKS if implies_delivered(status)] == ["delivered", "read"]
    assert not FAILURES & {"delivered", "read"}

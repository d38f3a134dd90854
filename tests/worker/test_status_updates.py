"""What a reported status proves, and its effects."""

import pytest

from policies.status import RANKS
from sendwindow.vocabulary import Channel
from tests.support.cast import MESSAGE_SID
from tests.support.shipped import rules
from worker.ports.effects import (
    CloseWindow,
    Effect,
    HoldBack,
    OptOut,
    PauseSender,
    SetTag,
    SetTemplate,
    SuppressAddress,
)
from worker.ports.statuses import StatusUpdate
from worker.status_updates import StatusReport, update_of


def reported(
    status: str, code: int | None = None, channel: Channel = Channel.WHATSAPP, attempt: int = 1
) -> StatusUpdate:
    """Return the status update of one report."""
    return update_of(StatusReport(MESSAGE_SID, status, code, channel, "m1", attempt), rules(), 0.0)


@pytest.mark.parametrize("status", [*RANKS, "teleported"])
def test_a_status_is_kept_verbatim_with_its_rank(status: str) -> None:
    """Rank and finality come from the policies; an unknown status is stored and ends nothing."""
    update = reported(status)
    assert (update.status, update.rank) == (status, RANKS.get(status, 35))
    assert update.is_final == (status in {"failed", "undelivered", "canceled", "delivered", "read"})


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        (21610, OptOut),
        (63014, HoldBack),
        (63033, HoldBack),
        (63049, HoldBack),
        (63016, CloseWindow),
        (63003, SuppressAddress),
        (63001, PauseSender),
        (63041, SetTemplate),
    ],
)
def test_a_failure_teaches_what_the_catalogue_says(code: int, effect: type[Effect]) -> None:
    """An error in a callback has the same effects as one in the answer."""
    assert [type(one) for one in reported("failed", code).effects] == [effect]


def test_a_code_with_a_good_status_is_a_warning() -> None:
    """A warning code such as 63037 next to `sent` closes nothing and opts no person out."""
    assert reported("sent", 21610).effects == ()
    assert reported("delivered", 63016).reopen_after_ms is None


@pytest.mark.parametrize(
    ("status", "code", "after"),
    [
        ("failed", 30500, True),
        ("failed", 63018, True),
        ("failed", 63016, True),
        ("failed", 30410, False),
        ("failed", 30007, False),
        ("failed", None, False),
        ("undelivered", 30500, False),
        ("sent", None, False),
    ],
)
def test_only_a_definite_and_passing_failure_reopens(
    status: str, code: int | None, after: bool
) -> None:
    """A failure reopens a message only if it proves the loss and its cause may pass.

    30410 is possibly sent.
    """
    assert (reported(status, code).reopen_after_ms is not None) == after


def test_a_closed_window_is_decided_again_at_once() -> None:
    """63016 closes our record of the window, so the message is decided again without a delay."""
    assert reported("failed", 63016).reopen_after_ms == 0


def test_retries_after_failures_end() -> None:
    """A failure report carries the catalogue's number of tries.

    The store knows which attempts were tries.
    """
    entry = rules().errors.lookup(30500, message_status="failed", asynchronous=True)
    assert entry.max_tries
    assert reported("failed", 30500, attempt=1).most_tries == entry.max_tries
    assert reported("failed", 63016).most_tries == 0


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        ("sent", None, None),
        ("sent", 63016, None),
        ("failed", 63016, "dead"),
        ("failed", 30007, None),
    ],
)
def test_a_messenger_failure_speaks_against_the_tag(
    status: str, code: int | None, state: str | None
) -> None:
    """A code of a dead ACCOUNT_UPDATE opens the Page's breaker, and the store decides what
    proves the tag.
    """
    tags = [
        one.state
        for one in reported(status, code, Channel.MESSENGER).effects
        if isinstance(one, SetTag)
    ]
    assert tags == ([] if state is None else [state])
    assert not any(
        isinstance(one, SetTag) for one in reported(status, code, Channel.WHATSAPP).effects
    )

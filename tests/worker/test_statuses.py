"""What a reported status proves and teaches."""

import pytest

from policies.status import RANKS
from sendwindow.vocabulary import Channel
from tests.worker.shipped import rules
from worker.statuses import StatusReport, update_of
from worker.values.effects import (
    CloseWindow,
    Effect,
    HoldBack,
    OptOut,
    PauseSender,
    SetTag,
    SetTemplate,
    SuppressAddress,
)
from worker.values.statuses import StatusUpdate

SID = "SM" + "a" * 32


def reported(
    status: str, code: int | None = None, channel: Channel = Channel.WHATSAPP, attempt: int = 1
) -> StatusUpdate:
    """What becomes of one report."""
    return update_of(StatusReport(SID, status, code, channel, "m1", attempt), rules(), 0.0)


@pytest.mark.parametrize("status", [*RANKS, "teleported"])
def test_a_status_is_kept_verbatim_with_its_rank(status: str) -> None:
    """Rank and finality are those of the policies; a status nobody knows yet is kept and ends nothing."""
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
    """An error that comes with a callback teaches the same as one that comes with the answer."""
    assert [type(one) for one in reported("failed", code).effects] == [effect]


def test_a_code_beside_a_good_status_is_a_warning() -> None:
    """A warning such as 63037 beside `sent` closes nothing and opts nobody out."""
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
def test_only_a_definite_and_passing_failure_reopens(status: str, code: int | None, after: bool) -> None:
    """A new attempt needs proof that the first one did not arrive and a cause that passes; 30410 is possibly sent."""
    assert (reported(status, code).reopen_after_ms is not None) == after


def test_a_closed_window_is_decided_again_at_once() -> None:
    """63016 closes our record, so the next decision is another one; there is nothing to wait for."""
    assert reported("failed", 63016).reopen_after_ms == 0


def test_retries_after_failures_end() -> None:
    """The catalogue's number of tries goes with a failure reported later; the store knows which attempts were none."""
    entry = rules().errors.lookup(30500, message_status="failed", asynchronous=True)
    assert entry.max_tries
    assert reported("failed", 30500, attempt=1).most_tries == entry.max_tries
    assert reported("failed", 63016).most_tries == 0


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [("sent", None, None), ("sent", 63016, None), ("failed", 63016, "dead"), ("failed", 30007, None)],
)
def test_a_messenger_failure_speaks_against_the_tag(status: str, code: int | None, state: str | None) -> None:
    """The codes a dead ACCOUNT_UPDATE produces open the Page's breaker; what proves it is for the store to say."""
    tags = [one.state for one in reported(status, code, Channel.MESSENGER).effects if isinstance(one, SetTag)]
    assert tags == ([] if state is None else [state])
    assert not any(isinstance(one, SetTag) for one in reported(status, code, Channel.WHATSAPP).effects)

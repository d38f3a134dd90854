"""`verify` on operators' orders whose command was killed before it could journal the store's
reply.
"""

import pytest

from tests.support.verify_run import Line, Run, rules
from verify.history import StoredOutcome
from verify.judge import verify
from verify.judge_context import Options


def ordered(run: Run, *, word: str = "retried", is_done: bool = False) -> Line:
    order = run.add(
        "command", "ordered", word=word, ids=["m1", "elsewhere"], expires=[9_000, 9_000]
    )
    if is_done:
        run.add("command", "order_done", of=order["t"])
    return order


@pytest.mark.parametrize(
    "word, stage", [("retried", "failed"), ("retried", "expired"), ("replayed", "dead")]
)
def test_an_order_without_an_answer_counts_where_another_life_shows(
    run: Run, word: str, stage: str
) -> None:
    """An order without a reply counts if another life shows, and its expiry counts from then."""
    run.add("producer", "accepted", id="m1", duplicate=False, expires=1_000)
    run.settle("m1", 0, stage, "expired")
    ordered(run, word=word)
    run.claim("m1", fence=2)
    late = run.post("m1", at=8_000)
    run.settle("m1", 1, "accepted")
    assert run.judge().ok
    late["at"] = 99_000
    assert rules(run.judge(), "P1") == {"after_expiry"}


def test_an_order_without_an_answer_takes_no_end_from_a_message_that_stays_so(run: Run) -> None:
    """An order without a reply takes no end from a message that has only one life.

    The command may have been killed before the store knew of the order.
    """
    run.add("producer", "accepted", id="m1", duplicate=False)
    run.settle("m1", 0, "refused", "no_consent")
    ordered(run)
    report = run.judge()
    assert (report.ok, report.counts.ends) == (True, {"refused": 1})


@pytest.mark.parametrize("found", ["refused", "queued", "cancelled"])
def test_the_store_may_show_the_life_that_an_order_began(run: Run, found: str) -> None:
    """The store's stage at the end may show the life that an order began."""
    run.add("producer", "accepted", id="m1", duplicate=False)
    run.settle("m1", 0, "refused", "no_consent")

    def is_sound() -> bool:
        run.write()
        options = Options(open_allowed=frozenset({"queued"}))
        return verify([run.path], options, found=lambda _: {"m1": StoredOutcome(found)}).ok

    assert is_sound() is (found == "refused")
    ordered(run)
    assert is_sound()


def test_an_order_excuses_nothing_once_it_was_answered(run: Run) -> None:
    """An order that the store declined by a line of its own began no life, so a second end is a
    breach.
    """
    run.add("producer", "accepted", id="m1", duplicate=False)
    run.settle("m1", 0, "refused", "no_consent")
    ordered(run, is_done=True)
    run.claim("m1", fence=2)
    run.post("m1")
    run.settle("m1", 1, "accepted")
    assert "two_ends" in rules(run.judge(), "P2")


@pytest.mark.parametrize("answer", ["retried", "replayed"])
def test_an_order_counts_once(run: Run, answer: str) -> None:
    """An order counts once, also when a killed command or another operator's order journaled the
    life.
    """
    run.add("producer", "accepted", id="m1", duplicate=False, expires=1_000)
    run.settle("m1", 0, "refused", "no_consent")
    order = ordered(run)
    who = "command" if answer == "retried" else "another"
    run.add(who, answer, id="m1", expires=20_000)["t"] = order["t"] + (
        0 if who == "command" else 0.5
    )
    run.claim("m1", fence=2)
    run.post("m1", at=19_000)
    run.settle("m1", 1, "accepted")
    assert run.judge().ok


def test_an_order_for_a_message_that_waits_begins_no_life(run: Run) -> None:
    """The store declines an order for a waiting message, so the expiry stays, whatever the
    command wrote.
    """
    run.add("producer", "accepted", id="m1", duplicate=False, expires=20_000)
    run.claim("m1")
    run.settle("m1", 0, "waiting", "awaiting_inbound")
    ordered(run)
    run.claim("m1", fence=2)
    run.post("m1", at=19_000)
    run.settle("m1", 1, "accepted")
    assert run.judge().ok

"""`verify` on errors that tell the sender not to send: which count, and how many are too many."""

from typing import Any

import pytest

from tests.support.verify_run import Run, rules
from verify.error_jumps import COUNTED_ATTEMPTS, MAX_ERRORS

ANNA: dict[str, Any] = {"person": "anna", "account": "AC1", "channel": "whatsapp", "sender": "shop"}


def accept(run: Run, name: str, digest: str, purpose: str = "utility") -> None:
    """Journal that a producer queued a message to a person."""
    known = {"purpose": purpose, "person": digest, "account": "main", "sender": "shop"}
    run.add("producer", "accepted", id=name, not_before=None, expires=None, **known)


def fail(
    run: Run, name: str, code: int, digest: str = "digest-anna", http: int | None = 400, **more: Any
) -> None:
    """Journal a message that the provider refuses.

    `http`: the answer that the worker received, None if it received none.
    """
    accept(run, name, digest)
    run.claim(name)
    run.post(name, **({"sid": None, "code": code, "at": 0, **ANNA} | more))
    run.add("worker-1", "replied", id=name, attempt=1, reply="rejected", sid=None, http=http)
    run.settle(name, 1, "failed")


def send(run: Run, name: str = "again", digest: str = "digest-anna", **more: Any) -> None:
    """Journal a message that is decided now and taken by the provider."""
    accept(run, name, digest)
    run.claim(name)
    run.post(name, sid=f"SM{name}", **({"at": 0, **ANNA} | more))
    run.settle(name, 1, "accepted")


def refuse(run: Run, name: str, digest: str) -> None:
    """Journal a message that is refused because its address is suppressed."""
    accept(run, name, digest)
    run.add("worker-1", "decided", id=name, decision="refuse", reason="address_suppressed")
    run.settle(name, 0, "refused")


def fail_many(run: Run, many: int, code: int = 21614, *, settled: bool = True) -> None:
    """Journal messages to so many other persons that fail with one code."""
    for number in range(many):
        fail(run, f"other-{number}", code, f"digest-{number}", person=f"person-{number}")
        if not settled:
            run.lines.pop()


def is_told(run: Run) -> bool:
    return "told_opted_out" in rules(run.judge(), "P1")


# -- 21610 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "is_broken"),
    [
        ({}, True),
        ({"person": "bert"}, False),
        ({"account": "AC2"}, False),
        ({"channel": "sms"}, False),
        ({"sender": "text"}, False),
        ({"user_id": True}, False),
        ({"form": None}, False),
    ],
)
def test_nothing_goes_to_whom_the_provider_called_opted_out(
    run: Run, other: dict[str, Any], is_broken: bool
) -> None:
    """21610 forbids what is decided after it, for one person at one sender."""
    fail(run, "first", 21610)
    send(run, **other)
    assert is_told(run) is is_broken


def test_what_was_decided_before_21610_was_recorded_may_go(run: Run) -> None:
    """A message that was decided before the service had recorded 21610 breaks nothing."""
    accept(run, "again", "digest-anna")
    run.claim("again")
    fail(run, "first", 21610)
    run.post("again", **ANNA)
    assert not is_told(run)


@pytest.mark.parametrize(
    ("status", "http", "then", "is_broken"),
    [
        ("failed", 204, None, True),
        ("failed", 503, None, False),
        ("sent", 204, None, False),
        ("failed", 204, "delivered", False),
    ],
)
def test_a_callback_tells_21610_once_it_got_a_2xx(
    run: Run, status: str, http: int, then: str | None, is_broken: bool
) -> None:
    """A callback counts once the gateway stored it, unless the message arrived after all."""
    fail(run, "first", 21610, sid="SM1", fails="failed", then=then)
    run.add("sandbox", "callback_sent", sid="SM1", status=status, id="first", attempt=1, http=http)
    send(run)
    assert is_told(run) is is_broken


@pytest.mark.parametrize(
    "line",
    [
        ("sandbox", "said", {"sid": "SMin", "start": True, **ANNA}),
        ("person", "consent", {"granted": True, "person": "digest-anna", "account": "main"}),
        ("worker-1", "decided", {"id": "again", "reason": "opt_out_confirmation"}),
    ],
    ids=lambda line: line[1],
)
def test_what_the_person_asked_for_since_may_go(
    run: Run, line: tuple[str, str, dict[str, Any]]
) -> None:
    """A START, a grant, and the confirmation of a stop are no breach of 21610."""
    fail(run, "first", 21610)
    accept(run, "again", "digest-anna")
    run.claim("again")
    who, event, fields = line
    run.add(who, event, **fields)
    run.post("again", **ANNA)
    assert not is_told(run)


def test_an_answer_that_was_lost_tells_nothing(run: Run) -> None:
    """21610 forbids nothing when the worker never received the answer."""
    fail(run, "first", 21610, http=None)
    send(run)
    assert not is_told(run)


def test_a_grant_from_before_the_attempt_excuses_nothing(run: Run) -> None:
    """A grant counts only when it came after the attempt that 21610 ended had been decided."""
    run.add("person", "consent", granted=True, person="digest-anna", account="main")
    fail(run, "first", 21610)
    send(run)
    assert is_told(run)


def test_without_a_decision_a_post_long_after_21610_is_judged_by_its_time(run: Run) -> None:
    """Without a worker's journal a POST breaks the rule only when it came 5 s after the error."""
    fail(run, "first", 21610)
    accept(run, "again", "digest-anna")
    post = run.post("again", **ANNA)
    assert not is_told(run)
    post["t"] += 5_100
    assert is_told(run)


# -- too many errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "is_broken"), [(MAX_ERRORS - 1, False), (MAX_ERRORS, True)])
def test_an_error_beyond_the_limit_shuts_no_person_out(
    run: Run, before: int, is_broken: bool
) -> None:
    """A refusal for an error that came after 50 others was not the person's doing."""
    fail_many(run, before)
    fail(run, "last", 21614)
    refuse(run, "again", "digest-anna")
    assert ("shut_out" in rules(run.judge(), "P2")) is is_broken


@pytest.mark.parametrize("case", ["applied", "discarded", "not recorded", "long ago", "blocked"])
def test_whether_an_error_is_beyond_the_limit_must_be_sure(run: Run, case: str) -> None:
    """A refusal is right when an operator applied the effects, or the error may have counted."""
    fail_many(
        run, MAX_ERRORS, 63014 if case == "blocked" else 21614, settled=case != "not recorded"
    )
    if case == "long ago":
        for number in range(COUNTED_ATTEMPTS // 2):
            send(run, f"between-{number}", f"digest-{number}", person=f"person-{number}")
    fail(run, "last", 21614)
    if case in {"applied", "discarded"}:
        decision = "apply" if case == "applied" else "discard"
        run.add("command", "held_effects", sender="shop", decision=decision, effects=1)
    refuse(run, "again", "digest-anna")
    assert ("shut_out" in rules(run.judge(), "P2")) is (case == "discarded")


@pytest.mark.parametrize(
    ("code", "breach"),
    [
        (63024, {"violation": "told_unusable"}),
        (63014, {"held": "all", "held_t": 1_000_000}),
        (21610, {}),
    ],
)
@pytest.mark.parametrize(("before", "is_broken"), [(MAX_ERRORS - 1, True), (MAX_ERRORS, False)])
def test_what_one_of_too_many_errors_taught_may_be_ignored(
    run: Run, code: int, breach: dict[str, Any], before: int, is_broken: bool
) -> None:
    """A POST after an error that the service may have held for an operator is no breach."""
    fail_many(run, before)
    fail(run, "last", code)
    run.add("person", "consent", granted=True, person="digest-bert", account="main", purpose=None)
    send(run, **breach)
    found = rules(run.judge(), "P1") & {"told_unusable", "held_back", "told_opted_out"}
    assert bool(found) is is_broken


def test_a_cap_is_never_one_of_too_many(run: Run) -> None:
    """63049 is a cap that a campaign may meet for any number of persons, so it always counts."""
    fail_many(run, MAX_ERRORS)
    fail(run, "last", 63049)
    accept(run, "again", "digest-anna", "marketing")
    run.claim("again")
    run.post("again", at=0, held="marketing", held_t=1_000_000, **ANNA)
    assert "held_back" in rules(run.judge(), "P1")


# -- user ids --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "user_id", "is_broken"),
    [(21211, True, True), (21211, False, False), (63024, True, False)],
)
def test_21211_suppresses_no_user_id(run: Run, code: int, user_id: bool, is_broken: bool) -> None:
    """For a user id 21211 says that the sender is not set up for user ids, so the next message must
    not be refused.
    """
    fail(run, "first", code, user_id=user_id)
    refuse(run, "again", "digest-anna")
    assert ("shut_out" in rules(run.judge(), "P2")) is is_broken

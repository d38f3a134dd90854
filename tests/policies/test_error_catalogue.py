"""The error catalogue: every code typed by hand from Twilio's pages, and defaults for unknown
codes.
"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.error_catalogue import (
    ErrorClass,
    ErrorEntry,
    Hold,
    Meaning,
    Operation,
    Scope,
    parse_errors,
)
from policies.facts import Holds
from policies.toml_reader import PolicyDataError
from tests.policies.given import ERRORS
from tests.support.shipped import shipped

(
    RETRY,
    THROTTLE,
    RECONCILE,
    FAIL,
    BADADDR,
    OPTOUT,
    HOLD,
    TEMPLATE,
    PAUSE_SENDER,
    PAUSE_ACCOUNT,
    DISABLE,
    CONFIG,
    IGNORE,
) = ErrorClass


_DATA = shipped()["errors.toml"]
SOURCES = {
    code: _DATA["sources"][entry["source"]]
    for entry in _DATA["entry"]
    for code in entry["codes"]
    if isinstance(code, int)
}
"""The text of the source of each code that an entry names by itself."""


def _reopens(entry: ErrorEntry, status: str) -> bool:
    """Return whether this failure, reported after acceptance, may begin another life."""
    return entry.meaning(status) in (Meaning.GO_AGAIN, Meaning.DECIDE_AGAIN)


SYNCHRONOUS = {
    20003: PAUSE_ACCOUNT,
    20005: PAUSE_ACCOUNT,
    20006: PAUSE_ACCOUNT,
    20008: CONFIG,
    20404: PAUSE_ACCOUNT,
    20422: FAIL,
    20429: THROTTLE,
    20500: RECONCILE,
    20503: RECONCILE,
    21211: BADADDR,
    21212: PAUSE_SENDER,
    21408: FAIL,
    21602: CONFIG,
    21603: CONFIG,
    21604: CONFIG,
    21606: PAUSE_SENDER,
    21608: FAIL,
    21609: CONFIG,
    21610: OPTOUT,
    21611: THROTTLE,
    21612: FAIL,
    21614: BADADDR,
    21617: FAIL,
    21618: FAIL,
    21619: FAIL,
    21620: FAIL,
    21621: FAIL,
    21622: FAIL,
    21623: FAIL,
    21624: CONFIG,
    21654: CONFIG,
    92005: CONFIG,
    21655: DISABLE,
    21656: FAIL,
    21657: CONFIG,
    21658: CONFIG,
    21659: CONFIG,
    21660: CONFIG,
    21661: CONFIG,
    21662: CONFIG,
    21663: CONFIG,
    21664: CONFIG,
    21666: CONFIG,
    21667: CONFIG,
    21701: CONFIG,
    21705: CONFIG,
    21702: CONFIG,
    21703: CONFIG,
    21704: CONFIG,
    21709: CONFIG,
    21710: CONFIG,
    21711: CONFIG,
    21712: CONFIG,
    14107: RETRY,
    14101: CONFIG,
    30400: IGNORE,
    30404: IGNORE,
    30409: IGNORE,
    35111: CONFIG,
    35114: CONFIG,
    35115: CONFIG,
    35117: CONFIG,
    35118: CONFIG,
    35119: CONFIG,
    35126: CONFIG,
    35125: THROTTLE,
    60728: THROTTLE,
    63007: PAUSE_SENDER,
    63008: PAUSE_SENDER,
    63017: THROTTLE,
    63018: THROTTLE,
    63031: FAIL,
    63038: PAUSE_ACCOUNT,
    90009: IGNORE,
    **dict.fromkeys([90007, 14102, 14103, 14108, 20010, 20403, 20409, 20413, 520051], FAIL),
    **dict.fromkeys([21626, 21627, 21628, 92001, 92002, 92003, 92004, 92006, 92007, 92008], FAIL),
    **dict.fromkeys(range(21713, 21729), FAIL),
    572006: CONFIG,
}

REPORTED_LATER = {
    30001: THROTTLE,
    30002: PAUSE_ACCOUNT,
    30003: FAIL,
    30004: FAIL,
    30005: BADADDR,
    30006: BADADDR,
    30007: FAIL,
    30008: FAIL,
    30009: IGNORE,
    30010: FAIL,
    30011: FAIL,
    30012: CONFIG,
    30013: CONFIG,
    30014: CONFIG,
    30015: CONFIG,
    30016: CONFIG,
    30017: FAIL,
    30018: CONFIG,
    30019: FAIL,
    30020: RETRY,
    30021: RETRY,
    30022: THROTTLE,
    30023: THROTTLE,
    30024: CONFIG,
    30025: IGNORE,
    30026: IGNORE,
    30027: THROTTLE,
    30028: CONFIG,
    30029: CONFIG,
    30030: CONFIG,
    30031: CONFIG,
    30032: PAUSE_SENDER,
    30033: PAUSE_SENDER,
    30034: PAUSE_SENDER,
    30035: PAUSE_SENDER,
    30036: FAIL,
    30037: FAIL,
    30038: FAIL,
    30039: FAIL,
    30047: RETRY,
    30103: IGNORE,
    30106: IGNORE,
    30111: IGNORE,
    30110: FAIL,
    30610: RETRY,
    30640: HOLD,
    30410: RECONCILE,
    30450: RETRY,
    30500: RETRY,
    11751: FAIL,
}

CHANNELS = {
    63001: PAUSE_SENDER,
    63002: PAUSE_SENDER,
    63003: BADADDR,
    63004: FAIL,
    63005: FAIL,
    63006: FAIL,
    63009: RETRY,
    63010: RETRY,
    63011: FAIL,
    63012: RETRY,
    63013: FAIL,
    63014: HOLD,
    63015: FAIL,
    63016: TEMPLATE,
    63019: RETRY,
    63020: PAUSE_SENDER,
    63021: FAIL,
    63022: PAUSE_SENDER,
    63023: RETRY,
    63024: BADADDR,
    63025: FAIL,
    63026: PAUSE_SENDER,
    63027: DISABLE,
    63028: FAIL,
    63029: RETRY,
    63030: CONFIG,
    63032: FAIL,
    63033: HOLD,
    63034: FAIL,
    63035: FAIL,
    63036: FAIL,
    63037: IGNORE,
    63039: FAIL,
    63040: DISABLE,
    63041: DISABLE,
    63042: DISABLE,
    63043: IGNORE,
    63044: IGNORE,
    63045: IGNORE,
    63046: IGNORE,
    63047: IGNORE,
    63048: FAIL,
    63049: HOLD,
    63050: FAIL,
    63051: PAUSE_SENDER,
    63052: IGNORE,
    63053: FAIL,
    63054: FAIL,
    63055: FAIL,
    63056: FAIL,
    63057: FAIL,
    63058: FAIL,
    63059: FAIL,
    63060: FAIL,
    63061: FAIL,
    63062: CONFIG,
    63101: CONFIG,
    20249: CONFIG,
    133016: CONFIG,
}

KNOWN = SYNCHRONOUS | REPORTED_LATER | CHANNELS


def test_the_catalogue_holds_exactly_the_codes_that_were_read() -> None:
    """The catalogue's codes equal the list above, which was typed by hand from Twilio's pages."""
    assert set(ERRORS.entries) == set(KNOWN)
    assert len(KNOWN) == len(SYNCHRONOUS) + len(REPORTED_LATER) + len(CHANNELS)


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_each_code_has_its_class_and_sentence(code: int) -> None:
    """Every code has a sentence for the reader of an end."""
    entry = ERRORS.lookup(code, http_status=400)
    assert entry.code == code
    assert entry.error_class is KNOWN[code]
    assert entry == ERRORS.entries[code]
    assert entry.sentence.endswith(".")


@pytest.mark.parametrize(
    "error_class, scope",
    [
        (PAUSE_ACCOUNT, {Scope.ACCOUNT}),
        (PAUSE_SENDER, {Scope.SENDER}),
        (BADADDR, {Scope.PERSON}),
        (OPTOUT, {Scope.SENDER}),
        (HOLD, {Scope.PERSON, Scope.SENDER}),
        (DISABLE, {Scope.TEMPLATE}),
        (TEMPLATE, {Scope.PERSON}),
        (RECONCILE, {Scope.MESSAGE}),
        (IGNORE, {Scope.MESSAGE}),
    ],
)
def test_each_class_speaks_of_what_it_stops(error_class: ErrorClass, scope: set[Scope]) -> None:
    """Each class's sentence names what it stops: the account, the person, and so on."""
    found = {entry.scope for entry in ERRORS.entries.values() if entry.error_class is error_class}
    assert found == scope


def test_a_provider_block_is_no_opt_out() -> None:
    """21610 stops one sender or service; 63014 and 63033 hold only what the catalogue names."""
    assert ERRORS.entries[21610].scope is Scope.SENDER
    for code in (63014, 63033):
        entry = ERRORS.entries[code]
        assert entry.scope is Scope.PERSON
        assert entry.hold == Hold(Holds.ALL_BUT_REPLIES, Holds.MARKETING, until_inbound=True)
        assert entry.wait == timedelta(0)
    cap = ERRORS.entries[63049]
    assert cap.scope is Scope.SENDER
    assert cap.hold == Hold(Holds.MARKETING, Holds.MARKETING, until_inbound=False)
    assert cap.wait == timedelta(hours=24)
    assert {code for code, entry in ERRORS.entries.items() if entry.hold} == {
        30640,
        63014,
        63033,
        63049,
    }
    assert ERRORS.marketing_stopped == {131050}


@pytest.mark.parametrize("to_user_id, error_class", [(False, BADADDR), (True, CONFIG)])
def test_an_invalid_user_id_is_a_fault_of_the_sender(
    to_user_id: bool, error_class: ErrorClass
) -> None:
    """21211 for a WhatsApp user id is the sender's fault: Twilio took the id for a phone number.

    The sender may not send to user ids.
    """
    for asynchronous in (False, True):
        entry = ERRORS.lookup(
            21211,
            http_status=400,
            message_status="failed",
            asynchronous=asynchronous,
            to_user_id=to_user_id,
        )
        assert (entry.code, entry.error_class) == (21211, error_class)
        assert entry.needs_alert is to_user_id


@given(code=st.sampled_from(sorted(set(KNOWN) - {21211})))
def test_other_codes_mean_the_same_for_user_ids(code: int) -> None:
    """Other codes mean the same for user ids, because no difference was seen."""
    assert ERRORS.lookup(code, http_status=400, to_user_id=True) == ERRORS.lookup(
        code, http_status=400
    )


def test_what_only_arrives_undelivered_is_never_tried_again() -> None:
    """A code that comes only with `undelivered` has no retry class, because such a message is
    never resent.
    """
    only = {code: entry for code, entry in ERRORS.entries.items() if entry.only_undelivered}
    assert set(only) == {30003, 30004, 30005, 30006, 30008, 30017}
    assert not any(entry.may_go_again or _reopens(entry, "undelivered") for entry in only.values())


def test_night_hours_are_waited_out() -> None:
    """Eleven hours after any instant from 21:00 to 08:00 it is day for the recipient."""
    for code in (30047, 30610):
        wait = ERRORS.entries[code].wait
        for minute in range(21 * 60, 32 * 60):
            assert 8 * 60 <= (minute + wait // timedelta(minutes=1)) % (24 * 60) <= 21 * 60


@pytest.mark.parametrize(
    "code",
    [
        30002,
        30036,
        30038,
        30047,
        63014,
        63016,
        63017,
        63062,
        90007,
        21660,
        21664,
        21666,
        21667,
        21711,
        63101,
    ],
)
def test_codes_whose_dated_pages_can_be_read_name_them(code: int) -> None:
    """A code with a page on Twilio's site names it, since that outranks a dictionary of 2023."""
    page = "https://www.twilio.com/docs/api/errors/{code}.md, read 2026-11-30"
    assert SOURCES[code] == page


def test_what_stops_something_says_for_how_long() -> None:
    """Pauses and suppressions have an end.

    Only a template may stay disabled until an operator acts.
    """
    for entry in ERRORS.entries.values():
        if entry.error_class in (PAUSE_ACCOUNT, PAUSE_SENDER, BADADDR):
            assert entry.wait > timedelta(0)
        if entry.error_class in (PAUSE_ACCOUNT, PAUSE_SENDER, CONFIG, DISABLE):
            assert entry.needs_alert
    assert ERRORS.entries[63041].wait == timedelta(hours=3)
    assert ERRORS.entries[63042].wait == timedelta(0)


def test_an_entry_names_a_wait_only_where_one_is_kept() -> None:
    """An entry has a wait only where a rule reads it.

    Otherwise it would promise a pause that does not happen.
    """
    for entry in ERRORS.entries.values():
        if entry.error_class in (FAIL, OPTOUT, CONFIG, IGNORE, RECONCILE, TEMPLATE):
            assert entry.wait == timedelta(0), entry.code


def test_a_retry_is_bounded_by_tries_and_a_throttle_by_expiry() -> None:
    """A retryable code has a number of tries; a full queue or a rate limit is waited out."""
    for entry in ERRORS.entries.values():
        assert entry.may_go_again is (
            entry.error_class in (RETRY, THROTTLE, PAUSE_SENDER, PAUSE_ACCOUNT)
        )
        if entry.error_class is RETRY:
            assert 2 <= entry.max_tries <= 4
        if not entry.may_go_again:
            assert entry.max_tries == 1


def test_a_provider_timeout_is_possibly_sent() -> None:
    """30410 is possibly sent although its status says failed, because Twilio does not know."""
    entry = ERRORS.lookup(30410, message_status="failed", asynchronous=True)
    assert entry.is_possibly_sent
    assert not _reopens(entry, "failed")
    assert [code for code, found in ERRORS.entries.items() if found.is_possibly_sent] == [
        20500,
        20503,
        30410,
    ]


@pytest.mark.parametrize(
    "code, http_status, error_class, is_known",
    [
        pytest.param(99999, 400, FAIL, False, id="unknown-400"),
        pytest.param(99999, 404, FAIL, False, id="unknown-404"),
        pytest.param(99999, 401, PAUSE_ACCOUNT, False, id="unknown-401"),
        pytest.param(99999, 403, PAUSE_ACCOUNT, False, id="unknown-403"),
        pytest.param(99999, 429, THROTTLE, False, id="unknown-429"),
        pytest.param(99999, 499, FAIL, False, id="last-of-4xx"),
        pytest.param(99999, 500, RECONCILE, False, id="unknown-500"),
        pytest.param(99999, 302, RECONCILE, False, id="a-redirect"),
        pytest.param(99999, None, RECONCILE, False, id="no-http-status"),
        pytest.param(None, 400, RECONCILE, False, id="400-without-code"),
        pytest.param(None, 401, RECONCILE, False, id="401-without-code"),
        pytest.param(None, 429, RECONCILE, False, id="429-without-code"),
        pytest.param(None, 503, RECONCILE, False, id="503-without-code"),
        pytest.param(None, None, RECONCILE, False, id="nothing-at-all"),
        pytest.param(20429, 429, THROTTLE, True, id="20429"),
        pytest.param(21610, 499, OPTOUT, True, id="a-code-below-5xx"),
        pytest.param(21610, 500, RECONCILE, False, id="5xx-outranks-a-code"),
        pytest.param(20503, 503, RECONCILE, True, id="5xx-with-its-own-code"),
        pytest.param(21610, 400, OPTOUT, True, id="known"),
        pytest.param(21610, None, OPTOUT, True, id="known-without-http-status"),
    ],
)
def test_an_answer_is_classed_by_code_first_and_http_status_second(
    code: int | None, http_status: int | None, error_class: ErrorClass, is_known: bool
) -> None:
    """Only a coded 4xx proves that nothing was sent; every other answer leaves the outcome open."""
    entry = ERRORS.lookup(code, http_status=http_status)
    assert (entry.error_class, entry.code) == (error_class, code)
    assert (entry == ERRORS.entries.get(code or 0)) is is_known


@pytest.mark.parametrize(
    "code, status, error_class",
    [
        pytest.param(99999, "failed", FAIL, id="unknown-failed"),
        pytest.param(99999, "undelivered", FAIL, id="unknown-undelivered"),
        pytest.param(None, "failed", FAIL, id="no-code"),
        pytest.param(None, None, FAIL, id="nothing-at-all"),
        pytest.param(63018, "failed", THROTTLE, id="known"),
        pytest.param(63052, "delivered", IGNORE, id="a-warning-beside-success"),
        pytest.param(63005, "sent", IGNORE, id="a-code-beside-success"),
        pytest.param(None, "delivered", IGNORE, id="no-error"),
    ],
)
def test_a_report_is_classed_by_code_unless_its_status_is_no_failure(
    code: int | None, status: str | None, error_class: ErrorClass
) -> None:
    """A code next to a status that is no failure ends nothing."""
    assert ERRORS.lookup(code, message_status=status, asynchronous=True).error_class is error_class


@pytest.mark.parametrize(
    "code, status, reopens",
    [
        pytest.param(63018, "failed", True, id="throttled"),
        pytest.param(30500, "failed", True, id="transient"),
        pytest.param(30003, "undelivered", False, id="had-reached-the-channel"),
        pytest.param(63016, "failed", True, id="window-closed"),
        pytest.param(63016, "undelivered", True, id="window-closed-undelivered"),
        pytest.param(63016, "sent", False, id="not-a-failure"),
        pytest.param(63003, "failed", False, id="permanent"),
        pytest.param(63001, "failed", False, id="sender-down"),
        pytest.param(99999, "failed", False, id="unknown"),
    ],
)
def test_only_a_definite_retryable_failure_reopens_a_message(
    code: int, status: str, reopens: bool
) -> None:
    """`failed` is definite for its SID and reopens, `undelivered` reached the channel and does not.

    A closed window is decided once more.
    """
    entry = ERRORS.entries.get(code) or ERRORS.lookup(
        code, message_status=status, asynchronous=True
    )
    assert _reopens(entry, status) is reopens


@given(
    code=st.none() | st.integers() | st.sampled_from(sorted(KNOWN)),
    http_status=st.none() | st.integers(0, 999),
    status=st.none() | st.text(max_size=12) | st.sampled_from(["failed", "undelivered", "sent"]),
    asynchronous=st.booleans(),
)
def test_every_error_has_a_meaning(
    code: int | None, http_status: int | None, status: str | None, asynchronous: bool
) -> None:
    """Every code has a meaning that keeps the code and calls no unproven answer proven."""
    entry = ERRORS.lookup(
        code, http_status=http_status, message_status=status, asynchronous=asynchronous
    )
    assert entry.code == code
    assert entry.sentence
    if not asynchronous and (code is None or (http_status is not None and http_status >= 500)):
        assert entry.is_possibly_sent


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"codes": [21610]}, "each code once, and 21610 is already there"),
        ({"codes": ["5-3"]}, "codes: is not valid; write numbers, or ranges"),
        ({"codes": ["3-500"]}, "codes: is not valid; write numbers, or ranges"),
        ({"codes": [True]}, "codes: is not valid; write numbers, or ranges"),
        ({"class": "PANIC"}, "class: is not one of the choices; known: BADADDR"),
        ({"source": "hearsay"}, "source: is not valid; write a name from [sources]"),
        ({"wait": -1}, "wait: is out of range; write a whole number from 0"),
        ({"colour": "red"}, "colour: there is no such key"),
        ({"class": "HOLD"}, "holds: is missing; known: all_but_replies, grants, marketing"),
        (
            {"class": "RETRY", "only_undelivered": True},
            "class: is not valid; write a class that sends nothing again",
        ),
        (
            {"user_id": {"class": "FAIL", "sentence": "A.", "source": "page", "colour": "red"}},
            "colour: there is no such key",
        ),
        ({"holds": "marketing"}, "holds: there is no such key"),
    ],
)
def test_a_wrong_entry_is_named(change: dict[str, object], fault: str) -> None:
    """A wrong entry is reported with its line and what to write there."""
    data = shipped()
    data["errors.toml"]["entry"][-1] |= change
    with pytest.raises(PolicyDataError) as caught:
        parse_errors(data)
    assert any(
        str(one).startswith("errors.toml: entry[") and fault in str(one)
        for one in caught.value.faults
    )


def test_a_missing_default_is_a_fault() -> None:
    """A missing default is a fault, because an unknown code would have no meaning."""
    data = shipped()
    del data["errors.toml"]["default"]["failed"]
    with pytest.raises(
        PolicyDataError, match=r"errors\.toml: default\.failed: is missing; write it"
    ):
        parse_errors(data)


@pytest.mark.parametrize("operation", Operation)
def test_a_missing_resource_speaks_of_the_account_only_where_a_message_was_created(
    operation: Operation,
) -> None:
    """20404 to a create pauses the account and proves that nothing was sent.

    To a read it means one message.
    """
    entry = ERRORS.lookup(20404, http_status=404, operation=operation)
    if operation is Operation.CREATE:
        assert (entry.error_class, entry.scope) == (ErrorClass.PAUSE_ACCOUNT, Scope.ACCOUNT)
        assert entry.may_go_again
        assert entry.wait == ERRORS.lookup(20003, http_status=401).wait
        assert entry.max_tries == 0
    else:
        assert (entry.error_class, entry.scope) == (ErrorClass.IGNORE, Scope.MESSAGE)
    assert (
        ERRORS.lookup(20003, http_status=401, operation=operation).error_class
        is ErrorClass.PAUSE_ACCOUNT
    )


def test_a_report_with_20404_pauses_no_account() -> None:
    """20404 in a callback pauses no account."""
    assert ERRORS.lookup(20404, message_status="failed", asynchronous=True).scope is Scope.MESSAGE

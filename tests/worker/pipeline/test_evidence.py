"""What a list of messages proves about an attempt, as a table and as properties."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendwindow.addresses import parse_address
from worker.pipeline.unknown.matching import (
    DOUBT,
    MAX_CLOCK_LAG,
    MAX_POST_DELAY,
    Absent,
    ExpectedMessage,
    Found,
    Owner,
    Unclear,
    examine,
    witnesses,
)
from worker.twilio.messages import MessageRow

INTENT: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
TEXT: Final = "Your parcel has arrived"
TO: Final = "+14155550100"
FREEFORM: Final = ExpectedMessage("m1", 1, TO, INTENT, TEXT, may_be_template=False)
TEMPLATE: Final = ExpectedMessage("m1", 1, TO, INTENT, None, may_be_template=True)
SECOND: Final = timedelta(seconds=1)


ORDER: Final = "Your order A-1 is on its way."
MEDIA: Final = ExpectedMessage("m1", 1, TO, INTENT, None, may_be_template=False)
TEXT_ALONE: Final = ExpectedMessage(
    "m1", 1, TO, INTENT, TEXT, may_be_template=False, may_have_media=False
)
RENDERED: Final = ExpectedMessage(
    "m1", 1, TO, INTENT, None, may_be_template=True, template_text=ORDER
)
EITHER: Final = ExpectedMessage(
    "m1", 1, TO, INTENT, TEXT, may_be_template=True, template_text=ORDER
)
UNSURE: Final = ExpectedMessage("m1", 1, TO, INTENT, TEXT, may_be_template=True)


def row(
    number: int = 1,
    *,
    after: timedelta = timedelta(0),
    body: str | None = TEXT,
    to: str = TO,
    media: int | None = None,
    status: str = "sent",
) -> MessageRow:
    at = INTENT + after
    return MessageRow(f"SM{number:032x}", status, to, "+14155550123", body, at, num_media=media)


def found(number: int = 1) -> str:
    return f"found {number}"


def say(finding: Found | Absent | Unclear) -> str:
    match finding:
        case Found(row=row):
            return found(int(row.message_sid[-4:], 16))
        case Absent():
            return "absent"
        case Unclear(why=why):
            return why


TABLE: Final = [
    ("one alike in time", FREEFORM, [row()], {}, found()),
    (
        "ours by its binding, whatever its text",
        FREEFORM,
        [row(body="x")],
        {row().message_sid: ("m1", 1)},
        found(),
    ),
    (
        "bound to another attempt of ours",
        FREEFORM,
        [row()],
        {row().message_sid: ("m1", 2)},
        "absent",
    ),
    ("bound to another message", FREEFORM, [row()], {row().message_sid: ("m2", 1)}, "absent"),
    ("another text", FREEFORM, [row(body="Good morning")], {}, "absent"),
    ("a text that only ends like ours", FREEFORM, [row(body="No! " + TEXT)], {}, "absent"),
    (
        "a trial account's prefix",
        FREEFORM,
        [row(body="Sent from your Twilio trial account - " + TEXT)],
        {},
        found(),
    ),
    (
        "look-alike punctuation swapped",
        ExpectedMessage("m1", 1, TO, INTENT, "It’s here…", False),
        [row(body="It's here...")],
        {},
        found(),
    ),
    ("two alike", FREEFORM, [row(1), row(2)], {}, "several"),
    ("two alike, one known", FREEFORM, [row(1), row(2)], {row(2).message_sid: ("m2", 1)}, found()),
    ("redacted text", FREEFORM, [row(body=None)], {}, "redacted"),
    ("empty text", FREEFORM, [row(body="")], {}, "redacted"),
    ("redacted text next to ours", FREEFORM, [row(1), row(2, body=None)], {}, found(1)),
    ("punctuation changed that no table knows", FREEFORM, [row(body=TEXT + "?")], {}, "content"),
    (
        "an accent lost",
        ExpectedMessage("m1", 1, TO, INTENT, "Señor", False),
        [row(body="Senor")],
        {},
        "content",
    ),
    (
        "blanks trimmed",
        ExpectedMessage("m1", 1, TO, INTENT, "  on\n its way ", False),
        [row(body="on its way")],
        {},
        found(),
    ),
    (
        "another number",
        ExpectedMessage("m1", 1, TO, INTENT, "Code 1234", False),
        [row(body="Code 4321")],
        {},
        "absent",
    ),
    (
        "a number that only lost its point",
        ExpectedMessage("m1", 1, TO, INTENT, "5.00", False),
        [row(body="500")],
        {},
        "content",
    ),
    ("media without text", MEDIA, [row(body="")], {}, "redacted"),
    ("media without text, one shown", MEDIA, [row(body="", media=1)], {}, "redacted"),
    ("a text where we sent media", MEDIA, [row()], {}, "content"),
    ("a text that certainly has no media", MEDIA, [row(media=0)], {}, "absent"),
    ("a text that may get its media yet", MEDIA, [row(media=0, status="queued")], {}, "content"),
    ("media where we sent a text alone", TEXT_ALONE, [row(body="", media=1)], {}, "absent"),
    (
        "emoji only",
        ExpectedMessage("m1", 1, TO, INTENT, "🎉", False),
        [row(body="🎉")],
        {},
        found(),
    ),
    (
        "other emoji",
        ExpectedMessage("m1", 1, TO, INTENT, "🎉", False),
        [row(body="🎈")],
        {},
        "content",
    ),
    (
        "template of unknown text, unique in time",
        TEMPLATE,
        [row(body="Dear Ann, …")],
        {},
        "content",
    ),
    ("template of unknown text, two in time", TEMPLATE, [row(1), row(2)], {}, "content"),
    (
        "template of unknown text, nothing in time",
        TEMPLATE,
        [row(after=-timedelta(hours=1))],
        {},
        "absent",
    ),
    ("template of known text", RENDERED, [row(body="Your order A-1 is on its way.")], {}, found()),
    ("an agent's message", RENDERED, [row(body="An agent here, how can I help?")], {}, "absent"),
    (
        "an agent's and ours",
        RENDERED,
        [row(1, body="How can I help?"), row(2, body=ORDER)],
        {},
        found(2),
    ),
    (
        "a template with a footer",
        RENDERED,
        [row(body=ORDER + " Reply STOP to end.")],
        {},
        "content",
    ),
    (
        "a template whose approved text is newer",
        RENDERED,
        [row(body="Your order A-1 is under way.")],
        {},
        "content",
    ),
    ("either form, shown as text", EITHER, [row()], {}, found()),
    ("either form, shown as template", EITHER, [row(body=ORDER)], {}, found()),
    ("either form, shown as neither", EITHER, [row(body="How can I help?")], {}, "absent"),
    (
        "a template that may be ours, and the text that is",
        UNSURE,
        [row(1, body="x"), row(2)],
        {},
        found(2),
    ),
    ("at the early edge", FREEFORM, [row(after=-MAX_CLOCK_LAG)], {}, found()),
    ("before the early edge", FREEFORM, [row(after=-MAX_CLOCK_LAG - SECOND)], {}, "time"),
    ("at the late edge", FREEFORM, [row(after=MAX_POST_DELAY)], {}, found()),
    ("after the late edge", FREEFORM, [row(after=MAX_POST_DELAY + SECOND)], {}, "time"),
    ("alike, to an address written differently", FREEFORM, [row(to="+5215550100")], {}, "address"),
    ("long before", FREEFORM, [row(after=-timedelta(hours=1))], {}, "absent"),
    ("long after", FREEFORM, [row(after=timedelta(hours=1))], {}, "absent"),
    ("nothing at all", FREEFORM, [], {}, "absent"),
]


@pytest.mark.parametrize(
    "name, sought, rows, owners, expected", TABLE, ids=[line[0] for line in TABLE]
)
def test_what_a_proven_complete_list_says(
    name: str,
    sought: ExpectedMessage,
    rows: list[MessageRow],
    owners: dict[str, Owner],
    expected: str,
) -> None:
    """A row that can only be ours is proof, and a row that could be ours forbids `absent`."""
    assert say(examine(sought, rows, owners, is_complete=True, is_proven=True)) == expected


RIVAL: Final = ExpectedMessage("m2", 1, TO, INTENT + SECOND, "Good morning", may_be_template=False)


@pytest.mark.parametrize(
    "sought, rival, expected",
    [
        (RENDERED, TEMPLATE, "contested"),
        (RENDERED, RENDERED, "contested"),
        (RENDERED, FREEFORM, found()),
        (FREEFORM, RIVAL, found()),
        (FREEFORM, ExpectedMessage("m2", 1, TO, INTENT, TEXT, may_be_template=False), "contested"),
        (FREEFORM, ExpectedMessage("m2", 1, TO, INTENT, None, may_be_template=True), "contested"),
        (
            RENDERED,
            ExpectedMessage("m2", 1, TO, INTENT + timedelta(hours=2), None, may_be_template=True),
            found(),
        ),
    ],
    ids=[
        "a template",
        "its twin",
        "a text",
        "another text",
        "the same text",
        "any text",
        "at another time",
    ],
)
def test_a_row_that_could_be_another_unproven_attempts_is_no_proof(
    sought: ExpectedMessage, rival: ExpectedMessage, expected: str
) -> None:
    """With two unproven messages to one person, the only row may be the other message's."""
    shown = row(body=sought.template_text or TEXT)
    assert (
        say(examine(sought, [shown], {}, rivals=[rival], is_complete=True, is_proven=True))
        == expected
    )


def test_among_many_unproven_attempts_a_row_proves_none() -> None:
    """With more rivals than the store names, a free row proves nothing.

    A bound row is still ours, and an absent one still absent.
    """
    bound: dict[str, Owner] = {row().message_sid: ("m1", 1)}
    assert (
        say(examine(FREEFORM, [row()], {}, rivals=None, is_complete=True, is_proven=True))
        == "contested"
    )
    assert (
        say(examine(FREEFORM, [row()], bound, rivals=None, is_complete=True, is_proven=True))
        == found()
    )
    assert say(examine(FREEFORM, [], {}, rivals=None, is_complete=True, is_proven=True)) == "absent"


@pytest.mark.parametrize(
    "is_complete, is_proven, expected",
    [
        (True, True, "absent"),
        (False, True, "incomplete"),
        (True, False, "unproven"),
        (False, False, "incomplete"),
    ],
)
def test_absence_needs_a_complete_list_of_a_proven_service(
    is_complete: bool, is_proven: bool, expected: str
) -> None:
    """Absence needs a complete list of a proven service; an empty list alone proves nothing."""
    assert say(examine(FREEFORM, [], {}, is_complete=is_complete, is_proven=is_proven)) == expected


def test_a_witness_is_known_to_us_and_not_older_than_the_intent() -> None:
    """A witness is a message of ours since the intent, which shows that the list reaches that
    far.
    """
    owners: dict[str, Owner] = {row(1).message_sid: ("a", 1), row(2).message_sid: ("b", 1)}
    rows = [row(1), row(2, after=-SECOND), row(3)]
    assert witnesses(rows, owners, INTENT, parse_address(row(1).to)) == [row(1)]


@pytest.mark.parametrize(
    "to, shown, expected",
    [
        pytest.param("whatsapp:+4917", "whatsapp:+4918", True, id="phone by phone"),
        pytest.param("whatsapp:+4917", "whatsapp:US.abc", False, id="phone by user id"),
        pytest.param("whatsapp:US.abc", "whatsapp:+4917", False, id="user id by phone"),
        pytest.param("whatsapp:US.abc", "whatsapp:US.def", False, id="user id by another's"),
        pytest.param("whatsapp:US.abc", "whatsapp:US.ENT.abc", False, id="user id by parent id"),
        pytest.param("whatsapp:US.abc", "whatsapp:US.abc", True, id="user id by itself"),
        pytest.param("messenger:17", "messenger:18", True, id="Messenger"),
        pytest.param("+4917", "+4918", True, id="SMS"),
        pytest.param("+4917", "whatsapp:+4918", False, id="another channel"),
        pytest.param("+4917", "nothing we know", False, id="no address"),
    ],
)
def test_a_witness_has_the_recipients_kind_of_address(to: str, shown: str, expected: bool) -> None:
    """A list by phone proves nothing for a user id, whose messages may show under the phone
    behind it.
    """
    witness = replace(row(1), to=shown)
    found = witnesses([witness], {witness.message_sid: ("a", 1)}, INTENT, parse_address(to))
    assert bool(found) is expected


ROWS: Final = st.lists(
    st.builds(
        row,
        st.integers(1, 6),
        after=st.integers(-2000, 2000).map(lambda seconds: timedelta(seconds=seconds)),
        body=st.sampled_from([TEXT, "Good morning", "", None]),
    ),
    max_size=5,
    unique_by=lambda one: one.message_sid,
)
OWNERS: Final = st.dictionaries(
    st.integers(1, 6).map(lambda number: f"SM{number:032x}"),
    st.tuples(st.sampled_from(["m1", "m2"]), st.integers(1, 2)),
)


@given(st.sampled_from([FREEFORM, TEMPLATE]), ROWS, OWNERS, st.booleans(), st.booleans())
def test_nothing_foreign_is_found_and_nothing_possible_is_called_absent(
    sought: ExpectedMessage,
    rows: list[MessageRow],
    owners: dict[str, Owner],
    is_complete: bool,
    is_proven: bool,
) -> None:
    """Found is never bound elsewhere.

    Absent needs a proven complete list without a free row like ours.
    """
    finding = examine(sought, rows, owners, is_complete=is_complete, is_proven=is_proven)
    if isinstance(finding, Found):
        assert owners.get(finding.row.message_sid, ("m1", 1)) == ("m1", 1)
        assert finding.row.message_sid in owners or (
            sought is FREEFORM and finding.row.body == TEXT
        )
    if isinstance(finding, Absent):
        assert is_complete
        assert is_proven
        free = [
            one
            for one in rows
            if one.message_sid not in owners and abs(one.created_at - INTENT) <= DOUBT
        ]
        assert all(sought is FREEFORM and one.body == "Good morning" for one in free)

"""The policy data: what is shipped, what settings may override, and the text of faults."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from policies.policy import AccountUpdate, ClosedWindowRule, DueDate, due_dates, parse_policy
from policies.ruleset import FILES, parse_ruleset
from policies.toml_reader import PolicyDataError
from sendwindow.vocabulary import Category, Purpose
from tests.policies.given import POLICY
from tests.support.shipped import shipped


def test_the_shipped_thresholds_are_those_of_the_design() -> None:
    """The shipped thresholds: 24 hours, 5 minutes, 36,000 seconds."""
    assert POLICY.window == timedelta(hours=24)
    assert POLICY.margin == timedelta(minutes=5)
    assert POLICY.validity == timedelta(seconds=36_000)
    assert POLICY.confirmation == timedelta(minutes=5)
    assert POLICY.account_update is AccountUpdate.ATTEMPT
    assert POLICY.allow_recipients is None
    assert POLICY.person_cap == 0


def test_every_row_says_where_and_when_it_was_read() -> None:
    """Every row has a source and a date, and an end date comes with a remedy."""
    assert len({row.id for row in POLICY.rows}) == len(POLICY.rows)
    for row in POLICY.rows:
        assert row.source
        assert date(2026, 9, 1) <= row.read_on <= date(2026, 11, 30)
        assert row.effective_until is None or row.remedy


def test_area_codes_outside_the_us_are_those_of_canada_and_the_caribbean() -> None:
    """Known area codes are in the list of Canada and the Caribbean, and known others are not."""
    assert {"416", "514", "604", "867", "809", "876", "441"} <= POLICY.area_codes_outside_us
    assert not {"415", "212", "787", "671", "340", "800"} & POLICY.area_codes_outside_us


@pytest.mark.parametrize(
    "overrides, attribute, value",
    [
        ({"messenger_account_update": "refuse"}, "account_update", AccountUpdate.REFUSE),
        ({"margin_seconds": 60}, "margin", timedelta(minutes=1)),
        ({"margin_seconds": 0}, "margin", timedelta(0)),
        ({"allow_recipients": ("+14165550100",)}, "allow_recipients", frozenset({"+14165550100"})),
        ({"per_person_per_day": 5}, "person_cap", 5),
    ],
)
def test_settings_override_the_data(
    overrides: Mapping[str, object], attribute: str, value: object
) -> None:
    """Sections [policy] and [guards] of sendwindow.toml override the data, and each changes the
    version.
    """
    policy = parse_policy(shipped(), overrides)
    assert getattr(policy, attribute) == value
    assert policy.version != POLICY.version


def test_the_version_changes_with_any_value_and_with_nothing_else() -> None:
    """Workers with the same data report the same version, whatever the order of keys."""
    data = shipped()
    turned = {name: dict(reversed(list(data[name].items()))) for name in reversed(list(data))}
    assert parse_policy(turned).version == POLICY.version
    data["numbering.toml"]["canada"]["area_codes"].append("999")
    assert parse_policy(data).version != POLICY.version


@pytest.mark.parametrize(
    "path, value, fault",
    [
        (
            ("policy.toml", "window", "seconds"),
            "day",
            "policy.toml: window.seconds: is not a whole number; write a whole number from 1 to",
        ),
        (
            ("policy.toml", "window", "seconds"),
            True,
            "policy.toml: window.seconds: is not a whole number",
        ),
        (
            ("policy.toml", "window", "seconds"),
            0,
            "policy.toml: window.seconds: is out of range; write a whole number from 1 to",
        ),
        (
            ("policy.toml", "window", "hours"),
            24,
            "policy.toml: window.hours: there is no such key; known: margin_seconds, seconds",
        ),
        (("policy.toml", "extra"), {}, "policy.toml: extra: there is no such key"),
        (
            ("policy.toml", "window"),
            24,
            "policy.toml: window: is not a table; write it as TOML key = value lines",
        ),
        (
            ("policy.toml", "provider_queue", "validity_seconds"),
            36_001,
            "validity_seconds: is out of range; write a whole number from 1 to 36000",
        ),
        (
            ("policy.toml", "messenger", "account_update"),
            "maybe",
            "account_update: is not one of the choices; known: attempt, refuse",
        ),
        (
            ("policy.toml", "messenger", "dead_codes"),
            ["63016"],
            "dead_codes: is not valid; write an array of different whole",
        ),
        (
            ("policy.toml", "messenger", "dead_codes"),
            [],
            "dead_codes: is empty; write at least one",
        ),
        (
            ("policy.toml", "whatsapp", "us_marketing_paused"),
            "yes",
            "us_marketing_paused: is not true or false; write true or false without",
        ),
        (
            ("policy.toml", "row"),
            "none",
            "policy.toml: row: is not a list of tables; write [[row]]",
        ),
        (("policy.toml", "row"), ["none"], "policy.toml: row[0]: is not a table"),
        (
            ("policy.toml", "row", 0, "id"),
            "",
            "policy.toml: row[0].id: is not a text; write it between quotes, not empty",
        ),
        (
            ("policy.toml", "row", 0, "read"),
            "2026-11-20",
            "row[0].read: is not a date; write one such as 2026-11-20, without quotes",
        ),
        (
            ("policy.toml", "row", 0, "read"),
            datetime(2026, 1, 1, tzinfo=UTC),
            "row[0].read: is not a date",
        ),
        (
            ("policy.toml", "row", 0, "effective_until"),
            date(2027, 1, 1),
            "row[0].remedy: is not valid; write a sentence",
        ),
        (
            ("policy.toml", "purposes", "utility", "category"),
            "MARKETING",
            "utility.category: is not valid; write UTILITY or",
        ),
        (
            ("policy.toml", "purposes", "utility", "category"),
            "SERVICE",
            "utility.category: is not one of the choices; known: AUTHENTICATION",
        ),
        (
            ("policy.toml", "purposes", "utility", "granted_by"),
            ["sales"],
            "utility.granted_by: is not valid; write purposes or",
        ),
        (
            ("policy.toml", "purposes", "utility", "granted_by"),
            [],
            "utility.granted_by: is empty; write at least one",
        ),
        (
            ("policy.toml", "purposes", "utility", "granted_by"),
            "all",
            'utility.granted_by: is not a list of texts; write ["one", "two"]',
        ),
        (
            ("policy.toml", "purposes", "gossip"),
            {},
            "policy.toml: purposes.gossip: there is no such key",
        ),
        (
            ("numbering.toml", "canada", "area_codes"),
            ["41"],
            "numbering.toml: canada.area_codes: is not valid; write three digits",
        ),
    ],
)
def test_a_fault_names_file_key_and_remedy(
    path: tuple[str | int, ...], value: object, fault: str
) -> None:
    """A fault names file, key and remedy, so that the editor of the data needs no code to find
    it.
    """
    data: dict[str, Any] = shipped()
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(PolicyDataError) as caught:
        parse_policy(data)
    assert any(fault in str(one) for one in caught.value.faults), caught.value.faults


def test_a_missing_date_and_a_missing_file_are_faults() -> None:
    """A missing date or file is a fault."""
    data = shipped()
    del data["policy.toml"]["row"][0]["read"]
    with pytest.raises(PolicyDataError, match=r"row\[0\]\.read: is missing; write one such as"):
        parse_policy(data)
    with pytest.raises(PolicyDataError, match=r"numbering\.toml: file: is missing"):
        parse_policy({"policy.toml": shipped()["policy.toml"]})


@pytest.mark.parametrize(
    "overrides, fault",
    [
        (
            {"margin_seconds": -1},
            "sendwindow.toml: margin_seconds: is out of range; write a whole number from 0 to",
        ),
        ({"margin_seconds": 86_401}, "sendwindow.toml: margin_seconds"),
        (
            {"messenger_account_update": "yes"},
            "sendwindow.toml: messenger_account_update: is not one of the choices",
        ),
        (
            {"allow_recipients": []},
            "sendwindow.toml: allow_recipients: is empty; write at least one",
        ),
        (
            {"per_person_per_day": "5"},
            "sendwindow.toml: per_person_per_day: is not a whole number",
        ),
        (
            {"margin": 60},
            'sendwindow.toml: margin: there is no such key; did you mean "margin_seconds"?',
        ),
    ],
)
def test_a_wrong_setting_is_named_too(overrides: Mapping[str, object], fault: str) -> None:
    """Overrides are checked like the data that they override."""
    with pytest.raises(PolicyDataError) as caught:
        parse_policy(shipped(), overrides)
    assert any(str(one).startswith(fault) for one in caught.value.faults), caught.value.faults


def test_all_files_are_read_together_and_all_their_faults_told_together() -> None:
    """All files are read before the faults are listed."""
    rules = parse_ruleset(shipped())
    assert rules.policy == POLICY
    with pytest.raises(PolicyDataError) as caught:
        parse_ruleset({})
    assert {one.file for one in caught.value.faults} == set(FILES)


@pytest.mark.parametrize(
    "now, expected",
    [
        pytest.param(datetime(2026, 11, 21, tzinfo=UTC), ["messenger.account_update"], id="today"),
        pytest.param(datetime(2026, 3, 27, 23, tzinfo=UTC), [], id="31-days-before"),
        pytest.param(
            datetime(2026, 3, 28, tzinfo=UTC), ["messenger.account_update"], id="30-days-before"
        ),
        pytest.param(
            datetime(2027, 1, 1, tzinfo=UTC),
            ["messenger.account_update", "opt_out.revoke_all"],
            id="two-are-due",
        ),
    ],
)
def test_rows_past_or_near_their_end_are_listed(now: datetime, expected: list[str]) -> None:
    """Rows are listed from thirty days before their end on, the most overdue first."""
    assert [due.row.id for due in due_dates(POLICY, now)] == expected


def test_a_due_row_says_what_to_do() -> None:
    """On its end date a row has not passed yet, and it says what to do."""
    row = ClosedWindowRule(
        "x",
        "It is so.",
        "page",
        date(2026, 1, 1),
        effective_until=date(2026, 4, 27),
        remedy="Look again.",
    )
    assert DueDate(row, 0).sentence == "Policy entry x ends on 2026-04-27: It is so. Look again."
    assert DueDate(row, -1).sentence == "Policy entry x ended on 2026-04-27: It is so. Look again."
    assert (DueDate(row, 0).is_past, DueDate(row, -1).is_past) == (False, True)


def test_refusing_account_update_settles_its_end_date() -> None:
    """A setting that refuses ACCOUNT_UPDATE ends the warning about its date."""
    refusing = parse_policy(shipped(), {"messenger_account_update": "refuse"})
    assert due_dates(refusing, datetime(2026, 11, 21, tzinfo=UTC)) == ()


def test_each_purpose_has_one_category() -> None:
    """Only marketing carries MARKETING templates."""
    marketing = [
        purpose for purpose, rule in POLICY.purposes.items() if rule.category is Category.MARKETING
    ]
    assert marketing == [Purpose.MARKETING]

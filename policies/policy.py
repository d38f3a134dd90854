"""The policy as a value: thresholds, purposes and dated rows.

Parses data that the worker has read, and does not open files itself.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from policies.spellings import FILES as SPELLINGS
from policies.spellings import Spellings, read_spellings
from policies.toml_reader import DataFault, Table, raise_faults
from sendwindow.vocabulary import Category, Purpose

FILES: Final = ("policy.toml", "numbering.toml", *SPELLINGS)
"""The names of the files in `policies/data/` that `parse_policy` needs."""

NEAR: Final = timedelta(days=30)
"""How long before its end date we start to report a row."""

_SETTINGS_FILE: Final = "sendwindow.toml"


class AccountUpdate(StrEnum):
    """What to do with a Messenger message of purpose `account_update` outside the window."""

    ATTEMPT = "attempt"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class ClosedWindowRule:
    """One dated rule.

    `read_on`: when we read its source. The end date only causes a warning and never changes the
    behaviour.
    """

    id: str
    summary: str
    source: str
    read_on: date
    effective_from: date | None = None
    effective_until: date | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class PurposeRule:
    """The rules for one purpose.

    `granted_by`: the purposes whose grants count. None stands for a grant that names no purpose.
    """

    category: Category
    granted_by: frozenset[Purpose | None]


@dataclass(frozen=True, slots=True)
class ErrorGuard:
    """When there are too many errors about persons for us to apply their effects.

    That is when the last `attempts` of one sender have both more than `most_errors` errors and a
    share of errors above `most_percent`.
    """

    attempts: int
    most_percent: int
    most_errors: int


@dataclass(frozen=True, slots=True)
class Policy:
    """All thresholds and rules that a decision uses.

    `version` is a hash of all values and changes with any of them. `allow_recipients`: the
    canonical spellings of the permitted recipients; None permits every recipient. `person_cap` 0:
    no cap.
    """

    version: str
    rows: tuple[ClosedWindowRule, ...]
    purposes: Mapping[Purpose, PurposeRule]
    window: timedelta
    margin: timedelta
    validity: timedelta
    confirmation: timedelta
    account_update: AccountUpdate
    tag_recheck: timedelta
    tag_dead_codes: frozenset[int]
    us_marketing_paused: bool
    area_codes_outside_us: frozenset[str]
    resend_after: timedelta
    most_resends: int
    absent_after: timedelta
    hold_after: timedelta
    error_guard: ErrorGuard
    allow_recipients: frozenset[str] | None = None
    person_cap: int = 0
    spellings: Spellings = field(default=Spellings(), repr=False)


@dataclass(frozen=True, slots=True)
class DueDate:
    """A row that is past or close to its end date. `days_left` is negative after that date."""

    row: ClosedWindowRule
    days_left: int

    @property
    def is_past(self) -> bool:
        return self.days_left < 0

    @property
    def sentence(self) -> str:
        """The sentence for a log line or a terminal."""
        when = (
            f"ended on {self.row.effective_until}"
            if self.is_past
            else f"ends on {self.row.effective_until}"
        )
        return f"Policy entry {self.row.id} {when}: {self.row.summary} {self.row.remedy}".rstrip()


def due_dates(policy: Policy, now: datetime) -> tuple[DueDate, ...]:
    """Return the rows whose end date has passed or comes within 30 days, the earliest first.

    A row is left out if a setting already takes its end date into account.
    """
    found = []
    for row in policy.rows:
        if row.effective_until is None:
            continue
        if row.id == "messenger.account_update" and policy.account_update is AccountUpdate.REFUSE:
            continue
        days_left = (row.effective_until - now.date()).days
        if days_left <= NEAR.days:
            found.append(DueDate(row, days_left))
    return tuple(sorted(found, key=lambda due: (due.days_left, due.row.id)))


def parse_policy(
    data: Mapping[str, Mapping[str, object]], overrides: Mapping[str, object] | None = None
) -> Policy:
    """Build the policy from parsed TOML files and the settings that override it.

    `data` maps each name of `FILES` to that file's parsed content. `overrides` may hold
    `messenger_account_update`, `margin_seconds` (section `[policy]` of sendwindow.toml),
    `allow_recipients` and `per_person_per_day` (`[guards]`). Raises `PolicyDataError`, which lists
    every fault with file, key and remedy.
    """
    faults: list[DataFault] = []
    policy = Table("policy.toml", "", data.get("policy.toml"), faults)
    numbering = Table("numbering.toml", "", data.get("numbering.toml"), faults)
    settings = Table(_SETTINGS_FILE, "", overrides or {}, faults)

    window = policy.table("window")
    messenger = policy.table("messenger")
    whatsapp = policy.table("whatsapp")
    unknown = policy.table("unknown_outcome")
    queue, confirmation = policy.table("provider_queue"), policy.table("opt_out_confirmation")
    known = read_spellings(data, faults)
    opened = window.seconds("seconds")
    margin = window.seconds("margin_seconds", least=0)
    attempt = messenger.choice("account_update", AccountUpdate)
    parsed = Policy(
        version=_version(data, overrides),
        rows=tuple(_row(table) for table in policy.tables("row")),
        purposes=_purposes(policy.table("purposes")),
        window=opened,
        margin=_margin(settings, margin, opened),
        validity=queue.seconds("validity_seconds", most=36_000),
        confirmation=confirmation.seconds("seconds"),
        account_update=settings.choice("messenger_account_update", AccountUpdate, default=attempt),
        tag_recheck=messenger.seconds("recheck_seconds"),
        tag_dead_codes=_codes(messenger, "dead_codes"),
        us_marketing_paused=whatsapp.truth("us_marketing_paused"),
        area_codes_outside_us=_area_codes(numbering),
        resend_after=unknown.seconds("resend_seconds"),
        most_resends=unknown.whole("most_resends", least=0, most=100),
        absent_after=unknown.seconds("absent_seconds"),
        hold_after=unknown.seconds("hold_seconds"),
        error_guard=_error_guard(policy.table("error_guard")),
        allow_recipients=_allowed(settings, known),
        person_cap=settings.whole("per_person_per_day", least=0, most=1_000_000, default=0),
        spellings=known,
    )
    for table in (
        policy,
        window,
        messenger,
        whatsapp,
        unknown,
        queue,
        confirmation,
        numbering,
        settings,
    ):
        table.done()
    raise_faults(faults)
    return parsed


def _allowed(settings: Table, known: Spellings) -> frozenset[str] | None:
    if not settings.has("allow_recipients"):
        return None
    return frozenset(known.canonical(address) for address in settings.texts("allow_recipients"))


def _margin(settings: Table, default: timedelta, window: timedelta) -> timedelta:
    seconds = int(default.total_seconds())
    return settings.seconds(
        "margin_seconds", least=0, most=int(window.total_seconds()), default=seconds
    )


def _error_guard(table: Table) -> ErrorGuard:
    guard = ErrorGuard(
        attempts=table.whole("attempts", least=1, most=10_000),
        most_percent=table.whole("most_percent", least=0, most=100),
        most_errors=table.whole("most_errors", least=0, most=10_000),
    )
    table.done()
    return guard


def _row(table: Table) -> ClosedWindowRule:
    row = ClosedWindowRule(
        id=table.text("id"),
        summary=table.text("summary"),
        source=table.text("source"),
        read_on=table.date("read"),
        effective_from=table.date_or_none("effective_from"),
        effective_until=table.date_or_none("effective_until"),
        remedy=table.text("remedy", default=" ").strip(),
    )
    if row.effective_until is not None and not row.remedy:
        table.fault("remedy", "a sentence that says what to do when the end date comes")
    table.done()
    return row


def _purposes(table: Table) -> Mapping[Purpose, PurposeRule]:
    rules = {purpose: _purpose(purpose, table.table(purpose.value)) for purpose in Purpose}
    table.done()
    return MappingProxyType(rules)


def _purpose(purpose: Purpose, table: Table) -> PurposeRule:
    names: dict[str, Purpose | None] = {"all": None} | {other.value: other for other in Purpose}
    granted_by = table.texts("granted_by")
    if any(name not in names for name in granted_by):
        table.fault("granted_by", "purposes or all: " + ", ".join(names))
    if table.peek("category") == Category.MARKETING and purpose is not Purpose.MARKETING:
        table.fault(
            "category",
            "UTILITY or AUTHENTICATION: a marketing template needs the purpose marketing",
        )
    rule = PurposeRule(
        category=table.choice("category", Category),
        granted_by=frozenset(names[name] for name in granted_by if name in names),
    )
    table.done()
    return rule


def _codes(table: Table, key: str) -> frozenset[int]:
    items = table.items(key)
    codes = frozenset(item for item in items if isinstance(item, int))
    if len(codes) != len(items):
        table.fault(key, "an array of different whole numbers")
    return codes


def _area_codes(numbering: Table) -> frozenset[str]:
    found: set[str] = set()
    for region in numbering.keys:
        table = numbering.table(region)
        table.text("source")
        table.date("read")
        codes = table.texts("area_codes")
        if any(len(code) != 3 or not code.isdigit() for code in codes):
            table.fault("area_codes", 'three digits each, such as "416"')
        found.update(codes)
        table.done()
    return frozenset(found)


def _version(
    data: Mapping[str, Mapping[str, object]], overrides: Mapping[str, object] | None
) -> str:
    """Return a hash of the data in a canonical order, with dates as ISO text.

    The same files therefore give the same version on every machine.
    """
    whole = {"data": {name: data.get(name) for name in FILES}, "overrides": overrides or {}}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]

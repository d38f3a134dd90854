"""Twilio's error codes as a catalogue: what a code means for the message, and for what the message belongs to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from policies.facts import Holds
from policies.reading import Table, raise_faults
from policies.status import FAILURES

FILES: Final = ("errors.toml",)
"""The files of `policies/data/` that `parse_errors` wants, by name."""


class ErrorClass(StrEnum):
    """What an error asks for."""

    RETRY = "RETRY"
    """Nothing was delivered; try again later."""
    THROTTLE = "THROTTLE"
    """Too fast or too full: slow the scope down, try again later."""
    RECONCILE = "RECONCILE"
    """The message may have gone out: look for evidence, never simply repeat."""
    FAIL = "FAIL"
    """This message ends."""
    BADADDR = "BADADDR"
    """This message ends and its address is suppressed on this channel for a term."""
    OPTOUT = "OPTOUT"
    """This message ends and an opt-out is recorded in the scope."""
    HOLD = "HOLD"
    """This message ends and some messages to its person are held back; what the person wished is not touched."""
    TEMPLATE = "TEMPLATE"
    """The session window is closed: close our record and decide once more."""
    PAUSE_SENDER = "PAUSE_SENDER"
    """The sender cannot send: pause it, alert."""
    PAUSE_ACCOUNT = "PAUSE_ACCOUNT"
    """The account cannot send: pause it, alert."""
    DISABLE_TEMPLATE = "DISABLE_TEMPLATE"
    """This message ends and its template is not used for a term."""
    CONFIG = "CONFIG"
    """This message ends because of our configuration or a bug: alert."""
    IGNORE = "IGNORE"
    """No failure of a message."""


class Operation(StrEnum):
    """What a request asked Twilio for; the same code means another thing in the answer to each."""

    CREATE = "create"
    FETCH = "fetch"
    LIST = "list"
    CANCEL = "cancel"


NOT_FOUND: Final = 20404
"""Twilio: "The requested resource was not found" ("Error 20404", read 2026-11-20)."""


class Scope(StrEnum):
    """What an error speaks of. `sender` includes its messaging service; `person` means on this account and channel."""

    MESSAGE = "message"
    PERSON = "person"
    SENDER = "sender"
    ACCOUNT = "account"
    TEMPLATE = "template"


@dataclass(frozen=True, slots=True)
class Hold:
    """What a HOLD holds back, and what instead when the message that failed was a marketing template."""

    holds: Holds
    after_marketing: Holds
    until_inbound: bool


class Meaning(StrEnum):
    """What an error means for its message, whichever way it arrives. What it teaches of others is another matter."""

    GO_AGAIN = "go_again"
    """Nothing was delivered, and another attempt may be."""
    DECIDE_AGAIN = "decide_again"
    """The window is closed: one new decision, unless a template went out. The store knows both, and grants it."""
    UNPROVEN = "unproven"
    """The message may have gone out."""
    END = "end"
    """No other attempt."""


_GO_AGAIN: Final = frozenset({ErrorClass.RETRY, ErrorClass.THROTTLE, ErrorClass.PAUSE_SENDER, ErrorClass.PAUSE_ACCOUNT})
_REPORTED_GO_AGAIN: Final = frozenset({ErrorClass.RETRY, ErrorClass.THROTTLE})


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """What one code means. `code` None: there was none.

    `wait`: never again sooner (RETRY, THROTTLE), or how long the scope stays stopped (zero: until a person resets it),
    or how long a HOLD lasts (zero: no term). `max_tries`: attempts of the message in all; 0: only expiry ends them.
    `is_known`: the code is in the catalogue. `hold`: what a HOLD holds back. `for_user_id`: what the code means for a
    WhatsApp user id, None: the same. `only_undelivered`: the code never comes with another status.
    """

    code: int | None
    error_class: ErrorClass
    scope: Scope
    wait: timedelta
    max_tries: int
    sentence: str
    source: str
    needs_alert: bool
    is_known: bool
    hold: Hold | None = None
    for_user_id: "ErrorEntry | None" = None
    only_undelivered: bool = False

    def meaning(self, reported: str | None = None) -> Meaning:
        """Return what the error means for its message.

        `reported`: the status that it was reported with after acceptance; None for the answer to the POST. `failed` is
        a definite outcome for its SID, so that a retryable code may try again without a second copy; `undelivered` had
        reached the channel and ends the message.
        """
        if self.error_class is ErrorClass.TEMPLATE:
            return Meaning.DECIDE_AGAIN if reported is None or reported in FAILURES else Meaning.END
        if reported is not None:
            goes_again = reported == "failed" and self.error_class in _REPORTED_GO_AGAIN
            return Meaning.GO_AGAIN if goes_again else Meaning.END
        if self.error_class is ErrorClass.RECONCILE:
            return Meaning.UNPROVEN
        return Meaning.GO_AGAIN if self.error_class in _GO_AGAIN else Meaning.END

    @property
    def may_go_again(self) -> bool:
        """Tell whether a message that the POST's answer refused with this code is tried again by itself."""
        return self.meaning() is Meaning.GO_AGAIN

    @property
    def is_possibly_sent(self) -> bool:
        """Tell whether the message may have reached the person."""
        return self.error_class is ErrorClass.RECONCILE

    def reopens(self, message_status: str) -> bool:
        """Tell whether a failure reported after acceptance may begin another life of the message."""
        return self.meaning(message_status) in (Meaning.GO_AGAIN, Meaning.DECIDE_AGAIN)


def is_missing(code: int | None, http_status: int | None, operation: Operation) -> bool:
    """Return whether the answer to a request proves that Twilio does not have the one resource it was about.

    Only Twilio's own code proves it. A 404 without it may come from a proxy, and a 5xx proves nothing.
    """
    is_server_error = http_status is not None and http_status >= 500
    return code == NOT_FOUND and operation is not Operation.CREATE and not is_server_error


@dataclass(frozen=True, slots=True)
class ErrorCatalogue:
    """All entries by code, and the defaults for codes that are not known yet.

    `marketing_stopped`: Meta's own codes which say that the person stopped marketing messages.
    """

    entries: Mapping[int, ErrorEntry]
    defaults: Mapping[str, ErrorEntry]
    marketing_stopped: frozenset[int] = frozenset()

    def lookup(
        self,
        code: int | None,
        *,
        http_status: int | None = None,
        message_status: str | None = None,
        asynchronous: bool = False,
        operation: Operation = Operation.CREATE,
        to_user_id: bool = False,
    ) -> ErrorEntry:
        """Return what an error means; raises nothing, whatever is given.

        `to_user_id`: the message was addressed to a WhatsApp user id, for which some codes mean something else.

        For the answer to a POST give `http_status`; for a callback or a fetched message set `asynchronous` and give
        `message_status`. The code decides before the status, with two exceptions: a 5xx always leaves the outcome open,
        and a code beside a status that is no failure is a warning. A create whose own resource is not found was sent to
        an account that is not there (20404); in the answer to any other `operation` only the one message is missing.
        Source: Twilio, "REST API best practices" and the error pages named in each entry (read 2026-11-20).
        """
        entry = self._reported(code, message_status) if asynchronous else self._answered(code, http_status, operation)
        return entry.for_user_id if to_user_id and entry.for_user_id is not None else entry

    def _answered(self, code: int | None, http_status: int | None, operation: Operation) -> ErrorEntry:
        if code is None:
            return self.defaults["no_code"]
        if is_missing(code, http_status, operation):
            return self._default("missing", code)
        entry = self.entries.get(code)
        if http_status is not None and http_status >= 500:
            return entry if entry is not None and entry.is_possibly_sent else self._default("server_error", code)
        if entry is not None:
            return entry
        if http_status is None or not 400 <= http_status < 500:
            return self._default("no_code", code)
        name = {429: "throttled", 401: "denied", 403: "denied"}.get(http_status, "rejected")
        return self._default(name, code)

    def _reported(self, code: int | None, message_status: str | None) -> ErrorEntry:
        if message_status is not None and message_status not in FAILURES:
            return self._default("warning", code)
        # No report answers a create, so that one of 20404 says nothing of the account.
        entry = None if code is None or code == NOT_FOUND else self.entries.get(code)
        if entry is not None:
            return entry
        return self._default("undelivered" if message_status == "undelivered" else "failed", code)

    def _default(self, name: str, code: int | None) -> ErrorEntry:
        entry = self.defaults[name]
        return entry if code is None else replace(entry, code=code)


DEFAULTS: Final = (
    "no_code",
    "missing",
    "server_error",
    "throttled",
    "denied",
    "rejected",
    "failed",
    "undelivered",
    "warning",
)


def parse_errors(data: Mapping[str, Mapping[str, object]]) -> ErrorCatalogue:
    """Build the catalogue from the parsed `errors.toml`. Raises `PolicyDataError` that lists every fault."""
    faults: list[str] = []
    file = Table("errors.toml", "", data.get("errors.toml"), faults)
    file.date("read")
    stopped = frozenset(item for item in file.items("marketing_stopped") if isinstance(item, int))
    named = file.table("sources")
    sources = {name: named.text(name) for name in named.keys}
    defaults_table = file.table("default")
    defaults = {name: _entry(defaults_table.table(name), None, sources) for name in DEFAULTS}
    defaults_table.done()
    entries: dict[int, ErrorEntry] = {}
    for table in file.tables("entry"):
        for code in _codes(table):
            if code in entries:
                table.fault("codes", f"each code once, and {code} is already there")
            entries[code] = _entry(table, code, sources)
        table.done()
    file.done()
    raise_faults(faults)
    return ErrorCatalogue(MappingProxyType(entries), MappingProxyType(defaults), stopped)


def _entry(table: Table, code: int | None, sources: Mapping[str, str]) -> ErrorEntry:
    entry = _read_entry(table, code, sources)
    if code is None:
        table.done()
        return entry
    entry = replace(entry, only_undelivered=table.truth("only_undelivered"))
    if entry.only_undelivered and entry.may_go_again:
        table.fault("class", "a class that sends nothing again, because `undelivered` never does")
    if not table.has("user_id"):
        return entry
    other = table.table("user_id")
    for_user_id = _read_entry(other, code, sources)
    other.done()
    return replace(entry, for_user_id=for_user_id)


def _read_entry(table: Table, code: int | None, sources: Mapping[str, str]) -> ErrorEntry:
    error_class = table.choice("class", ErrorClass)
    source = table.text("source")
    if source not in sources:
        table.fault("source", "a name from [sources]: " + ", ".join(sources))
    dated = table.date_or_none("dated")
    return ErrorEntry(
        code=code,
        error_class=error_class,
        scope=table.choice("scope", Scope, default=Scope.MESSAGE),
        wait=table.seconds("wait", least=0, default=0),
        max_tries=table.whole("max_tries", least=0, most=20, default=0 if error_class in _GO_AGAIN else 1),
        sentence=table.text("sentence"),
        source=sources.get(source, "").replace("{code}", str(code)) + (f", page of {dated}" if dated else ""),
        needs_alert=table.truth("alert"),
        is_known=code is not None,
        hold=_hold(table) if error_class is ErrorClass.HOLD else None,
    )


def _hold(table: Table) -> Hold:
    holds = table.choice("holds", Holds)
    return Hold(holds, table.choice("after_marketing", Holds, default=holds), table.truth("until_inbound"))


def _codes(table: Table) -> tuple[int, ...]:
    """Read codes and ranges such as "30028-30031"."""
    codes: list[int] = []
    for item in table.items("codes"):
        span = re.fullmatch(r"(\d+)-(\d+)", item) if isinstance(item, str) else None
        if isinstance(item, int) and not isinstance(item, bool):
            codes.append(item)
        elif span is not None and int(span[1]) < int(span[2]) <= int(span[1]) + 100:
            codes.extend(range(int(span[1]), int(span[2]) + 1))
        else:
            table.fault("codes", 'numbers, or ranges such as "30028-30031"')
    return tuple(codes)

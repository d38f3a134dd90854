"""The catalogue of Twilio's error codes.

It says what a code means for the message, and for the person, sender, account or template of the
message.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from policies.facts import Holds
from policies.status import FAILURES
from policies.toml_reader import DataFault, Table, raise_faults

FILES: Final = ("errors.toml",)
"""The names of the files in `policies/data/` that `parse_errors` needs."""


class ErrorClass(StrEnum):
    """What to do after an error."""

    RETRY = "RETRY"
    """Nothing was delivered. Try again later."""
    THROTTLE = "THROTTLE"
    """We sent too fast, or a queue was full. Slow the scope down and try again later."""
    RECONCILE = "RECONCILE"
    """The message may have been sent. Look for evidence, and never simply repeat it."""
    FAIL = "FAIL"
    """This message ends."""
    BADADDR = "BADADDR"
    """This message ends, and its address is suppressed on this channel for a term."""
    OPTOUT = "OPTOUT"
    """This message ends, and an opt-out is recorded for the scope."""
    HOLD = "HOLD"
    """This message ends, and some messages to its person are held back.

    The person's consent does not change.
    """
    TEMPLATE = "TEMPLATE"
    """The session window is closed. Record that, and decide once more."""
    PAUSE_SENDER = "PAUSE_SENDER"
    """The sender cannot send. Pause it and alert."""
    PAUSE_ACCOUNT = "PAUSE_ACCOUNT"
    """The account cannot send. Pause it and alert."""
    DISABLE_TEMPLATE = "DISABLE_TEMPLATE"
    """This message ends, and its template is not used for a term."""
    CONFIG = "CONFIG"
    """This message ends because of our configuration or a bug. Alert."""
    IGNORE = "IGNORE"
    """The code does not mean that a message failed."""


class Operation(StrEnum):
    """What a request asked of Twilio. The meaning of a code depends on it."""

    CREATE = "create"
    FETCH = "fetch"
    LIST = "list"
    CANCEL = "cancel"


NOT_FOUND: Final = 20404
"""Twilio: "The requested resource was not found" ("Error 20404", read 2026-11-20)."""


class Scope(StrEnum):
    """What an error is about.

    `sender` includes its messaging service. `person` means the person on this account and channel.
    """

    MESSAGE = "message"
    PERSON = "person"
    SENDER = "sender"
    ACCOUNT = "account"
    TEMPLATE = "template"


@dataclass(frozen=True, slots=True)
class Hold:
    """Which messages a HOLD holds back.

    `after_marketing` applies instead of `holds` if the failed message was a marketing template.
    `until_inbound`: the hold ends when the person writes.
    """

    holds: Holds
    after_marketing: Holds
    until_inbound: bool


class Meaning(StrEnum):
    """What an error means for its message, no matter how the error arrives.

    Its effects on the person, sender, account or template are a separate question.
    """

    GO_AGAIN = "go_again"
    """Nothing was delivered, and another attempt may succeed."""
    DECIDE_AGAIN = "decide_again"
    """The window is closed. Make one new decision, unless the message was sent as a template.

    The store knows whether the decision was used and what was sent, so it permits the new decision.
    """
    UNPROVEN = "unproven"
    """The message may have been sent."""
    END = "end"
    """There is no other attempt."""


_GO_AGAIN: Final = frozenset(
    {ErrorClass.RETRY, ErrorClass.THROTTLE, ErrorClass.PAUSE_SENDER, ErrorClass.PAUSE_ACCOUNT}
)
_REPORTED_GO_AGAIN: Final = frozenset({ErrorClass.RETRY, ErrorClass.THROTTLE})


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """What one code means. `code` is None if the error had no code.

    `wait`: for RETRY and THROTTLE, the shortest time until the next try. For a HOLD, how long it
    lasts, where zero means no term. For the other classes, how long the scope stays stopped, where
    zero means until an operator resets it.

    `max_tries`: the most tries of the message in total; with 0, only expiry ends them. `hold`:
    which messages a HOLD holds back. `for_user_id`: what the code means for a WhatsApp user id;
    None if it means the same. `only_undelivered`: the code never comes with a status other than
    `undelivered`.
    """

    code: int | None
    error_class: ErrorClass
    scope: Scope
    wait: timedelta
    max_tries: int
    sentence: str
    needs_alert: bool
    hold: Hold | None = None
    for_user_id: "ErrorEntry | None" = None
    only_undelivered: bool = False

    def meaning(self, reported: str | None = None) -> Meaning:
        """Return what the error means for its message.

        `reported`: the status with which the error was reported after acceptance; None if it was
        the answer to the POST. `failed` is final for its SID, so a retry after a retryable code
        cannot create a second copy. An `undelivered` message had reached the channel, so it ends.
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
        """Whether a message is retried if the answer to its POST has this code."""
        return self.meaning() is Meaning.GO_AGAIN

    @property
    def is_possibly_sent(self) -> bool:
        """Whether the message may have reached the person."""
        return self.error_class is ErrorClass.RECONCILE


def is_missing(code: int | None, http_status: int | None, operation: Operation) -> bool:
    """Return whether the answer proves that Twilio does not have the requested resource.

    Only Twilio's own code proves that. A 404 without the code may come from a proxy, and a 5xx
    proves nothing.
    """
    is_server_error = http_status is not None and http_status >= 500
    return code == NOT_FOUND and operation is not Operation.CREATE and not is_server_error


@dataclass(frozen=True, slots=True)
class ErrorCatalogue:
    """All entries by code, and defaults for codes that are not in the catalogue.

    `marketing_stopped`: Meta's own codes that say that the person stopped marketing messages.
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
        """Return what an error means. Raises nothing, for any arguments.

        For the answer to a POST, give `http_status`. For a callback or a fetched message, set
        `asynchronous` and give `message_status`. `to_user_id`: the recipient is a WhatsApp user id,
        for which some codes mean something else.

        The code decides before the status, with two exceptions. A 5xx always leaves the outcome
        open. A code next to a status that is not a failure is only a warning.

        A 20404 in the answer to a create means that the account does not exist. In the answer to
        any other `operation` it means only that the one message is missing.

        Source: Twilio, "REST API best practices" and the error pages that each entry names (read
        2026-11-20).
        """
        entry = (
            self._reported(code, message_status)
            if asynchronous
            else self._answered(code, http_status, operation)
        )
        return entry.for_user_id if to_user_id and entry.for_user_id is not None else entry

    def _answered(
        self, code: int | None, http_status: int | None, operation: Operation
    ) -> ErrorEntry:
        if code is None:
            return self.defaults["no_code"]
        if is_missing(code, http_status, operation):
            return self._default("missing", code)
        entry = self.entries.get(code)
        if http_status is not None and http_status >= 500:
            return (
                entry
                if entry is not None and entry.is_possibly_sent
                else self._default("server_error", code)
            )
        if entry is not None:
            return entry
        if http_status is None or not 400 <= http_status < 500:
            return self._default("no_code", code)
        name = {429: "throttled", 401: "denied", 403: "denied"}.get(http_status, "rejected")
        return self._default(name, code)

    def _reported(self, code: int | None, message_status: str | None) -> ErrorEntry:
        if message_status is not None and message_status not in FAILURES:
            return self._default("warning", code)
        # A report is not the answer to a create, so a 20404 in it says nothing about the account.
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
    """Build the catalogue from the parsed `errors.toml`.

    Raises `PolicyDataError`, which lists every fault.
    """
    faults: list[DataFault] = []
    file = Table("errors.toml", "", data.get("errors.toml"), faults)
    file.date("read")
    stopped = frozenset(item for item in file.items("marketing_stopped") if isinstance(item, int))
    named = file.table("sources")
    sources = frozenset(name for name in named.keys if named.text(name))
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


def _entry(table: Table, code: int | None, sources: frozenset[str]) -> ErrorEntry:
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


def _read_entry(table: Table, code: int | None, sources: frozenset[str]) -> ErrorEntry:
    error_class = table.choice("class", ErrorClass)
    if table.text("source") not in sources:
        table.fault("source", "a name from [sources]: " + ", ".join(sorted(sources)))
    table.date_or_none("dated")
    return ErrorEntry(
        code=code,
        error_class=error_class,
        scope=table.choice("scope", Scope, default=Scope.MESSAGE),
        wait=table.seconds("wait", least=0, default=0),
        max_tries=table.whole(
            "max_tries", least=0, most=20, default=0 if error_class in _GO_AGAIN else 1
        ),
        sentence=table.text("sentence"),
        needs_alert=table.truth("alert"),
        hold=_hold(table) if error_class is ErrorClass.HOLD else None,
    )


def _hold(table: Table) -> Hold:
    holds = table.choice("holds", Holds)
    return Hold(
        holds, table.choice("after_marketing", Holds, default=holds), table.truth("until_inbound")
    )


def _codes(table: Table) -> tuple[int, ...]:
    """Return the codes of an entry, which lists codes and ranges such as "30028-30031"."""
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

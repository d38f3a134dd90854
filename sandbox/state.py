"""The state of a running sandbox, and what it does with a POST."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.address_rules import channel_of, is_user_id, person_label
from sandbox.api_errors import ApiError, api_error
from sandbox.callbacks import ARRIVED, Callbacks
from sandbox.config import SandboxAccount, SandboxConfig, SandboxTemplate
from sandbox.failure_effects import Failure, held_back, note_failure
from sandbox.faults import Action, Drawn, Faults, ObservedRequest
from sandbox.gateway_client import GatewayClient
from sandbox.journal import Journal
from sandbox.message_store import MessageStore, StoredMessage, new_sid
from sandbox.parameters import PostedForm, oddities, shape_error
from sandbox.rulings import TAG, Ruling, View, judge
from sandbox.simulated_people import SimulatedPeople
from sandbox.status_schedule import Step, steps_of
from sandbox.tags import Tags
from sandbox.violations import flag_careless

_ASYNC_WITH_SERVICE: Final = frozenset({21610, 21703})
"""Codes that Twilio knows only after a messaging service chose the sender, so that a callback
reports them."""

NOT_TAKEN: Final[Mapping[Action, int]] = {
    Action.RATE_LIMITED: 20429,
    Action.SERVER_ERROR: 20500,
    Action.UNAVAILABLE: 20503,
}
"""Faults that answer with a Twilio code although the message was not taken."""
LOSES_POST: Final = frozenset(
    {
        *NOT_TAKEN,
        Action.RATE_LIMITED_BARE,
        Action.GARBAGE,
        Action.RESET,
        Action.RESET_UNREAD,
        Action.HANG,
    }
)


@dataclass(slots=True)
class Taken:
    """What was decided about one POST.

    `held` is None if it was not accepted. Then `error` says why, or a fault lost the POST.
    """

    number: int
    drawn: Drawn
    account: SandboxAccount | None = None
    to: str = ""
    held: StoredMessage | None = None
    error: ApiError | None = None
    ruling: Ruling | None = None
    steps: list[Step] = field(default_factory=list)
    message_id: str | None = None
    attempt: int | None = None
    category: str | None = None


class Sandbox:
    """The state of one application."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.settings = config.settings.model_copy(deep=True)
        self.templates: dict[str, SandboxTemplate] = dict(config.templates)
        self.changed_templates: frozenset[str] = frozenset()
        self.told_dead: frozenset[str] = frozenset()
        self.tags = Tags()
        self.accounts: dict[str, SandboxAccount] = {
            account.sid: account for account in config.accounts
        }
        self.people = SimulatedPeople()
        self.messages = MessageStore(config.max_messages)
        self.faults = Faults(config.seed)
        self.journal = Journal(config.journal)
        self.outbox = GatewayClient(config, self.people)
        self.callbacks = Callbacks(self.outbox, self.journal, self._told)
        self.callbacks.retry_ms = self.settings.callback_retry_ms
        self.counts: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.in_flight = 0
        self.closing = asyncio.Event()

    def open(self) -> None:
        """Start what needs a running loop."""
        self.outbox.open()
        self.callbacks.open()

    async def close(self) -> None:
        """Stop the callbacks, free hanging requests, and close the connections and the journal."""
        self.closing.set()
        await self.callbacks.close()
        await self.outbox.close()
        self.journal.close()

    def count(self, kind: str) -> int:
        """Return the number of a request among its kind, from 1."""
        self.requests[kind] += 1
        return self.requests[kind]

    def label(self, address: str) -> str:
        """Return the label of a person in journals."""
        return person_label(self.people.at(address).name, self.config.seed)

    def take(self, number: int, account: SandboxAccount, form: PostedForm) -> Taken:
        """Decide about a POST, store the message if it is accepted, and journal the POST."""
        message_id, attempt = named_in(form.one("StatusCallback"))
        seen = ObservedRequest(
            "create", number, form.one("From") or "", form.one("To") or "", message_id, attempt
        )
        taken = Taken(
            number, self.faults.draw(seen), account, seen.to, message_id=message_id, attempt=attempt
        )
        taken.category = self._category(form)
        violations = oddities(form)
        taken.error = shape_error(form)
        if taken.error is not None:
            violations.append("malformed")
            self._write_post(taken, form, violations)
            return taken
        person = self.people.at(seen.to)
        view = self._view(account)
        ruling = taken.ruling = judge(form, person, view)
        is_second_tag = self.tags.is_second(ruling.sender, message_id, view.now_ms)
        flag_careless(form, ruling, person, view, is_second_tag=is_second_tag)
        answer = taken.drawn.answer.action if taken.drawn.answer else None
        if answer is Action.REJECT and taken.drawn.answer is not None:
            taken.error = api_error(taken.drawn.answer.code or 20422, taken.drawn.answer.http)
        elif answer is not None and answer in NOT_TAKEN:
            taken.error = api_error(NOT_TAKEN[answer])
        elif answer not in LOSES_POST:
            told_later = ruling.code is None or self._is_async(ruling.code, form)
            if told_later:
                self._keep(taken, form, ruling)
            elif ruling.code is not None:
                taken.error = api_error(ruling.code)
        self._write_post(taken, form, violations + ruling.violations)
        return taken

    def _is_async(self, code: int, form: PostedForm) -> bool:
        by_service = form.one("From") is None and code in _ASYNC_WITH_SERVICE
        return by_service or code in self.settings.async_codes

    def _keep(self, taken: Taken, form: PostedForm, ruling: Ruling) -> None:
        now, media, service = (
            self.outbox.now_ms(),
            form.all("MediaUrl"),
            form.one("MessagingServiceSid"),
        )
        only_service = form.one("From") is None
        held = taken.held = StoredMessage(
            number=self.messages.next_number(),
            sid=new_sid("MM" if media else "SM"),
            account=taken.account.sid if taken.account else "",
            to=self._shown(form.one("To") or ""),
            sender=form.one("From"),
            service=service,
            body=ruling.text,
            media=len(media),
            media_urls={new_sid("ME"): url for url in media},
            form=ruling.form,
            created_ms=now,
            visible_ms=now + self.settings.list_lag_ms + taken.drawn.delay_ms(Action.LIST_LAG),
            status="accepted" if only_service else "queued",
            callback=form.one("StatusCallback"),
            message_id=taken.message_id,
            attempt=taken.attempt,
            tag=TAG if ruling.form == "tag" else None,
            category=taken.category,
            channel_words=(taken.drawn.answer.channel_status or "") if taken.drawn.answer else "",
            is_code_decimal=taken.drawn.has(Action.DECIMAL_CODE),
            callback_method="GET" if taken.drawn.has(Action.CALLBACK_BY_GET) else "POST",
        )
        self.messages.add(held)
        if held.tag is not None:
            self.tags.add(held)
        usual = self.settings.statuses.get(ruling.channel, ())
        if form.one("ScheduleType") is not None:
            held.status = "scheduled"
            return
        delay = self.settings.callback_delay_ms
        taken.steps = steps_of(usual, taken.drawn, delay, first=held.status, code=ruling.code)
        if only_service and ruling.sender is not None:
            self.messages.choose_sender(held, ruling.sender)

    def _shown(self, to: str) -> str:
        """Return the address that lists and callbacks show for a recipient."""
        person = self.people.at(to)
        if self.settings.shows_phones and person.phone:
            return person.phone
        if self.settings.shows_own_spelling and to.startswith("whatsapp:+"):
            return person.wrote_from or to
        return to

    def _view(self, account: SandboxAccount) -> View:
        return View(
            account,
            self.templates,
            self.settings,
            self.changed_templates,
            self.told_dead,
            self.outbox.now_ms(),
        )

    def _write_post(self, taken: Taken, form: PostedForm, violations: list[str]) -> None:
        held, ruling, to = taken.held, taken.ruling, form.one("To") or ""
        failing = next((step for step in taken.steps if step.code is not None), None)
        self.counts["accepted" if held else "not_accepted"] += 1
        self.counts.update(f"violation:{name}" for name in violations)
        if taken.error is not None:
            self.counts[f"code:{taken.error.code}"] += 1
        if failing is not None:
            self.counts[f"code:{failing.code}"] += 1
        if self.journal.is_on:
            self.journal.write(
                "post",
                n=taken.number,
                id=taken.message_id,
                attempt=taken.attempt,
                at=self.outbox.now_ms(),
                person=self.label(to) if to else None,
                user_id=is_user_id(to),
                account=taken.account.sid if taken.account else None,
                channel=channel_of(to),
                sender=form.one("From") or form.one("MessagingServiceSid"),
                form=ruling.form if ruling else None,
                window=self._window(taken),
                category=taken.category,
                **self._held(taken, form),
                sid=held.sid if held else None,
                http=http_of(taken),
                code=failing.code if failing else (taken.error.code if taken.error else None),
                fails=failing.status if failing else None,
                then=taken.steps[-1].status
                if failing and taken.steps[-1].status in ARRIVED
                else None,
                fault=taken.drawn.names,
                violation=",".join(violations) or None,
            )

    def _window(self, taken: Taken) -> bool | None:
        """Return whether the person's window at this sender is open, or None if that is unknown."""
        if taken.ruling is None or taken.ruling.sender is None:
            return None
        return self.people.at(taken.to).window_is_open(taken.ruling.sender, self.outbox.now_ms())

    def _held(self, taken: Taken, form: PostedForm) -> dict[str, object]:
        """Return what an error told this sender about this person before, and when.

        `all` means everything except replies, and `marketing` means marketing only.
        """
        if taken.account is None or not taken.to:
            return {"held": None}
        told = held_back(
            self.people.at(taken.to), taken.account.sid, form.one("From"), self.outbox.now_ms()
        )
        return (
            {"held": None}
            if told is None
            else {"held": told.what, "held_t": told.at_t, "held_wish": told.is_wish}
        )

    def _category(self, form: PostedForm) -> str | None:
        template = self.templates.get(form.one("ContentSid") or "")
        return None if template is None else template.category

    def write_unread(
        self, number: int, fault: str | None = None, error: ApiError | None = None
    ) -> None:
        """Write a POST into the journal whose form was not read."""
        self.counts["not_accepted"] += 1
        http, code = (error.http, error.code) if error else (None, None)
        self.journal.write(
            "post",
            n=number,
            id=None,
            attempt=None,
            sid=None,
            http=http,
            code=code,
            fails=None,
            fault=fault,
            violation=None,
        )

    def told_sync(self, taken: Taken) -> None:
        """Record what the answer told the sender.

        It said that the Page's tag is dead, or that the address is unusable.
        """
        if taken.error is not None and taken.account is not None and taken.ruling is not None:
            now_ms, sender = self.outbox.now_ms(), taken.ruling.sender or ""
            failure = Failure(
                taken.to, sender, taken.account.sid, taken.error.code, taken.category, now_ms
            )
            note_failure(self.people.at(taken.to), failure, now_ms, self.journal.now())
        if (
            taken.ruling
            and taken.ruling.form == "tag"
            and taken.ruling.code is not None
            and taken.error is not None
        ):
            self.told_dead |= {taken.ruling.sender or ""}

    def _told(self, held: StoredMessage, status: str) -> None:
        if (
            status == "failed"
            and held.tag is not None
            and held.error_code == self.settings.account_update_code
        ):
            self.told_dead |= {held.sender or ""}
        if status in ARRIVED:
            self.people.at(held.to).unusable.pop(held.to, None)
        if status in {"failed", "undelivered"} and held.error_code is not None:
            code, category, words = held.error_code, held.category, held.channel_words
            failure = Failure(
                held.to, held.sender or "", held.account, code, category, held.created_ms, words
            )
            note_failure(self.people.at(held.to), failure, self.outbox.now_ms(), self.journal.now())


def http_of(taken: Taken) -> int | None:
    """Return the HTTP status of the answer, or None if a fault leaves the POST without one."""
    action = taken.drawn.answer.action if taken.drawn.answer else None
    if action in {Action.RESET, Action.RESET_UNREAD, Action.HANG}:
        return None
    if action in {Action.RATE_LIMITED_BARE, Action.GARBAGE} and taken.ruling is not None:
        return 429 if action is Action.RATE_LIMITED_BARE else 502
    if taken.held is not None:
        return {
            Action.ACCEPT_RESET: None,
            Action.ACCEPT_HANG: None,
            Action.ACCEPT_RATE_LIMITED_BARE: 429,
            Action.ACCEPT_SERVER_ERROR: 500,
            Action.ACCEPT_UNAVAILABLE: 503,
            Action.ACCEPT_GARBAGE: 200,
        }.get(action or Action.LATENCY, 201)
    return taken.error.http if taken.error else None


def named_in(callback: str | None) -> tuple[str | None, int | None]:
    """Parse the message id and the attempt from the query of a StatusCallback."""
    if callback is None:
        return None, None
    query = parse_qs(urlsplit(callback).query)
    attempt = query.get("a", [""])[0]
    # The service writes %3A as ~3A in `i`.
    escaped = query.get("i", [""])[0]
    named = unquote(escaped.replace("~", "%")) if escaped else query.get("m", [None])[0]
    return named, int(attempt) if attempt.isdigit() else None

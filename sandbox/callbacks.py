"""Runs a message through its statuses and posts each of them to the StatusCallback URL.

The callbacks are signed, and retried as the URL's fragment asks.

Source: twilio.com/docs/usage/webhooks/webhooks-connection-overrides, read 2026-11-20.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs

from sandbox.address_rules import channel_of
from sandbox.clock import perf
from sandbox.gateway_client import GatewayClient
from sandbox.journal import Journal
from sandbox.message_store import StoredMessage
from sandbox.status_schedule import Step

ARRIVED: Final = frozenset({"delivered", "read"})
"""Statuses that mean the message has reached the person, whatever was reported before."""

_MAX_OPEN_CALLBACKS: Final = 48
_MAX_FIRST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Overrides:
    """Connection overrides of a URL.

    Timeouts in seconds, the number of retries, and the failures after which to retry.
    """

    connect: float = 5.0
    read: float = 15.0
    total: float = 15.0
    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})

    def retries_after(self, failure: str) -> bool:
        """Return whether this kind of failure (4xx, 5xx, ct, rt) is retried."""
        return "all" in self.policy or failure in self.policy


@lru_cache(maxsize=256)
def overrides_of(fragment: str) -> Overrides:
    """Parse `rc=5&rp=all&ct=…`. Values out of range become the nearest documented limit."""
    given = {name: values[-1] for name, values in parse_qs(fragment).items()}
    return Overrides(
        connect=_bounded(given.get("ct"), 5000, 100, 10_000) / 1000,
        read=_bounded(given.get("rt"), 15_000, 100, 15_000) / 1000,
        total=_bounded(given.get("tt"), 15_000, 100, 15_000) / 1000,
        retries=_bounded(given.get("rc"), 1, 0, 5),
        policy=frozenset(given.get("rp", "ct").split(",")),
    )


@dataclass(slots=True)
class _Run:
    """One message on its way through its steps.

    `attempt` and `since` belong to the callback that is being posted.
    """

    held: StoredMessage
    steps: list[Step]
    place: int = 0
    attempt: int = 0
    since: float = 0.0
    first_told: asyncio.Event | None = None


class Callbacks:
    """Runs many messages through their steps at once, each message in order."""

    def __init__(
        self, outbox: GatewayClient, journal: Journal, on_told: Callable[[StoredMessage, str], None]
    ) -> None:
        self._outbox = outbox
        self._journal = journal
        self._on_told = on_told
        self._ready: asyncio.Queue[_Run] = asyncio.Queue()
        self._senders: list[asyncio.Task[None]] = []
        self.retry_ms = 200
        self.pending = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.counts: Counter[str] = Counter()

    def open(self) -> None:
        """Start the senders. Needs a running loop."""
        self._senders = [
            asyncio.create_task(self._send_ready()) for _ in range(_MAX_OPEN_CALLBACKS)
        ]

    async def close(self) -> None:
        """Stop at once. Callbacks that are still waiting are never posted."""
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    def play(self, held: StoredMessage, steps: list[Step]) -> None:
        """Start a message's steps in the background."""
        self._begin()
        self._later(_Run(held, steps))

    async def play_first(self, held: StoredMessage, steps: list[Step]) -> None:
        """Start a message's steps, and wait until the first callback was answered, or for 5 s.

        That callback overtakes the reply to the POST.
        """
        self._begin()
        run = _Run(held, steps, first_told=asyncio.Event())
        self._ready.put_nowait(run)
        try:
            async with asyncio.timeout(_MAX_FIRST_SECONDS):
                await (run.first_told or asyncio.Event()).wait()
        except TimeoutError:
            return

    async def drained(self) -> None:
        """Wait until no message has a callback left to post."""
        await self._idle.wait()

    def _begin(self) -> None:
        self.pending += 1
        self._idle.clear()

    def _later(self, run: _Run, delay_ms: float | None = None) -> None:
        if run.place >= len(run.steps):
            self.pending -= 1
            if not self.pending:
                self._idle.set()
            if run.first_told is not None:
                run.first_told.set()
            return
        delay = run.steps[run.place].delay_ms if delay_ms is None else delay_ms
        if delay:
            asyncio.get_running_loop().call_later(delay / 1000, self._ready.put_nowait, run)
        else:
            self._ready.put_nowait(run)

    async def _send_ready(self) -> None:
        while True:
            run = await self._ready.get()
            step = run.steps[run.place]
            if run.held.status == "canceled" and step.status != "canceled":
                run.place = len(run.steps)
                self._later(run)
                continue
            if step.happens:
                _happen(run.held, step, self._outbox.now_ms())
            if step.told and run.held.callback is not None:
                again_ms = await self._tell(run, step)
                if again_ms is not None:
                    self._later(run, again_ms)
                    continue
            run.place += 1
            run.attempt = 0
            self._later(run)

    async def _tell(self, run: _Run, step: Step) -> float | None:
        """Post one callback. Returns the pause in ms before it is retried, or None."""
        held, url = run.held, run.held.callback or ""
        overrides = overrides_of(url.partition("#")[2])
        began = perf()
        run.since = run.since if run.attempt else began
        timeouts = (overrides.connect, overrides.read)
        # From here on the gateway may act on it, even before its answer arrives here.
        held.heard = step.status
        form = status_form(held, step, self._outbox)
        http, failure = await self._outbox.post(
            held.account, url, form, timeouts, held.callback_method
        )
        run.attempt += 1
        pause = self.retry_ms * 2 ** (run.attempt - 1)
        within = perf() - run.since + pause / 1000 < overrides.total
        again = (
            failure is not None
            and run.attempt <= overrides.retries
            and overrides.retries_after(failure)
            and within
        )
        self._record(run, step, http, perf() - began, given_up=failure is not None and not again)
        if failure is None:
            self._on_told(held, step.status)
            if run.first_told is not None:
                run.first_told.set()
        return pause if again else None

    def _record(
        self, run: _Run, step: Step, http: int | None, seconds: float, *, given_up: bool
    ) -> None:
        self.counts[f"{step.status}:{http or 'none'}"] += 1
        if given_up:
            self.counts["given_up"] += 1
        self._journal.write(
            "callback_sent",
            sid=run.held.sid,
            status=step.status,
            http=http,
            id=run.held.message_id,
            attempt=run.held.attempt,
            tried=run.attempt,
            ms=round(seconds * 1000, 3),
            given_up=given_up,
        )


def status_form(held: StoredMessage, step: Step, outbox: GatewayClient) -> list[tuple[str, str]]:
    """Build the form of a status callback.

    Source: twilio.com/docs/messaging/guides/track-outbound-message-status, read 2026-11-20.
    """
    channel = channel_of(held.to)
    form = [
        ("ApiVersion", "2010-04-01"),
        ("AccountSid", held.account),
        ("MessageSid", held.sid),
        ("SmsSid", held.sid),
        ("MessageStatus", step.status),
        ("SmsStatus", step.status),
        ("To", held.to),
        ("From", held.sender or ""),
    ]
    if held.service is not None:
        form.append(("MessagingServiceSid", held.service))
    if step.code is not None:
        form.append(("ErrorCode", str(held.written_code(step.code))))
    if channel == "sms":
        if step.status in {"delivered", "undelivered"}:
            form.append(("RawDlrDoneDate", outbox.dlr_date()))
        return form
    form += [
        ("ChannelPrefix", channel),
        ("ChannelInstallSid", "XE" + "0" * 32),
        ("ChannelToAddress", _masked(held.to)),
    ]
    if step.status in {"delivered", "undelivered", "read"}:
        form.append(("EventType", step.status.upper()))
    if step.code is not None:
        words = held.channel_words or f"the channel refused the message ({step.code})"
        form.append(("ChannelStatusMessage", words))
    user_id = outbox.user_id(held.to)
    if user_id is not None and step.status in {"delivered", "read"}:
        form.append(("ExternalUserId", user_id))
    return form


def _happen(held: StoredMessage, step: Step, now_ms: int) -> None:
    held.status = step.status
    held.updated_ms = now_ms
    if step.status == "sent":
        held.sent_ms = now_ms
    if step.code is not None or step.status in ARRIVED:
        held.error_code = step.code


def _masked(address: str) -> str:
    return address.partition(":")[2][:-4] + "XXXX"


def _bounded(text: str | None, default: int, least: int, most: int) -> int:
    if text is None or not text.isdigit():
        return default
    return min(max(int(text), least), most)

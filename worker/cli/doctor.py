"""`doctor`: checks settings, store, clocks and policy dates, with a remedy for each finding."""

import argparse
import asyncio
import math
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.cli.exit_codes import Exit
from worker.cli.output import Output, add_json, counted, instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.settings.accounts import Account
    from worker.settings.schema import DispatchSettings
    from worker.settings.settings import Settings
    from worker.stores.store import Store

MAX_CLOCK_SKEW: Final = timedelta(seconds=2)
"""Beyond this, the logs of several machines no longer line up. Decisions rest on the store's clock
alone."""

MAX_SUSPECTED: Final = timedelta(days=1)
"""A suspected stop that has waited longer is a failed check: a person asked for something, and no
operator looked at it."""

MAX_PAUSE: Final = timedelta(days=366)
"""A pause that lasts longer has no end of its own: `resume` ends it."""

MISDIRECTED_LATELY: Final = timedelta(days=7)
"""For how long a request at the wrong URL is worth a warning."""

LIVE_SECONDS: Final = 5.0
"""Seconds to wait for the connection and for the answer. An operator who asks whether Twilio
answers should not wait as long as a message may."""

NOBODY: Final = "+15005550006"
"""Twilio's own number for tests ("Test credentials", read 2026-11-20). No account has messages from
it to itself."""


class Mark(StrEnum):
    """The result of a check."""

    FINE = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check, and a sentence about its result that ends in the remedy when there is one."""

    mark: Mark
    what: str
    sentence: str


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument(
        "--live",
        action="store_true",
        help="also ask Twilio whether the credentials are good (reads, sends nothing)",
    )
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Run all checks. Returns FAILED when one failed; warnings do not count."""
    from worker.wiring import read_settings

    settings = read_settings(arguments.config)
    findings = asyncio.run(_examine(settings, live=arguments.live))
    output = Output(arguments.json)
    print_findings(findings, output)
    return Exit.FAILED if any(finding.mark is Mark.FAILED for finding in findings) else Exit.DONE


def print_findings(findings: "Sequence[Finding]", output: Output) -> None:
    """Print what is healthy, one line for each finding, and then what is not.

    They are two tables, so that a long name in the second one does not widen the first.
    """
    if output.as_json:
        for finding in findings:
            output.object({"mark": finding.mark, "what": finding.what, "finding": finding.sentence})
        return
    for healthy, title in ((True, ""), (False, "To look at")):
        rows = [
            {"": finding.mark, "what": finding.what, "finding": finding.sentence}
            for finding in findings
            if (finding.mark is Mark.FINE) is healthy
        ]
        if rows:
            output.table(("", "what", "finding"), rows, title)


async def _examine(settings: "Settings", *, live: bool) -> list[Finding]:
    findings = [*_settings(settings), *_policy(settings), *await _store(settings)]
    if live:
        asked = (_credentials(account, settings.dispatch) for account in settings.accounts.values())
        findings += await asyncio.gather(*asked)
    return findings


def _settings(settings: "Settings") -> list[Finding]:
    parts = {
        "account": settings.accounts,
        "sender": settings.senders,
        "template": settings.templates,
    }
    names = ", ".join(counted(len(part), noun) for noun, part in parts.items())
    if not settings.senders:
        return [
            Finding(
                Mark.WARNING,
                "settings",
                f"{names}: nothing can be sent. Add [accounts] and [senders].",
            )
        ]
    findings = [Finding(Mark.FINE, "settings", names), *_rates(settings)]
    if settings.guards.allow_recipients:
        many = counted(len(settings.guards.allow_recipients), "recipient")
        findings.append(
            Finding(Mark.WARNING, "guards", f"messages go to {many} only (guards.allow_recipients)")
        )
    return findings


def _rates(settings: "Settings") -> list[Finding]:
    """Return how fast the senders may send, the slowest first."""
    senders: dict[float, list[str]] = {}
    for sender in settings.senders.values():
        senders.setdefault(sender.per_second or math.inf, []).append(sender.name)
    findings = []
    for per_second, names in sorted(senders.items()):
        what = "no rate limit" if per_second == math.inf else f"rate {per_second:g}/s"
        few = ", ".join(sorted(names)[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        findings.append(Finding(Mark.FINE, what, f"{few}{more}"))
    return findings


def _policy(settings: "Settings") -> list[Finding]:
    from policies.policy import due_dates
    from worker.runtime.clock import wall_now
    from worker.wiring import load_rules

    policy = load_rules(settings).policy
    findings = [
        Finding(Mark.WARNING, "policy", due.sentence) for due in due_dates(policy, wall_now())
    ]
    return [
        Finding(Mark.FINE, "policy", f"version {policy.version}, {len(policy.rows)} dated rules"),
        *findings,
    ]


async def _store(settings: "Settings") -> list[Finding]:
    from sendwindow.errors import BadStoreUrl
    from worker.runtime.embedded_store import EmbeddedStoreError
    from worker.stores.store import StoreRefused, StoreTroubleError
    from worker.wiring import open_store, profile_of

    where = "configured" if settings.store.url else "embedded"
    try:
        async with open_store(settings) as store:
            findings = [
                Finding(
                    Mark.FINE,
                    "store",
                    f"{where}, partition {settings.store.partition}, {profile_of(settings)} "
                    "profile",
                )
            ]
            findings += [Finding(Mark.WARNING, "store", sentence) for sentence in store.warnings]
            findings += [
                *await _clock(store),
                *await _restored(store),
                *await _processes(settings, store),
            ]
            findings += [*await _switched_off(settings, store), *await _held(settings, store)]
            return [*findings, *await _contents(store)]
    except (StoreRefused, StoreTroubleError, BadStoreUrl, EmbeddedStoreError) as error:
        return [Finding(Mark.FAILED, "store", str(error))]


async def _clock(store: "Store") -> list[Finding]:
    from worker.runtime.clock import wall_now

    before = wall_now()
    now = await store.now()
    skew = now - before - (wall_now() - before) / 2
    words = f"the store's clock is {skew.total_seconds():+.1f} s from this machine's"
    if abs(skew) > MAX_CLOCK_SKEW:
        return [
            Finding(
                Mark.WARNING,
                "clock",
                f"{words}: synchronise both with NTP, or their logs will not line up",
            )
        ]
    return [Finding(Mark.FINE, "clock", words)]


async def _restored(store: "Store") -> list[Finding]:
    mark = await store.restored.read()
    if mark.copied_at is None:
        return []
    words = (
        f"marked as restored from a copy of {instant(mark.copied_at)}, so workers claim nothing: "
        "`store restored --yes` did not finish, repeat it"
    )
    return [Finding(Mark.FAILED, "restored", words)]


async def _processes(settings: "Settings", store: "Store") -> list[Finding]:
    from worker.cli.settings_drift import other_settings

    living = await store.processes.living()
    words = ", ".join(
        counted(count, role) for role, count in sorted(Counter(one.role for one in living).items())
    )
    other = await other_settings(settings, store)
    if waiting := [one.process_id for one in living if one.is_waiting]:
        sentence = (
            f"{', '.join(sorted(waiting))} {'waits' if len(waiting) == 1 else 'wait'} for "
            "processes of a release that cannot work at the same time: `processes` shows the "
            "releases, and the old processes have to be stopped"
        )
        return [Finding(Mark.FAILED, "processes", sentence)]
    if other is not None:
        return [Finding(Mark.WARNING, "processes", other)]
    return [
        Finding(
            Mark.FINE, "processes", f"{words}, with these settings" if living else "none is running"
        )
    ]


async def _switched_off(settings: "Settings", store: "Store") -> list[Finding]:
    from worker.cli.pauses import switched_off
    from worker.runtime.clock import wall_now

    findings = []
    for switch, said in await switched_off(settings, store):
        ends = said.paused_until
        until = f" until {instant(ends)}" if ends and ends - wall_now() < MAX_PAUSE else ""
        sentence = (
            f"{said.state or 'paused'}{until} ({said.reason}): once the cause is gone, "
            f"`{switch.remedy}`"
        )
        findings.append(Finding(Mark.WARNING, switch.title, sentence))
    for sender, campaign in await store.switches.paused_campaigns():
        sentence = f"paused: `campaign resume {sender} {campaign}` ends that"
        findings.append(Finding(Mark.WARNING, f"campaign {campaign} of {sender}", sentence))
    for name, block in (await store.lanes.open_breakers(settings.accounts)).items():
        since = f" since {instant(block.since)}" if block.since else ""
        sentence = (
            f"Twilio answers no message{since} ({block.detail}): workers go on by themselves when "
            f"it does, `resume {name}` has them go on at once"
        )
        findings.append(Finding(Mark.WARNING, f"account {name}", sentence))
    return findings


async def _held(settings: "Settings", store: "Store") -> list[Finding]:
    return [
        Finding(
            Mark.WARNING,
            f"errors of {sender}",
            "so many of its attempts failed with errors about persons that "
            f"{counted(many, 'effect')} {'waits' if many == 1 else 'wait'} for an operator: find "
            "the cause, then `contact held`",
        )
        for sender, many in (await store.held.waiting(list(settings.senders))).items()
    ]


async def _contents(store: "Store") -> list[Finding]:
    findings = []
    depths = await store.records.depths()
    for which, remedy in (
        ("unresolved", "`unknown list` shows them"),
        ("dead", "`dead list` shows them"),
    ):
        if depth := depths.get(which):
            words = (
                f"{counted(depth, 'message')} {'waits' if depth == 1 else 'wait'} for an operator: "
                f"{remedy}"
            )
            findings.append(Finding(Mark.WARNING, which, words))
    findings += await _suspected(store, depths.get("suspected_stops", 0))
    findings += await _misdirected(store)
    pressure = await store.pressure()
    if pressure is None:
        words = (
            "could not be checked, because this user may not use INFO. Without it, producers learn "
            "only from Redis that it is full"
        )
        return [*findings, Finding(Mark.WARNING, "memory", f"{words}. Grant +info")]
    words = (
        f"{pressure} % of maxmemory" if pressure else "no maxmemory, or less than 1 % of it in use"
    )
    mark = Mark.WARNING if pressure >= 70 else Mark.FINE
    return [
        *findings,
        Finding(
            mark,
            "memory",
            words + (": producers are refused from 80 %" if mark is Mark.WARNING else ""),
        ),
    ]


async def _suspected(store: "Store", many: int) -> list[Finding]:
    waited = await store.records.suspected_for()
    if waited is None:
        return []
    hours = int(waited.total_seconds() // 3600)
    mark = Mark.FAILED if waited > MAX_SUSPECTED else Mark.WARNING
    words = (
        f"{counted(many, 'text')} may mean stop, the oldest for {counted(hours, 'hour')}, and "
        "marketing to them is held"
    )
    return [Finding(mark, "suspected stops", f"{words}: `consent suspected` lists them")]


async def _misdirected(store: "Store") -> list[Finding]:
    findings = []
    for endpoint, what, right in (
        ("status", "messages that persons wrote", "inbound"),
        ("inbound", "status callbacks", "status"),
    ):
        since = await store.records.misdirected_for(endpoint)
        if since is not None and since < MISDIRECTED_LATELY:
            ago = counted(int(since.total_seconds() // 3600), "hour")
            words = f"{what} came to /twilio/{endpoint}, the last one {ago} ago; they count"
            sentence = f"{words}, but in Twilio's console set their URL to /twilio/{right}"
            findings.append(Finding(Mark.WARNING, f"{endpoint} URL", sentence))
    return findings


async def _credentials(account: "Account", dispatch: "DispatchSettings") -> Finding:
    from worker.runtime.clock import wall_now
    from worker.twilio.client import TwilioClient
    from worker.twilio.messages import ReadFailed

    what, base_url = f"account {account.name}", f"accounts.{account.name}.base_url"
    async with TwilioClient(
        {account.name: account},
        connect_timeout=min(dispatch.connect_timeout, LIVE_SECONDS),
        read_timeout=min(dispatch.read_timeout, LIVE_SECONDS),
    ) as twilio:
        try:
            # This list is always empty. Reading it needs good credentials, and a server that knows
            # messages.
            await twilio.list_messages(
                account.name, to=NOBODY, from_address=NOBODY, since=wall_now(), max_requests=1
            )
        except ReadFailed as failure:
            return Finding(Mark.FAILED, what, _complaint(failure.status, base_url))
    return Finding(Mark.FINE, what, "the credentials are good")


def _complaint(status: int | None, base_url: str) -> str:
    match status:
        case None:
            return (
                f"Twilio does not answer: check {base_url}, the network and its proxies, and try "
                "again"
            )
        case 401 | 403:
            remedy = "check account_sid and auth_token, or api_key and api_secret"
            return f"Twilio refuses the credentials ({status}): {remedy}"
        case _:
            return f"no usable answer ({status}): check account_sid and {base_url}, and try again"

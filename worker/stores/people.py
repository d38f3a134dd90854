"""What is known about persons: windows, consent, open permits.

Addresses become digests here and go no further.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, cast

from sendwindow.timestamps import from_ms, to_ms
from worker.ports.people import ConsentEntry, Inbound, InboundApplied, SuspectedStop
from worker.ports.stored_facts import StoredFacts
from worker.stores.fact_fields import PersonField
from worker.stores.fact_parsing import parse_facts
from worker.stores.person_digests import DIGEST_CHARACTERS, PersonDigests
from worker.stores.script_runner import ScriptRunner, compact, new_request, without_none
from worker.stores.worker_scripts import ANY, worker_script

_INBOUND: Final = worker_script("inbound")
_SUSPECTED: Final = worker_script("suspected")
_PAGE_LINES: Final = 100
_CONSENT: Final = worker_script("consent")
_ALLOW: Final = worker_script("allow")
_FACTS: Final = worker_script("facts")
_LEDGER: Final = worker_script("consents")
_PERMITS: Final = worker_script("permits")


class PeopleStore:
    """Implements `worker.ports.People` on one partition."""

    def __init__(self, calls: ScriptRunner, digests: PersonDigests) -> None:
        self._calls = calls
        self._digests = digests

    async def apply_inbound(self, inbounds: Sequence[Inbound]) -> list[InboundApplied]:
        """Record inbound messages, each in one atomic step.

        A duplicate changes nothing. Otherwise the step moves the window, applies the keyword and
        releases waiting messages.
        """
        if not inbounds:
            return []
        encoded = [self._encode(inbound) for inbound in inbounds]
        answers = await self._calls.run_once(_INBOUND, encoded)
        return [
            InboundApplied(
                first=bool(first),
                opted=opted.decode() or None,
                released=int(released),
                person_digest=person.decode(),
                open_permits_ms=int(open_ms),
            )
            for first, opted, released, person, open_ms in answers
        ]

    async def permits_left_ms(self, digest: str) -> int:
        """Return the milliseconds until a person's last unsettled permit lapses.

        By the store's clock. 0: every permit is settled. Negative: the last unsettled permit has
        lapsed.
        """
        return int(await self._calls.run(_PERMITS, [digest]))

    async def record_consent(
        self, address: str, entry: ConsentEntry, *, after_stop: bool = False
    ) -> Literal["recorded", "opted_out"]:
        """Append to the consent ledger and unite its projection with the entry.

        An `at` in the future counts as now.

        Entries count by their dates, in whatever order they are recorded. At equal dates a
        withdrawal wins. A grant that is dated after a withdrawal in force is not recorded
        (`opted_out`), unless `after_stop` says that it is meant.
        """
        expires_ms = to_ms(entry.expires_at) if entry.expires_at else None
        line = without_none(
            {
                "granted": entry.granted,
                "account": entry.account,
                "purpose": entry.purpose,
                "sender": entry.sender,
                "source": entry.source,
                "wording": entry.wording or None,
                "evidence": entry.evidence or None,
                "expires_at": expires_ms,
            }
        )
        answer: bytes = await self._calls.run_durably(
            _CONSENT,
            [
                compact(
                    {
                        "person": self._digests.persons_of(address),
                        "request": new_request(),
                        "at": to_ms(entry.at) if entry.at else None,
                        "granted": entry.granted,
                        "account": entry.account,
                        "purpose": entry.purpose or ANY,
                        "sender": entry.sender or ANY,
                        "expires_at": expires_ms,
                        "line": line,
                        "after_stop": after_stop,
                    }
                )
            ],
        )
        return "recorded" if answer == b"recorded" else "opted_out"

    async def suspected(self) -> AsyncIterator[SuspectedStop]:
        """Yield the suspected stops that no operator has decided, oldest first."""
        keys, redis = self._calls.keys, self._calls.redis
        start = 0

        async def page(start: int) -> Any:
            return await self._calls.patiently(
                lambda: redis.zrange(
                    keys.suspected_stops, start, start + _PAGE_LINES - 1, withscores=True
                )
            )

        while members := await page(start):
            start += len(members)
            named = [(*member.decode().partition("|")[::2], since) for member, since in members]
            found = await self._calls.ask_together(
                [
                    ("HGET", keys.person(digest), PersonField.SUSPECTED_STOP + account)
                    for digest, account, _ in named
                ]
            )
            for (digest, account, since), held in zip(named, found, strict=True):
                if held is not None:
                    # The list has the date, so a value that cannot be read still yields its case.
                    _, sid, sender = (*held.decode(errors="replace").split("|", 2), "", "")[:3]
                    yield SuspectedStop(digest, account, from_ms(int(since)), sid, sender)

    async def decide_suspected(
        self,
        stops: Sequence[SuspectedStop],
        decision: Literal["marketing", "all", "dismiss"],
        senders: Sequence[str],
    ) -> list[int | None]:
        """Withdraw what was suspected, or dismiss it.

        Messages that waited at `senders` are decided again. Returns for each stop how many messages
        that were; None: it was decided meanwhile.
        """
        asked = {
            "decision": decision,
            "senders": list(senders),
            "stops": [(stop.person_digest, stop.account) for stop in stops],
        }
        answers = await self._calls.run_once(_SUSPECTED, [compact(asked)])
        return [None if int(released) < 0 else int(released) for released in answers]

    async def allow(self, address: str) -> int:
        """End the suppression of an address and what errors hold back from its person.

        Returns how many of these ended.

        What an attempt until now teaches later no longer counts. Consent and opt-outs do not
        change.
        """
        [lifted] = await self._calls.run_once(_ALLOW, [self._digests.persons_of(address)])
        return int(lifted)

    async def consents(self, address: str) -> list[Mapping[str, object]]:
        """Return a person's consent ledger, oldest first.

        `at` and `expires_at` are aware datetimes.
        """
        lines: list[bytes] = await self._calls.run(_LEDGER, [self._digests.persons_of(address)])
        return sorted(
            (_read_line(line) for line in lines), key=lambda line: cast(datetime, line["at"])
        )

    async def facts(
        self, address: str, sender: str, account: str, content_sid: str | None, message_id: str = ""
    ) -> StoredFacts:
        """Return what a decision would see now. Writes nothing.

        `account` empty: the account that the sender is registered with.
        """
        person = self._digests.persons_of(address)
        return parse_facts(
            await self._calls.run(_FACTS, [person, sender, account, content_sid or "", message_id])
        )

    def digest(self, address: str) -> str:
        """Return the keyed digest that names a person in keys.

        It is the same for every spelling of the address.
        """
        return self._digests.persons_of(address)[:DIGEST_CHARACTERS]

    def _encode(self, inbound: Inbound) -> str:
        return compact(
            {
                "sid": inbound.message_sid,
                "sender": inbound.sender,
                "account": inbound.account,
                "person": self._digests.persons_of(inbound.address),
                "proven": self._digests.proven(inbound.address, inbound.wa_id) or None,
                "keyword": inbound.keyword,
                "at": to_ms(inbound.received_at) if inbound.received_at else None,
            }
        )


def _read_line(line: bytes) -> Mapping[str, object]:
    entry: dict[str, Any] = json.loads(line)
    entry.pop("request", None)
    for name in ("at", "expires_at"):
        if name in entry:
            entry[name] = from_ms(int(entry[name]))
    return entry

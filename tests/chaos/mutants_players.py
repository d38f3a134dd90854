"""The people of the scenario and their messages: addresses from a seed, words, expected ends."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.faults import Action, FaultRule, Match
from sandbox.message_store import StoredMessage, new_sid
from sandbox.simulated_person import Say, say
from sendwindow.contract import SendMessage
from sendwindow.timestamps import to_ms
from sendwindow.vocabulary import OnUnknown
from tests.chaos.mutants_cast import ACCOUNT_SID, SENDERS, Kind
from tests.chaos.mutants_rig import Rig
from tests.support.cast import british, german, phone
from worker.cli.journal_option import write_accepted, write_consent
from worker.ports.people import ConsentEntry

NEWER_PURPOSE, NEWER_WORD = "survey", "q"
"""A purpose of consent and a kind of statement that this release does not know."""

OTHER_SPELLING = ("whatsapp:+55119", "whatsapp:+5511")
ORDINARY = Kind("ordinary", "accepted", wrote="now")


class Players:
    """Every person has the name of the message to them; `id-`, `phone-`, `us-` are kinds of
    address.

    `br-` is a number in Brazil. Messages write it with the ninth digit, and Twilio delivers from it
    without.
    """

    def __init__(self, rig: Rig, seed: int) -> None:
        self._rig = rig
        self.chance = random.Random(seed)
        self._numbers = enumerate(self.chance.sample(range(10_000, 99_999), 1000))
        self._addresses: dict[str, str] = {}
        self._expected: dict[str, str] = {}

    def share_address(self, name: str, other: str) -> None:
        """Make two names one person, on WhatsApp."""
        self._addresses[other] = self._address(name, "shop")

    def _address(self, name: str, sender: str) -> str:
        if name not in self._addresses:
            index, number = next(self._numbers)
            kind = name.partition("-")[0]
            by_id = kind == "id" or (kind not in {"phone", "br"} and self.chance.random() < 0.3)
            shown = f"DE.{number}abc" if by_id else german(index)
            shown = {"us": phone(index), "br": f"+5511995{number}1"}.get(kind, shown)
            self._addresses[name] = {
                "shop": f"whatsapp:{shown}",
                "text": british(index),
                "fair": british(999 - index),
            }.get(sender, f"messenger:20000{number}")
        return self._addresses[name]

    async def consent(self, name: str, kind: Kind) -> None:
        """Record consent to everything, marketing included, and what became of it."""
        now = datetime.now(UTC)
        soon = now + timedelta(hours=1)
        ends = soon if kind.consents == "lapsed" else None
        said = [self._entry(True, purpose, expires_at=ends) for purpose in (None, "marketing")]
        match kind.consents:
            case "withdrawn":
                said += [self._entry(False)]
            case "relapsed":
                said += [
                    self._entry(False, "utility"),
                    self._entry(True, "utility", expires_at=soon),
                ]
            case "tied":
                said = [
                    self._entry(False, at=now - timedelta(hours=1)),
                    self._entry(True, at=now - timedelta(hours=1)),
                ]
            case "regranted":
                said += [self._entry(False), self._entry(True)]
            case "newer-grant":
                said = [self._entry(True, NEWER_PURPOSE)]
            case "newer-withdrawal":
                said += [self._entry(False, NEWER_PURPOSE)]
            case _:
                pass
        for entry in said:
            await self._say(name, kind.sender, entry)
        if kind.consents == "newer-word":
            await self._store_newer_word(self._address(name, kind.sender))

    async def _store_newer_word(self, address: str) -> None:
        """Store a statement about replies that is neither a grant nor a withdrawal."""
        digest = self._rig.store.people.digest(address)
        await self._rig.store_field(
            f"{NEWER_WORD}:main|reply|*", digest, f"{to_ms(datetime.now(UTC))}"
        )
        self._rig.journal.write(
            "consent", person=digest, account="main", purpose="reply", granted=NEWER_WORD
        )

    def _entry(self, granted: bool, purpose: str | None = None, **more: Any) -> ConsentEntry:
        return ConsentEntry(granted, "main", purpose, None, "mutants", **more)

    async def _say(self, name: str, sender: str, entry: ConsentEntry) -> None:
        people, asked_at = self._rig.store.people, self._rig.journal.now()
        address = self._address(name, sender)
        after_stop = entry.granted
        assert await people.record_consent(address, entry, after_stop=after_stop) == "recorded"
        write_consent(
            self._rig.journal, entry, people.digest(address), asked_at, after_stop=after_stop
        )

    async def write(
        self,
        name: str,
        *words: str | Mapping[str, Any],
        sender: str = "shop",
        sid: str | None = None,
    ) -> None:
        """Write or tap as a person, and return once the gateway has answered."""
        for word in words:
            address = self._address(name, sender).replace(*OTHER_SPELLING)
            spoken = {"from": address, "to": SENDERS[sender], "sid": sid}
            said = {"body": word} if isinstance(word, str) else word
            await say(self._rig.sandbox, Say.model_validate(spoken | dict(said)))

    async def dismiss_suspected(self) -> None:
        """Dismiss every suspected stop as an operator."""
        people = self._rig.store.people
        stops = [stop async for stop in people.suspected()]
        for stop in stops:
            self._rig.journal.write(
                "suspected", account=stop.account, decision="dismiss", sid=stop.message_sid
            )
        await people.decide_suspected(stops, "dismiss", sorted(SENDERS))

    async def send(self, name: str, kind: Kind, end: str | None = None, **more: Any) -> None:
        """Queue a message of a kind. Its expected end is the kind's unless another is given."""
        if kind.expires_in is not None:
            more["expires_at"] = datetime.now(UTC) + kind.expires_in
        to, says = self._address(name, kind.sender), dict(kind.says)
        if "freeform" in says and to.startswith("whatsapp:DE."):
            # A row under a user id may belong to any phone. With equal texts it would leave each
            # unproven.
            says["freeform"] = {"body": "Your order has left the warehouse, whoever you are."}
        message = SendMessage(
            to=to,
            sender=kind.sender,
            purpose=kind.purpose,
            message_id=name,
            **(says | more),
        )
        receipt = await self._rig.producer.send(message)
        self._expected[name] = end or kind.end
        person = self._rig.store.people.digest(message.to)
        write_accepted(self._rig.journal, message, self._rig.settings, person, receipt)

    async def meet(
        self,
        name: str,
        end: str = "accepted",
        kind: Kind = ORDINARY,
        on_unknown: OnUnknown | None = None,
    ) -> None:
        """Let a person consent, write now if the kind says so, and get a message."""
        if kind.wrote == "now":
            await self.write(name, "Hello", sender=kind.sender)
        await self.consent(name, kind)
        await self.send(name, kind, end, on_unknown=on_unknown)

    def trouble(self, action: str, name: str, sender: str = "shop", **more: Any) -> None:
        """Make the provider misbehave once when it gets this person's message."""
        match = Match(to=self._address(name, sender))
        self._rig.sandbox.faults.add(FaultRule(action=Action(action), match=match, times=1, **more))

    def answer_by_hand(self, name: str, body: str) -> None:
        """Write to a person from the same sender, as an agent in the provider's console does."""
        sandbox, at = self._rig.sandbox, self._rig.sandbox.outbox.now_ms()
        held = StoredMessage(
            number=sandbox.messages.next_number(),
            sid=new_sid("SM"),
            account=ACCOUNT_SID,
            to=self._address(name, "shop"),
            sender=SENDERS["shop"],
            service=None,
            body=body,
            media=0,
            form="freeform",
            created_ms=at,
            visible_ms=at,
            status="delivered",
        )
        sandbox.messages.add(held)

    async def compare(self) -> dict[str, tuple[str, str]]:
        """Journal the stage of every message, and return the messages with an unexpected stage."""
        unexpected = {}
        for name, end in self._expected.items():
            record = await self._rig.store.records.record(name)
            stage = record.row["s"] if record is not None else "gone"
            attempt = int(record.row.get("n", "0")) if record is not None else 0
            self._rig.journal.write("found", id=name, stage=stage, attempt=attempt)
            if stage != end:
                unexpected[name] = (end, stage)
        return unexpected

"""Writes as a person: sends a signed inbound message to the gateway.

Source: twilio.com/docs/messaging/guides/webhook-request, read 2026-11-20.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from sandbox.address_rules import channel_of, is_recipient
from sandbox.config import Channel, SandboxAccount
from sandbox.message_store import StoredMessage, new_sid
from sandbox.simulated_people import META_BUTTONS, START_WORDS, STOP_WORDS
from sandbox.state import Sandbox

_ANSWER_WITHIN_SECONDS: Final = (5.0, 15.0)
_FORMS: Final[dict[Channel, str]] = {
    "whatsapp": "whatsapp:+<E.164> or whatsapp:<user id>",
    "messenger": "messenger:<digits>",
    "sms": "+<E.164>",
}


class Say(BaseModel):
    """What a person writes.

    `times`: how often Twilio delivers it. `lost`: Twilio never delivers it, but lists show it.
    `user_id`: the WhatsApp user id (BSUID) that comes with a phone. `extra`: further parameters.
    `payload`: the message is a tap on a button with this payload, whose label is `body`. `method`
    and `door`: how Twilio is configured to deliver it, and whether to the right URL or to the one
    for statuses. `rcs`: a person with an SMS address writes by RCS. `means`: what an unclear
    sentence means, which only the test knows.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: str = Field(alias="from")
    to: str
    body: str = ""
    times: int = Field(default=1, ge=1, le=100)
    lost: bool = False
    sid: str | None = Field(default=None, pattern="^(SM|MM)[0-9a-fA-F]{32}$")
    user_id: str | None = None
    payload: str | None = None
    method: Literal["POST", "GET"] = "POST"
    door: Literal["inbound", "status"] = "inbound"
    rcs: bool = False
    means: Literal["suspected", "stop"] | None = None
    extra: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SayResult:
    """What became of it. `answers`: the gateway's HTTP statuses, None where it did not answer."""

    sid: str
    stop: bool
    start: bool
    answers: tuple[int | None, ...]


async def say(sandbox: Sandbox, words: Say) -> SayResult:
    """Write as a person, and return after the gateway has answered.

    Raises ValueError when no account owns `to`, when no person with that `from` could write there,
    or when no inbound URL is set.
    """
    account = _owner(sandbox, words.to)
    _check_person(words)
    channel, now = channel_of(words.from_), sandbox.outbox.now_ms()
    if words.user_id is not None and words.from_.startswith("whatsapp:+"):
        sandbox.people.link(words.from_, f"whatsapp:{words.user_id}")
    person, means = sandbox.people.at(words.from_), _meaning(words)
    stop, start = means == "stop", means == "start"
    person.write(words.to, now)
    person.wrote_from = words.from_
    person.speak(words.from_, account.sid)
    pools = {sid: pool for sid, pool in account.services.items() if words.to in pool}
    if stop:
        person.blocked |= {words.to, *pools}
    if start:
        person.start(account.sid, {words.to, *pools, *chain.from_iterable(pools.values())}, channel)
    sid = words.sid or new_sid("SM")
    _keep(sandbox, account, words, sid, now)
    sandbox.journal.write(
        "said",
        sid=sid,
        person=sandbox.label(words.from_),
        account=account.sid,
        channel=channel,
        sender=words.to,
        stop=stop,
        start=start,
        means=means,
        lost=words.lost,
    )
    answers = (
        []
        if words.lost
        else [await _deliver(sandbox, account, words, sid) for _ in range(words.times)]
    )
    if any(http is not None and 200 <= http < 300 for http in answers):
        person.write(words.to, sandbox.outbox.now_ms())
        if stop:
            person.stopped.add((account.sid, channel))
    return SayResult(sid, stop, start, tuple(answers))


def _meaning(words: Say) -> str | None:
    """Return what a person means.

    A tap counts by its payload, Meta's own buttons by their label, and everything else by the word.
    """
    if words.body in META_BUTTONS:
        return META_BUTTONS[words.body]
    keyword = (words.body if words.payload is None else words.payload).strip().upper()
    if keyword in STOP_WORDS:
        return "stop"
    if words.payload is not None:
        return "answer"
    return "start" if keyword in START_WORDS else words.means


async def _deliver(sandbox: Sandbox, account: SandboxAccount, words: Say, sid: str) -> int | None:
    url = sandbox.config.inbound_url
    if url is None:
        raise ValueError(
            "no inbound URL: start the sandbox with inbound_url, the gateway's public "
            "/twilio/inbound"
        )
    if words.door == "status":
        url = url.partition("#")[0].removesuffix("/inbound") + "/status"
    form = inbound_form(account.sid, words, sid, sandbox)
    http, _ = await sandbox.outbox.post(
        account.sid, url, form, _ANSWER_WITHIN_SECONDS, method=words.method
    )
    sandbox.journal.write("said_acked", sid=sid, http=http)
    sandbox.counts[f"inbound:{http or 'none'}"] += 1
    return http


def inbound_form(account: str, words: Say, sid: str, sandbox: Sandbox) -> list[tuple[str, str]]:
    """Build the form of an inbound message with the parameters of its channel."""
    form = {
        "ApiVersion": "2010-04-01",
        "SmsSid": sid,
        "SmsStatus": "received",
        "SmsMessageSid": sid,
        "NumSegments": "1",
        "From": words.from_,
        "To": words.to,
        "Body": words.body,
        "MessageSid": sid,
        "AccountSid": account,
        "NumMedia": "0",
    }
    if words.from_.startswith("whatsapp:"):
        name = words.from_.partition(":")[2]
        user_id = sandbox.outbox.user_id(words.from_) or ("" if name.startswith("+") else name)
        form |= {
            "ProfileName": "Sandbox",
            "MessageType": "text",
            "ChannelMetadata": '{"type":"whatsapp","data":{}}',
        }
        form |= {"WaId": name[1:]} if name.startswith("+") else {}
        form |= {"ExternalUserId": user_id} if user_id else {}
    elif words.from_.startswith("+"):
        form |= {
            f"{side}{what}": "" for side in ("From", "To") for what in ("City", "State", "Zip")
        }
        form |= {"FromCountry": "US", "ToCountry": "US"}
    if words.rcs:
        form |= {"From": f"rcs:{words.from_}", "To": f"rcs:{words.to}"}
    if words.payload is not None:
        form |= {"ButtonText": words.body, "ButtonPayload": words.payload, "ButtonType": "REPLY"}
    return list((form | words.extra).items())


def _owner(sandbox: Sandbox, sender: str) -> SandboxAccount:
    for account in sandbox.accounts.values():
        if not account.senders or sender in account.senders:
            return account
    owned = sorted(sender for account in sandbox.accounts.values() for sender in account.senders)
    raise ValueError(
        f"no account of the sandbox owns that sender: give `to` as one of {', '.join(owned)}"
    )


def _check_person(words: Say) -> None:
    """Raise ValueError for what Twilio would never deliver.

    The address is not one that can write, or cannot write to that sender.
    """
    channel = channel_of(words.to)
    if channel_of(words.from_) != channel or not is_recipient(words.from_):
        raise ValueError(
            f"no person can write to that {channel} sender from there: give `from` as "
            f"{_FORMS[channel]}"
        )
    if words.rcs and channel != "sms":
        raise ValueError("only a person with an SMS address writes by RCS: leave `rcs` out")


def _keep(sandbox: Sandbox, account: SandboxAccount, words: Say, sid: str, now: int) -> None:
    if sandbox.messages.by_sid(sid) is None:
        sandbox.messages.add(
            StoredMessage(
                number=sandbox.messages.next_number(),
                sid=sid,
                account=account.sid,
                to=words.to,
                sender=words.from_,
                service=None,
                body=words.body,
                media=0,
                form="inbound",
                created_ms=now,
                visible_ms=now,
                status="received",
                direction="inbound",
                sent_ms=now,
            )
        )

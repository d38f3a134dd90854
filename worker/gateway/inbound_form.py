"""Parses a message that a person wrote to us: the parameters that decide what it means.

Pure: no I/O. Only MessageSid, From and To are required. Twilio sends more, such as media, a place
or the name of a profile, which concern the backend's inbox and not Sendwindow.

Parameters: "Twilio's request to your incoming message webhook URL" and "WhatsApp key concepts"
(twilio.com/docs, read 2026-11-20). Twilio also sends `ListId` and `ListTitle`, although its
documentation does not list them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.gateway.forms import GarbageError, read_sid


@dataclass(frozen=True, slots=True)
class Tap:
    """A button or list row that the person chose."""

    text: str = field(repr=False)
    payload: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InboundForm:
    """An inbound message. `sender_address` is our address, `address` is the person's.

    A message by RCS gets the SMS address of the same phone number, because a stop by RCS and a stop
    by SMS count as the same stop.
    """

    message_sid: str
    sender_address: str
    address: str = field(repr=False)
    body: str = field(default="", repr=False)
    opt_out_type: str | None = None
    tap: Tap | None = None
    label: str = field(default="", repr=False)
    wa_id: str = field(default="", repr=False)

    @property
    def typed(self) -> str:
        """What the person typed: the body, or else the label of a button or list row.

        The label counts as typed when Twilio sent no payload with it.
        """
        return self.body or self.label


def read_inbound(params: Mapping[str, str]) -> InboundForm:
    """Parse an inbound message. A missing or unreadable optional parameter becomes empty.

    Raises GarbageError when MessageSid, From or To is missing.
    """
    return InboundForm(
        message_sid=read_sid(params),
        sender_address=_as_sms(_needed(params, "To")),
        address=_as_sms(_needed(params, "From")),
        body=params.get("Body", ""),
        opt_out_type=params.get("OptOutType") or None,
        tap=_tap(params),
        label=params.get("ButtonText") or params.get("ListTitle", ""),
        wa_id=_phone_digits(params.get("WaId", "")),
    )


def _needed(params: Mapping[str, str], name: str) -> str:
    value = params.get(name, "").strip()
    if not value:
        raise GarbageError(name)
    return value


def _as_sms(address: str) -> str:
    """Return the SMS address for an RCS phone number, and any other address unchanged.

    Source: "Unified Opt-Outs across RCS, SMS, MMS" (2026-03-15).
    """
    prefix, _, rest = address.partition(":")
    return rest if prefix.lower() == "rcs" and rest.startswith("+") else address


def _phone_digits(text: str) -> str:
    digits = text.strip().removeprefix("+")
    return digits if re.fullmatch(r"[1-9][0-9]{1,14}", digits) else ""


def _tap(params: Mapping[str, str]) -> Tap | None:
    """Parse the button or list row that the person chose. It must have a payload.

    Without a payload, the text counts as typed by the person, whichever parameter carries it.
    """
    if params.get("ButtonPayload"):
        return Tap(params.get("ButtonText") or params.get("Body", ""), params["ButtonPayload"])
    if params.get("ListId"):
        return Tap(params.get("ListTitle") or params.get("Body", ""), params["ListId"])
    return None

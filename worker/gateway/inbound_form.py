"""Parses a message that a person wrote to us, with every parameter that Twilio sends.

Pure: no I/O. Only MessageSid, From and To are required.

Parameters: "Twilio's request to your incoming message webhook URL" and "WhatsApp key concepts"
(twilio.com/docs, read 2026-11-20). Twilio also sends `MessageType`, `ListId` and `ListTitle`,
although its documentation does not list them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from worker.gateway.forms import GarbageError, read_sid

MAX_MEDIA: Final = 32
"""The most attachments that are read, whatever `NumMedia` says. Twilio sends at most ten."""

_REFERRAL: Final = "Referral"


@dataclass(frozen=True, slots=True)
class Media:
    """An attachment. Downloading it requires the account's credentials."""

    url: str = field(repr=False)
    content_type: str


@dataclass(frozen=True, slots=True)
class Location:
    """A place that a person sent, as text."""

    latitude: str = field(repr=False)
    longitude: str = field(repr=False)
    address: str = field(repr=False)
    label: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tap:
    """A button or list row that the person chose. `kind` is Twilio's REPLY, ACTION or LIST."""

    kind: str
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
    message_type: str = ""
    opt_out_type: str | None = None
    messaging_service_sid: str | None = None
    segments: int = 0
    media: tuple[Media, ...] = ()
    tap: Tap | None = None
    label: str = field(default="", repr=False)
    location: Location | None = None
    profile_name: str = field(default="", repr=False)
    wa_id: str = field(default="", repr=False)
    external_user_id: str = field(default="", repr=False)
    parent_external_user_id: str = field(default="", repr=False)
    is_forwarded: bool = False
    is_frequently_forwarded: bool = False
    flow_data: str = field(default="", repr=False)
    channel_metadata: str = field(default="", repr=False)
    replied_to_sid: str | None = None
    replied_to_sender: str = field(default="", repr=False)
    referral: Mapping[str, str] = field(default_factory=dict, repr=False)

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
        message_type=params.get("MessageType", ""),
        opt_out_type=params.get("OptOutType") or None,
        messaging_service_sid=params.get("MessagingServiceSid") or None,
        segments=_number(params, "NumSegments"),
        media=_media(params),
        tap=_tap(params),
        label=params.get("ButtonText") or params.get("ListTitle", ""),
        location=_location(params),
        profile_name=params.get("ProfileName", ""),
        wa_id=_phone_digits(params.get("WaId", "")),
        external_user_id=params.get("ExternalUserId", ""),
        parent_external_user_id=params.get("ParentExternalUserId", ""),
        is_forwarded=params.get("Forwarded", "").lower() == "true",
        is_frequently_forwarded=params.get("FrequentlyForwarded", "").lower() == "true",
        flow_data=params.get("FlowData") or params.get("InteractiveData", ""),
        channel_metadata=params.get("ChannelMetadata", ""),
        replied_to_sid=params.get("OriginalRepliedMessageSid") or None,
        replied_to_sender=params.get("OriginalRepliedMessageSender", ""),
        referral={name: value for name, value in params.items() if name.startswith(_REFERRAL)},
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


def _number(params: Mapping[str, str], name: str) -> int:
    text = params.get(name, "")
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0


def _phone_digits(text: str) -> str:
    digits = text.strip().removeprefix("+")
    return digits if re.fullmatch(r"[1-9][0-9]{1,14}", digits) else ""


def _media(params: Mapping[str, str]) -> tuple[Media, ...]:
    found = []
    for index in range(min(_number(params, "NumMedia"), MAX_MEDIA)):
        url = params.get(f"MediaUrl{index}", "")
        if url:
            found.append(Media(url, params.get(f"MediaContentType{index}", "")))
    return tuple(found)


def _tap(params: Mapping[str, str]) -> Tap | None:
    """Parse the button or list row that the person chose. It must have a payload.

    Without a payload, the text counts as typed by the person, whichever parameter carries it.
    """
    if params.get("ButtonPayload"):
        kind = params.get("ButtonType") or "REPLY"
        return Tap(
            kind, params.get("ButtonText") or params.get("Body", ""), params["ButtonPayload"]
        )
    if params.get("ListId"):
        return Tap("LIST", params.get("ListTitle") or params.get("Body", ""), params["ListId"])
    return None


def _location(params: Mapping[str, str]) -> Location | None:
    latitude, longitude = params.get("Latitude", ""), params.get("Longitude", "")
    if not latitude or not longitude:
        return None
    return Location(latitude, longitude, params.get("Address", ""), params.get("Label", ""))

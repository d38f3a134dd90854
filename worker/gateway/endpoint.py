"""Decides by what a signed request says whether it is a status or a message that a person wrote. Pure.

Twilio's console takes any URL for either, and an operator mixes them up. A STOP must not be lost over that.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

RECEIVED: Final = frozenset({"received", "receiving"})
"""Statuses that only inbound messages have: "Messages resource" (twilio.com/docs, read 2026-11-20)."""


class Endpoint(StrEnum):
    """The two URLs that Twilio is told. The values stand in logs, metrics and the store."""

    STATUS = "status"
    INBOUND = "inbound"


def endpoint_of(params: Mapping[str, str], came_by: Endpoint) -> Endpoint:
    """Return the endpoint that a request belongs to.

    An inbound message has the status `received`, or a body and no status. A status callback has another status and no
    body. What is neither stays with the endpoint it came by, which refuses it if it cannot read it.
    """
    status = params.get("MessageStatus") or params.get("SmsStatus") or ""
    if status in RECEIVED or (not status and "Body" in params):
        return Endpoint.INBOUND
    if status and "Body" not in params:
        return Endpoint.STATUS
    return came_by

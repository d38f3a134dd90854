"""Decides from a request's parameters whether it is a status callback or an inbound message.

Pure: no I/O.

Twilio's console accepts any URL for either kind, and an operator may confuse the two. The gateway
must not lose a STOP because of that.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

RECEIVED: Final = frozenset({"received", "receiving"})
"""Statuses that only inbound messages have.

Source: "Messages resource" (twilio.com/docs, read 2026-11-20).
"""


class Endpoint(StrEnum):
    """The two URLs that the operator gives to Twilio.

    Logs, metrics and the store use the values.
    """

    STATUS = "status"
    INBOUND = "inbound"


def endpoint_of(params: Mapping[str, str], came_by: Endpoint) -> Endpoint:
    """Return the endpoint that a request belongs to.

    An inbound message has the status `received` or `receiving`, or it has a body and no status. A
    status callback has another status and no body. A request that is neither stays with the
    endpoint that received it (`came_by`), which refuses the request if it cannot parse it.
    """
    status = params.get("MessageStatus") or params.get("SmsStatus") or ""
    if status in RECEIVED or (not status and "Body" in params):
        return Endpoint.INBOUND
    if status and "Body" not in params:
        return Endpoint.STATUS
    return came_by

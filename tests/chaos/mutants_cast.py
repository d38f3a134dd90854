"""The cast of the scenario: senders, templates, kinds of messages and persons, and their
expected ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

from sandbox.config import SandboxAccount, SandboxConfig, SandboxSettings, SandboxTemplate
from sendwindow.vocabulary import Purpose, WhenClosed
from tests.support.settings_examples import MAIN, settings_of
from tests.support.stores_world import Place
from worker.settings.settings import Settings

SHOP, TEXT, FAIR = "whatsapp:+14155550100", "+14155550100", "+14155550101"
PAGE, BOARD, STALL = (f"messenger:100000000{number}" for number in (1, 2, 3))
SENDERS: Final = {
    "shop": SHOP,
    "text": TEXT,
    "fair": FAIR,
    "page": PAGE,
    "board": BOARD,
    "stall": STALL,
}
ACCOUNT_SID, TOKEN = "AC" + "d" * 32, "a token of the mutants"
ORDER, CODE, OFFER, BANNED, TAP = ("HX" + digit * 32 for digit in "12345")
PUBLIC_URL = "https://hooks.example.com"


def _template(name: str, *values: str) -> dict[str, object]:
    numbered = {str(number): value for number, value in enumerate(values, 1)}
    return {"template": {"name": name, "language": "en", "variables": numbered}}


BODY: Final[dict[str, object]] = {"freeform": {"body": "Your order has left the warehouse."}}
TEMPLATE: Final = _template("order_update", "4711")
OFFER_WORDS: Final = _template("offer")
BOTH: Final = BODY | TEMPLATE
OFFERED: Final = _template("offer")
NO_OFFERS: Final = {"body": "Stop promotions", "payload": "STOP"}
OFFERS: Final = {"body": "Resume promotions", "payload": "START"}
UNCLEAR: Final = {"body": "please leave me alone", "means": "suspected"}

Consents = Literal[
    "yes",
    "no",
    "withdrawn",
    "lapsed",
    "relapsed",
    "tied",
    "regranted",
    "newer-grant",
    "newer-withdrawal",
    "newer-word",
]
"""Whether consent was given, and what became of it. A newer release wrote what `newer-` names."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of message and of person. `end`: its expected end.

    `wrote`: `before` is 25 h ago, `today` 20 h. `then`: what the person writes next. `says`: the
    content of the message. `expires_in` counts from the wall clock, a day behind the store's.
    """

    name: str
    end: str
    sender: str = "shop"
    wrote: Literal["never", "before", "today", "now"] = "never"
    then: tuple[str | Mapping[str, Any], ...] = ()
    consents: Consents = "yes"
    purpose: Purpose = Purpose.UTILITY
    says: Mapping[str, Any] = field(default_factory=lambda: BOTH)
    expires_in: timedelta | None = None


KINDS: Final = (
    Kind("open", "accepted", wrote="now"),
    Kind("closed", "accepted", wrote="before"),
    Kind("never", "accepted", says=TEMPLATE),
    Kind("closed-text", "refused", wrote="before", says=BODY),
    Kind("never-text", "refused", says=BODY),
    Kind("waits", "accepted", wrote="before", says=BODY | {"when_closed": WhenClosed.WAIT}),
    Kind("evening", "accepted", wrote="today", says=BODY),
    Kind("stranger", "refused", consents="no"),
    Kind("reply", "accepted", wrote="now", consents="no", purpose=Purpose.REPLY, says=BODY),
    Kind("lapsed", "refused", consents="lapsed"),
    Kind("withdrawn", "refused", wrote="now", consents="withdrawn"),
    Kind("relapsed", "refused", consents="relapsed"),
    Kind("tied", "refused", consents="tied"),
    Kind("regranted", "accepted", consents="regranted"),
    Kind(
        "offer-regranted",
        "refused",
        consents="regranted",
        purpose=Purpose.MARKETING,
        says=_template("offer"),
    ),
    Kind("stopped", "refused", wrote="now", then=("STOP",)),
    Kind("back", "accepted", wrote="now", then=("STOP", "START")),
    Kind(
        "tapped",
        "accepted",
        wrote="now",
        then=({"body": "Cancel", "payload": "cancel_appointment_42"},),
    ),
    Kind("plain", "refused", wrote="now", then=({"body": "Стоп", "means": "stop"},)),
    Kind("misdirected", "refused", wrote="now", then=({"body": "STOP", "door": "status"},)),
    Kind("fetched", "refused", wrote="now", then=({"body": "STOP", "method": "GET"},)),
    Kind(
        "promo-stopped",
        "refused",
        wrote="now",
        then=(NO_OFFERS,),
        purpose=Purpose.MARKETING,
        says=OFFERED,
    ),
    Kind("promo-order", "accepted", wrote="now", then=(NO_OFFERS,)),
    Kind(
        "promo-back",
        "accepted",
        wrote="now",
        then=(NO_OFFERS, OFFERS),
        purpose=Purpose.MARKETING,
        says=OFFERED,
    ),
    Kind(
        "suspected",
        "accepted",
        wrote="now",
        then=(UNCLEAR,),
        purpose=Purpose.MARKETING,
        says=OFFERED,
    ),
    Kind("banned", "refused", says=_template("banned")),
    Kind("gaps", "refused", says=_template("order_update")),
    Kind("phone-code", "accepted", purpose=Purpose.AUTHENTICATION, says=_template("code", "042")),
    Kind("offer", "accepted", purpose=Purpose.MARKETING, says=_template("offer")),
    Kind("misfit", "refused", says=_template("offer")),
    Kind("us-offer", "refused", purpose=Purpose.MARKETING, says=_template("offer")),
    Kind("id-tap", "refused", purpose=Purpose.AUTHENTICATION, says=_template("tap", "042")),
    Kind("id-code", "refused", purpose=Purpose.AUTHENTICATION, says=_template("code", "042")),
    Kind("phone-tap", "accepted", purpose=Purpose.AUTHENTICATION, says=_template("tap", "042")),
    Kind("sms", "accepted", sender="text", says=BODY),
    Kind("sms-stranger", "refused", sender="text", consents="no", says=BODY),
    Kind("sms-stopped", "refused", sender="text", wrote="now", then=("STOP",), says=BODY),
    Kind("chat", "accepted", sender="page", wrote="now", says=BODY),
    Kind("chat-closed", "refused", sender="page", wrote="before", says=BODY),
    Kind("chat-never", "refused", sender="page", purpose=Purpose.ACCOUNT_UPDATE, says=BODY),
    Kind(
        "tagged",
        "accepted",
        sender="page",
        wrote="before",
        purpose=Purpose.ACCOUNT_UPDATE,
        says=BODY,
    ),
    Kind("br-open", "accepted", wrote="now", says=BODY),
    Kind("br-stopped", "refused", wrote="now", then=("STOP",)),
    Kind("late", "expired", wrote="now", expires_in=timedelta(hours=1)),
)


def settings_for(place: Place, base_url: str) -> Settings:
    """Return settings of one account with three Pages, a WhatsApp and an SMS sender.

    Twilio is the sandbox at `base_url`.
    """

    def template(category: str, variables: list[str], en: object) -> dict[str, object]:
        return {"category": category, "variables": variables, "languages": {"en": en}}

    return settings_of(
        {"TOKEN": TOKEN, "KEY": "a person key of the mutants"},
        store={"url": place.url, "partition": place.partition, "person_key": "env:KEY"},
        gateway={"public_url": PUBLIC_URL, "port": 0},
        accounts={"main": MAIN | {"account_sid": ACCOUNT_SID, "base_url": base_url}},
        senders={
            name: {
                "account": "main",
                "address": address,
                "messages_per_second": 0,
                "pair_limit": False,
            }
            for name, address in SENDERS.items()
        },
        templates={
            "order_update": template("UTILITY", ["1"], ORDER),
            "code": template("AUTHENTICATION", ["1"], CODE),
            "tap": template("AUTHENTICATION", ["1"], TAP) | {"needs_phone": True},
            "offer": template("MARKETING", [], OFFER),
            "banned": template("UTILITY", [], {"sid": BANNED, "approval": "rejected"}),
        },
    )


def sandbox_for(folder: Path, seed: int) -> SandboxConfig:
    """Return the settings of the sandbox that plays the provider.

    Callbacks come at once, and again soon when the gateway does not answer.
    """
    return SandboxConfig(
        accounts=(SandboxAccount(sid=ACCOUNT_SID, token=TOKEN),),
        inbound_url=f"{PUBLIC_URL}/twilio/inbound",
        templates={
            ORDER: SandboxTemplate(
                name="order_update", variables=frozenset({"1"}), category="UTILITY"
            ),
            CODE: SandboxTemplate(
                name="code", variables=frozenset({"1"}), category="AUTHENTICATION"
            ),
            TAP: SandboxTemplate(
                name="tap", variables=frozenset({"1"}), category="AUTHENTICATION", needs_phone=True
            ),
            OFFER: SandboxTemplate(name="offer", category="MARKETING"),
            BANNED: SandboxTemplate(name="banned", approved="rejected", category="UTILITY"),
        },
        journal=folder / "sandbox.jsonl",
        seed=seed,
        settings=SandboxSettings(callback_delay_ms=0, callback_retry_ms=20),
    )

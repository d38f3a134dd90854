"""The sandbox's configuration: accounts, templates, and settings that may change while it runs.

Unknown names are refused.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Channel = Literal["whatsapp", "messenger", "sms"]
Category = Literal["UTILITY", "AUTHENTICATION", "MARKETING"]
Approval = Literal[
    "approved", "pending", "received", "rejected", "paused", "disabled", "unsubmitted"
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class SandboxAccount(_Strict):
    """A Twilio account.

    `keys`: API key SID → secret. `senders`: the senders of the account. If it is empty, every
    well-formed "From" belongs to the account. `services`: messaging service SID → its pool of
    senders. `verified`: set on a trial account, whose only recipients these are.
    """

    sid: str = Field(pattern="^AC[0-9a-zA-Z]{32}$")
    token: str = Field(repr=False)
    keys: dict[str, str] = Field(default_factory=dict, repr=False)
    senders: frozenset[str] = frozenset()
    services: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    verified: frozenset[str] | None = None


class SandboxTemplate(_Strict):
    """A Content template.

    `body`: what the person reads, with `{{1}}` placeholders. Without a body, the person reads the
    name and the values. `category`: None if unknown; it is then not judged. `needs_phone`: a
    one-tap, zero-tap or copy-code authentication template.
    """

    name: str
    variables: frozenset[str] = frozenset()
    approved: Approval = "approved"
    body: str = ""
    account: str | None = None
    category: Category | None = None
    needs_phone: bool = False


def _usual_statuses() -> dict[Channel, tuple[str, ...]]:
    return {
        "whatsapp": ("sent", "delivered", "read"),
        "messenger": ("sent",),
        "sms": ("sent", "delivered"),
    }


class SandboxSettings(_Strict):
    """How the sandbox behaves. POST /sandbox/settings changes it while the sandbox runs.

    All times are in milliseconds.

    `async_codes`: errors that a `failed` callback reports after a 201, and not the answer itself.
    `list_lag_ms`: how long lists do not show a new message. `blocks_opted_out`: channels on which a
    recipient who opted out gives error 21610. `shows_phones`: lists and callbacks name the phone of
    a recipient that was addressed by its user id, if the phone is known. `shows_own_spelling`:
    lists and callbacks spell a WhatsApp number as the person last did when writing from it.
    """

    account_update: Literal["alive", "dead"] = "alive"
    account_update_code: int = 63016
    async_codes: frozenset[int] = frozenset({63013, 63016, 63021, 63040, 63041, 63042, 63049})
    blocks_opted_out: frozenset[Channel] = frozenset({"whatsapp", "messenger", "sms"})
    statuses: dict[Channel, tuple[str, ...]] = Field(default_factory=_usual_statuses)
    latency_ms: int = Field(default=0, ge=0)
    list_latency_ms: int = Field(default=0, ge=0)
    list_lag_ms: int = Field(default=0, ge=0)
    shows_phones: bool = False
    shows_own_spelling: bool = False
    callback_delay_ms: int = Field(default=20, ge=0)
    callback_retry_ms: int = Field(default=200, ge=1)


class SandboxConfig(_Strict):
    """Everything that `make_app` needs.

    `inbound_url`: where the sandbox delivers what persons write. It is the URL that the signature
    covers. `rewrites`: URL prefix → prefix, applied to callback and inbound URLs after signing, for
    tests on loopback. `seed`: decides which messages a rule with a probability hits.
    `max_messages`: beyond it, the oldest messages are forgotten. `port`: 0 means any free port.
    """

    accounts: tuple[SandboxAccount, ...] = Field(min_length=1)
    inbound_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    templates: dict[str, SandboxTemplate] = Field(default_factory=dict)
    rewrites: dict[str, str] = Field(default_factory=dict)
    journal: Path | None = None
    seed: int = 0
    offset_ms: int = 0
    max_messages: int = Field(default=250_000, ge=1)
    settings: SandboxSettings = Field(default_factory=SandboxSettings)

"""Settings that a test makes or changes, and the faults that the reader finds in them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import pytest

from tests.support.cast import ACCOUNT_SID, PAGE, SHOP
from worker.settings.reader import SettingsError
from worker.settings.settings import Settings, parse_settings

TOKEN = "f0e1d2c3b4a5968778695a4b3c2d1e0f"


ENVIRON = {
    "TWILIO_AUTH_TOKEN": TOKEN,
    "API_SECRET": "the-api-secret-of-main",
    "PERSON_KEY": "person-key-0123456789",
    "STORE": "redis://:store-password@db.internal:6379/0",
}


MAIN: Final = {"account_sid": ACCOUNT_SID, "auth_token": "env:TOKEN"}
"""The section of the account `main`."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def settings_of(secrets: Mapping[str, str] = NOTHING, **sections: Any) -> Settings:
    """Return settings of the account `main` with the sender `shop` and the Page `page`.

    `sections` replace whole sections. `secrets` are added to the environment.
    """
    data = {
        "gateway": {"public_url": "https://hooks.example.com"},
        "accounts": {"main": MAIN},
        "senders": {
            "shop": {"account": "main", "address": SHOP},
            "page": {"account": "main", "address": PAGE},
        },
    }
    return parse(data | sections, {"TOKEN": TOKEN, **secrets})


def example() -> dict[str, Any]:
    """Return settings that use every section."""
    return {
        "store": {"url": "env:STORE", "person_key": "env:PERSON_KEY", "durability": "wait:2"},
        "gateway": {"public_url": "https://hooks.example.com/sw/"},
        "accounts": {
            "main": {
                "account_sid": "AC" + "1" * 32,
                "auth_token": "env:TWILIO_AUTH_TOKEN",
                "api_key": "SK" + "2" * 32,
                "api_secret": "env:API_SECRET",
            }
        },
        "senders": {
            "shop": {
                "account": "main",
                "address": "whatsapp:+14155550100",
                "messaging_service_sid": "MG" + "3" * 32,
            },
            "page": {"account": "main", "address": "messenger:1234567890"},
            "alerts": {"account": "main", "address": "+14155550101"},
            "brand": {"account": "main", "address": "ACME"},
        },
        "templates": {
            "order_update": {
                "category": "UTILITY",
                "variables": ["1", "2"],
                "languages": {
                    "en": "HX" + "4" * 32,
                    "pt_BR": {"sid": "HX" + "5" * 32, "approval": "paused", "body": "{{1}} {{2}}"},
                },
            }
        },
        "guards": {"allow_recipients": ["whatsapp:+14155550123"]},
    }


def no_file(name: str) -> str:
    """Read no file at all."""
    raise FileNotFoundError(name)


def parse(
    data: Mapping[str, Any],
    environ: Mapping[str, str] = ENVIRON,
    *,
    with_credentials: bool = True,
) -> Settings:
    """Parse with the environment of this file and without any other file."""
    return parse_settings(data, environ, no_file, with_credentials=with_credentials)


def faults_of(data: Mapping[str, Any], environ: Mapping[str, str] = ENVIRON) -> list[str]:
    """Parse invalid settings and return the faults as text."""
    with pytest.raises(SettingsError) as caught:
        parse(data, environ)
    return [str(fault) for fault in caught.value.faults]


def changed(section: str, *path: str, to: object) -> dict[str, Any]:
    """Return the example with one value changed."""
    data = example()
    table = data.setdefault(section, {})
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = to
    return data

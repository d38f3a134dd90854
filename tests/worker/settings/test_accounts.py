"""What an account and a store of your own need."""

from typing import Any

import pytest

from policies.rate_limits import PAIR, pace
from tests.support.settings_examples import changed, example, faults_of, parse
from worker.settings.checks import is_twilio


@pytest.mark.parametrize(
    "account, says",
    [
        ({}, "accounts.main.account_sid: is missing"),
        (
            {"account_sid": "AC" + "1" * 32},
            "accounts.main.auth_token: is missing; set auth_token, or api_key and",
        ),
        (
            {
                "account_sid": "AC" + "1" * 32,
                "api_key": "SK" + "1" * 32,
                "auth_token": "env:TWILIO_AUTH_TOKEN",
            },
            "accounts.main.api_secret: is missing",
        ),
        (
            {
                "account_sid": "AC" + "1" * 32,
                "api_key": "SK" + "1" * 32,
                "api_secret": "env:API_SECRET",
            },
            "accounts.main.webhook_tokens: is missing; an API key never signs callbacks",
        ),
    ],
)
def test_an_account_needs_a_login_and_a_token_that_signs(
    account: dict[str, Any], says: str
) -> None:
    """An account needs a whole login and an Auth Token, because an API key does not sign
    callbacks.
    """
    faults = faults_of(example() | {"accounts": {"main": account}})
    assert any(says in fault for fault in faults), faults


@pytest.mark.parametrize(
    "account, faulty",
    [
        ({"auth_token": "env:UNSET"}, "auth_token"),
        (
            {
                "api_key": "SK" + "1" * 32,
                "api_secret": "env:UNSET",
                "auth_token": "env:TWILIO_AUTH_TOKEN",
            },
            "api_secret",
        ),
        (
            {
                "api_key": "SK12",
                "api_secret": "env:API_SECRET",
                "auth_token": "env:TWILIO_AUTH_TOKEN",
            },
            "api_key",
        ),
        (
            {
                "api_key": "SK" + "1" * 32,
                "api_secret": "env:API_SECRET",
                "webhook_tokens": ["env:UNSET"],
            },
            "webhook_tokens",
        ),
        (
            {"api_key": "SK" + "1" * 32, "api_secret": "env:API_SECRET", "auth_token": "env:UNSET"},
            "auth_token",
        ),
    ],
    ids=["token", "secret", "key", "tokens", "signing token"],
)
def test_what_is_written_and_unusable_is_not_called_missing(
    account: dict[str, Any], faulty: str
) -> None:
    """A value that is present but unusable is one fault, not a second one about a missing value."""
    [fault] = faults_of(
        example() | {"accounts": {"main": {"account_sid": "AC" + "1" * 32, **account}}}
    )
    assert f"accounts.main.{faulty}: " in fault
    assert "is missing" not in fault


@pytest.mark.parametrize(
    "store, environ",
    [
        ({"url": "redis://db", "person_key": "env:UNSET"}, {}),
        ({"url": "redis://db"}, {"SENDWINDOW_STORE_PERSON_KEY": "env:UNSET"}),
    ],
)
def test_an_unset_person_key_is_one_fault(store: dict[str, Any], environ: dict[str, str]) -> None:
    """If the variable with the person key is not set, the error asks for that variable, not for a
    new key.
    """
    [fault] = faults_of({"store": store}, environ)
    assert fault.endswith("the environment variable UNSET is not set or empty; set UNSET")


def test_an_account_sid_has_one_name() -> None:
    """Two accounts with one AccountSid are refused, because a callback names only the
    AccountSid.
    """
    data = example()
    data["accounts"]["second"] = data["accounts"]["main"]
    assert faults_of(data) == [
        (
            "sendwindow.toml: accounts.second.account_sid: "
            "is the same as that of accounts.main; keep one of the two"
        )
    ]


def test_a_store_of_your_own_needs_a_person_key() -> None:
    """A store of your own needs a person key: a key made up at start would lose every opt-out."""
    assert "store.person_key: is missing" in faults_of({"store": {"url": "redis://db"}})[0]


def test_plain_http_is_for_private_hosts() -> None:
    """Plain http is allowed for loopback and container names, as the sandbox uses.

    Others need https.
    """
    data = changed("accounts", "main", "base_url", to="http://sandbox:8090/")
    data["gateway"]["public_url"] = "http://gateway:8080"
    settings = parse(data)
    assert settings.accounts["main"].base_url == "http://sandbox:8090"
    assert not is_twilio(settings.accounts["main"].base_url)


@pytest.mark.parametrize(
    "name, per_second, has_pair",
    [("shop", 80, True), ("page", None, False), ("alerts", 1, False), ("brand", None, False)],
)
def test_a_sender_has_the_documented_limits(
    name: str, per_second: int | None, has_pair: bool
) -> None:
    """Without a setting, each kind of sender has the rate that Twilio documents, or no limit."""
    settings = parse(example())
    sender = settings.senders[name]
    assert sender.pace == (pace(per_second) if per_second else None)
    assert sender.pair_pace == (PAIR if has_pair else None)
    assert settings.accounts["main"].pace == pace(2000)


def test_the_documented_limits_are_those_of_twilio() -> None:
    """An account elsewhere, such as at the sandbox, is limited only where its settings say so."""
    data = example()
    data["accounts"]["main"]["base_url"] = "http://127.0.0.1:8025"
    settings = parse(data)
    assert settings.accounts["main"].pace is None
    assert all(one.pace is None and one.pair_pace is None for one in settings.senders.values())
    data["senders"]["shop"] |= {"messages_per_second": 80, "pair_limit": True}
    shop = parse(data).senders["shop"]
    assert (shop.pace, shop.pair_pace) == (pace(80), PAIR)


def test_a_limit_can_be_set_or_switched_off() -> None:
    """0 means no limit, and has to be written."""
    data = example()
    data["accounts"]["main"]["messages_per_second"] = 0
    data["senders"]["shop"] |= {"messages_per_second": 5, "pair_limit": False}
    data["senders"]["page"]["messages_per_second"] = 0
    settings = parse(data)
    assert settings.accounts["main"].pace is None
    assert settings.senders["page"].pace is None
    assert settings.senders["shop"].pace == pace(5)
    assert settings.senders["shop"].pair_pace is None


def test_accounts_of_one_portfolio_have_one_limit() -> None:
    """Two accounts that share a portfolio share its people, so both give the same number."""
    data = example()
    data["accounts"]["main"] |= {"portfolio": "acme", "people_per_day": 2000}
    second = {**data["accounts"]["main"], "account_sid": "AC" + "9" * 32}
    data["accounts"]["second"] = second
    assert parse(data).accounts["second"].portfolio == "acme"
    data["accounts"]["second"] = {**second, "people_per_day": 250}
    assert faults_of(data) == [
        (
            "sendwindow.toml: accounts.second.people_per_day: differs from that of accounts.main, "
            "which has the same portfolio; write the same number in both"
        )
    ]


def test_an_account_is_a_portfolio_of_its_own() -> None:
    """Without a name, no other account shares its people, and nothing limits them."""
    account = parse(example()).accounts["main"]
    assert account.portfolio == "main"
    assert account.people_per_day == 0

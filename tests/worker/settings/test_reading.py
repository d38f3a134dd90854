"""Settings are read from file and environment."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from policies.facts import Approval
from policies.policy import AccountUpdate, parse_policy
from sendwindow.errors import InvalidMessage
from sendwindow.protocol import prepare
from sendwindow.vocabulary import Category, Channel
from tests.support.settings_examples import (
    ENVIRON,
    TOKEN,
    changed,
    example,
    faults_of,
    no_file,
    parse,
)
from tests.support.shipped import shipped
from worker.settings.checks import is_twilio
from worker.settings.reader import SettingsError
from worker.settings.schema import FLAT_SECTIONS, NAMED_SECTIONS
from worker.settings.settings import load_settings, parse_settings, settings_table
from worker.wiring import load_rules


def test_a_whole_configuration_is_read() -> None:
    """Accounts, senders, templates and sections arrive typed, with channel and login derived."""
    settings = parse(example())
    account = settings.accounts["main"]
    assert (account.username, account.password) == ("SK" + "2" * 32, ENVIRON["API_SECRET"])
    assert account.webhook_tokens == (TOKEN,)
    assert settings.store.durability == "wait:2"
    assert settings.gateway.public_url == "https://hooks.example.com/sw"
    channels = {name: sender.channel for name, sender in settings.senders.items()}
    assert channels == {
        "shop": Channel.WHATSAPP,
        "page": Channel.MESSENGER,
        "alerts": Channel.SMS,
        "brand": Channel.SMS,
    }
    template = settings.templates["order_update"]
    assert template.category is Category.UTILITY
    assert {name: one.approval for name, one in template.languages.items()} == {
        "en": Approval.APPROVED,
        "pt_BR": Approval.PAUSED,
    }
    assert {name: one.body for name, one in template.languages.items()} == {
        "en": None,
        "pt_BR": "{{1}} {{2}}",
    }
    assert all(is_twilio(account.base_url) for account in settings.accounts.values())


def test_nothing_configured_is_a_usable_configuration() -> None:
    """Without a file every setting has its default, for the embedded store and the sandbox."""
    settings = parse_settings({}, {}, no_file)
    assert settings.store.url is None
    assert settings.store.durability == "none"
    assert settings.gateway.public_url == "http://127.0.0.1:8080"
    assert not settings.accounts
    assert settings.log_key is None


def test_redis_url_names_the_store_when_no_setting_does() -> None:
    """REDIS_URL names the store unless the setting or SENDWINDOW_STORE_URL does."""
    environ = {"REDIS_URL": "redis://one", "SENDWINDOW_STORE_PERSON_KEY": "k" * 16}
    assert parse({}, environ).store.url == "redis://one"
    assert parse({"store": {"url": "redis://two"}}, environ).store.url == "redis://two"
    assert parse(
        {"store": {"url": "redis://two"}}, environ | {"SENDWINDOW_STORE_URL": "redis://three"}
    ).store.url == ("redis://three")


@pytest.mark.parametrize(
    "variable, value, section, key, read",
    [
        ("SENDWINDOW_DISPATCH_SLOTS", "7", "dispatch", "slots", 7),
        ("SENDWINDOW_DISPATCH_LEASE_SECONDS", "2.5", "dispatch", "lease_seconds", 2.5),
        (
            "SENDWINDOW_POLICY_MESSENGER_ACCOUNT_UPDATE",
            "refuse",
            "policy",
            "messenger_account_update",
            "refuse",
        ),
        (
            "SENDWINDOW_STORE_PERSON_KEY",
            "0123456789abcdef",
            "store",
            "person_key",
            "0123456789abcdef",
        ),
        (
            "SENDWINDOW_STORE_PERSON_KEY",
            "env:PERSON_KEY",
            "store",
            "person_key",
            ENVIRON["PERSON_KEY"],
        ),
        (
            "SENDWINDOW_GUARDS_ALLOW_RECIPIENTS",
            "+14155550123, messenger:77",
            "guards",
            "allow_recipients",
            ("+14155550123", "messenger:77"),
        ),
    ],
)
def test_the_environment_goes_before_the_file(
    variable: str, value: str, section: str, key: str, read: object
) -> None:
    """Every setting of a flat section has a variable SENDWINDOW_<SECTION>_<KEY>."""
    settings = parse(example(), ENVIRON | {variable: value})
    assert getattr(getattr(settings, section), key) == read


def test_a_byte_order_mark_is_no_part_of_the_settings(tmp_path: Path) -> None:
    """A byte order mark at the start of the settings is ignored, because some editors write one."""
    (tmp_path / "s.toml").write_bytes(b'\xef\xbb\xbf[log]\nlevel = "warning"\n')
    assert (
        load_settings(tmp_path / "s.toml", {"SENDWINDOW_DATA": str(tmp_path)}).log.level
        == "warning"
    )


@pytest.mark.parametrize(
    "words",
    [
        {"language": "en"},
        {"language": "fil"},
        {"language": "pt_BR"},
        {"language": "pt-BR"},
        {"language": "EN"},
        {"language": "english"},
        {"language": "zh-Hant-TW"},
        {"variable": "1"},
        {"variable": "a" * 16},
        {"variable": "a" * 17},
        {"variable": "first_name"},
        {"variable": "first-name"},
        {"variable": ""},
    ],
    ids=str,
)
def test_settings_and_messages_know_the_same_languages_and_variables(words: dict[str, str]) -> None:
    """Settings and messages accept the same languages and variables."""
    language, variable = words.get("language", "en"), words.get("variable", "1")
    data = example()
    data["templates"]["order_update"] |= {
        "languages": {language: "HX" + "4" * 32},
        "variables": [variable],
    }
    try:
        declared = bool(parse(data))
    except SettingsError:
        declared = False
    try:
        template = {"name": "order_update", "language": language, "variables": {variable: "x"}}
        asked = bool(
            prepare(
                {"to": "+14155550100", "sender": "shop", "purpose": "utility", "template": template}
            )
        )
    except InvalidMessage:
        asked = False
    assert declared is asked


def test_no_secret_is_shown() -> None:
    """The repr of the settings shows no token, key, password, or address of a person."""
    shown = repr(parse(example()))
    for hidden in (
        TOKEN,
        ENVIRON["API_SECRET"],
        ENVIRON["PERSON_KEY"],
        "store-password",
        "14155550123",
    ):
        assert hidden not in shown


def test_no_fault_repeats_a_value_that_may_be_secret() -> None:
    """The fault that refuses a literal secret or a person's address does not repeat it."""
    data = changed("accounts", "main", "auth_token", to=TOKEN)
    data["store"]["url"] = "redis://:hunter2@db"
    data["guards"]["allow_recipients"] = ["14155550123"]
    text = "\n".join(faults_of(data))
    for hidden in (TOKEN, "hunter2", "14155550123"):
        assert hidden not in text


def test_the_log_key_differs_from_the_person_key() -> None:
    """The derived log key differs from the person key.

    A reader of the logs must not be able to identify persons in the store.
    """
    settings = parse(example())
    assert settings.log_key not in {None, ENVIRON["PERSON_KEY"].encode()}
    named = parse(example(), ENVIRON | {"SENDWINDOW_STORE_LOG_KEY": "log-key-0123456789"})
    assert named.log_key == b"log-key-0123456789"


def test_the_settings_cannot_be_changed() -> None:
    """Settings are immutable, so nothing changes them while the service runs."""
    settings = parse(example())
    with pytest.raises(AttributeError):
        settings.store.url = "redis://elsewhere"  # type: ignore[misc]  # the point of the test
    with pytest.raises(TypeError):
        settings.accounts["x"] = settings.accounts["main"]  # type: ignore[index]  # the point of the test


def test_only_what_was_set_overrides_the_policy_data() -> None:
    """A setting that is not set leaves the policy data's own value and version unchanged."""
    assert parse({}).extra_words == {}
    plain = parse_policy(shipped())
    assert replace(load_rules(parse({})).policy, version=plain.version) == plain
    policy = load_rules(parse(changed("policy", "messenger_account_update", to="refuse"))).policy
    assert policy.account_update is AccountUpdate.REFUSE
    assert policy.allow_recipients == frozenset({"whatsapp:+14155550123"})


def test_words_add_to_the_policy_data() -> None:
    """Words are a list in the file and comma-separated in the environment.

    Only labels with words are passed on.
    """
    assert parse(changed("words", "stop", to=["klaar", "basta cosi"])).extra_words == {
        "stop": ("klaar", "basta cosi")
    }
    settings = parse_settings(
        {}, {"SENDWINDOW_WORDS_SUSPECTED": "het is goed geweest, , nu niet"}, no_file
    )
    assert settings.extra_words == {"suspected": ("het is goed geweest", "nu niet")}


def test_a_file_and_its_secrets_are_read_from_its_own_folder(tmp_path: Path) -> None:
    """`file:` paths are relative to the settings file, and a secret loses the newline at its
    end.
    """
    (tmp_path / "key").write_text("a-person-key-of-some-length\n", "utf-8")
    file = tmp_path / "sendwindow.toml"
    file.write_text('[store]\nurl = "redis://db"\nperson_key = "file:key"\n', "utf-8")
    assert load_settings(file, {}).store.person_key == "a-person-key-of-some-length"
    assert load_settings(None, {"SENDWINDOW_CONFIG": str(file)}).store.url == "redis://db"


def test_no_file_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file in the current folder the defaults hold; with one it is read."""
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}) == parse_settings({}, {}, no_file)
    (tmp_path / "sendwindow.toml").write_text("[dispatch]\nslots = 3\n", "utf-8")
    assert load_settings(None, {}).dispatch.slots == 3


def test_the_table_holds_every_setting() -> None:
    """The settings table has a row with type, default and description for each setting."""
    table = settings_table()
    rows = table.splitlines()[2:]
    shapes = [*FLAT_SECTIONS.values(), *NAMED_SECTIONS.values()]
    assert len(rows) == sum(len(fields(shape)) for shape in shapes)
    assert all(line.count(" | ") == 3 and not line.endswith(" |  |") for line in rows)
    assert (
        "| `dispatch.slots` | integer, 1 to 1000 | `25` "
        "| How many POSTs a worker may have open at once |" in rows
    )
    assert "| `accounts.NAME.account_sid` | text | required | The account's SID |" in rows


def test_a_sender_has_the_limits_of_all_or_its_own() -> None:
    """A limit of a queue in a sender's own table replaces that of `guards`, also by 0."""
    written = changed("guards", "max_queued_per_sender", to=5000)
    written["guards"]["max_queued_per_campaign"] = 700
    written["senders"]["shop"]["max_queued"] = 0
    written["senders"]["page"]["max_queued_per_campaign"] = 9
    limits = parse(written).queue_limits
    assert limits["shop"] == (0, 700)
    assert limits["page"] == (5000, 9)
    assert limits["alerts"] == (5000, 700)

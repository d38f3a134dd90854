"""Which proxy requests to Twilio use: the settings, the environment, and the exceptions."""

from typing import Any

import pytest

from tests.support.settings_examples import MAIN, settings_of
from worker.settings.reader import SettingsError
from worker.settings.settings import Settings

PROXY = "http://user:secret@proxy.example:3128"


def settings(
    environ: dict[str, str], base_url: str = "https://api.twilio.com", **dispatch: Any
) -> Settings:
    return settings_of(environ, accounts={"main": MAIN | {"base_url": base_url}}, dispatch=dispatch)


@pytest.mark.parametrize(
    "environ, base_url, dispatch, expected",
    [
        pytest.param({}, "https://api.twilio.com", {}, None, id="none"),
        pytest.param({"HTTPS_PROXY": PROXY}, "https://api.twilio.com", {}, PROXY, id="environment"),
        pytest.param(
            {"https_proxy": PROXY}, "https://api.twilio.com", {}, PROXY, id="in-small-letters"
        ),
        pytest.param({"HTTPS_PROXY": PROXY}, "http://127.0.0.1:4010", {}, None, id="not-for-http"),
        pytest.param(
            {"P": PROXY}, "http://127.0.0.1:4010", {"proxy": "env:P"}, PROXY, id="setting"
        ),
        pytest.param(
            {"HTTPS_PROXY": "http://other:1"},
            "https://a.b",
            {"proxy": "http://p:1"},
            "http://p:1",
            id="first",
        ),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "x.y, .twilio.com"},
            "https://api.twilio.com",
            {},
            None,
            id="no",
        ),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "twilio.com"},
            "https://nottwilio.com",
            {},
            PROXY,
            id="alike",
        ),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, "https://api.twilio.com", {}, None, id="star"
        ),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"},
            "https://10.1.2.3",
            {},
            None,
            id="network",
        ),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "a.b:444"},
            "https://a.b:443",
            {},
            PROXY,
            id="another-port",
        ),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"},
            "https://api.twilio.com",
            {"no_proxy": ["a.b"]},
            PROXY,
            id="own-list",
        ),
    ],
)
def test_the_proxy_of_an_account(
    environ: dict[str, str], base_url: str, dispatch: dict[str, Any], expected: str | None
) -> None:
    """Proxy variables are read as curl and requests read them.

    The setting comes first and also covers plain http.
    """
    assert settings(environ, base_url, **dispatch).accounts["main"].proxy == expected


@pytest.mark.parametrize(
    "url", ["ftp://proxy:1", "proxy:3128", "http://", "http://proxy:0", "http://proxy:99999"]
)
def test_what_is_no_proxy_is_refused_at_the_start(url: str) -> None:
    """A bad proxy is refused at start, where every message would fail, and the fault shows no
    password.
    """
    with pytest.raises(SettingsError, match="not the URL of an HTTP proxy"):
        settings({"HTTPS_PROXY": url})
    with pytest.raises(SettingsError, match="not the URL of an HTTP proxy"):
        settings({}, proxy=url)


def test_a_password_is_shown_nowhere() -> None:
    """The password of a proxy is not in the repr of the settings and not allowed in the file."""
    assert "secret" not in repr(settings({"HTTPS_PROXY": PROXY}))
    assert "secret" not in repr(settings({"P": PROXY}, proxy="env:P"))
    with pytest.raises(SettingsError) as refused:
        settings({}, proxy=PROXY)
    assert "secret" not in str(refused.value)

"""X-Twilio-Signature: Twilio's own vectors, every form of request, and that no other signature
passes.
"""

import hashlib
import json

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.depth import examples
from worker.twilio.signature import is_valid, is_valid_body, sign

URL = "https://example.com/myapp.php?foo=1&bar=2"
PARAMS = [
    ("Digits", "1234"),
    ("CallSid", "CA1234567890ABCDE"),
    ("To", "+18005551212"),
    ("Caller", "+14158675310"),
    ("From", "+14158675310"),
]
SIGNATURE = "L/OH5YylLD5NRKLltdqwSvS0BnU="
TOKEN = "12345"
BODY = b'{"property": "value", "boolean": true}'
BODY_DIGEST = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"

texts = st.text(st.characters(codec="utf-8"), max_size=12)
forms = st.lists(st.tuples(texts, texts), max_size=6)


def test_the_published_example_is_signed_the_same() -> None:
    """The example of "Webhooks security": the URL with query, then each parameter in order of
    names.
    """
    assert sign(TOKEN, URL, PARAMS) == SIGNATURE
    assert is_valid([TOKEN], URL, PARAMS, SIGNATURE)


def test_the_libraries_example_is_signed_the_same() -> None:
    """The vector of Twilio's own libraries has the same signature."""
    params = [(name, value.replace("5310", "5309")) for name, value in PARAMS]
    assert (
        sign(TOKEN, "https://mycompany.com/myapp.php?foo=1&bar=2", params)
        == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    )


def test_a_json_body_is_vouched_for_by_its_digest_in_the_query() -> None:
    """For a JSON body Twilio signs the URL alone, which carries bodySHA256."""
    url = f"https://example.com/hook?bodySHA256={BODY_DIGEST}"
    assert hashlib.sha256(BODY).hexdigest() == BODY_DIGEST
    assert is_valid_body([TOKEN], url, BODY, sign(TOKEN, url))
    assert not is_valid_body([TOKEN], url, BODY + b" ", sign(TOKEN, url))
    assert not is_valid_body([TOKEN], url, BODY, sign("54321", url))


@pytest.mark.parametrize(
    "query", ["", "?a=1", f"?bodySHA256={BODY_DIGEST}&bodySHA256={BODY_DIGEST}", "?bodySHA256="]
)
def test_a_body_without_one_digest_is_refused(query: str) -> None:
    """A JSON body without exactly one bodySHA256 in the URL is refused."""
    url = "https://example.com/hook" + query
    assert not is_valid_body([TOKEN], url, BODY, sign(TOKEN, url))


@pytest.mark.parametrize(
    "header",
    [None, "", " ", SIGNATURE.lower(), SIGNATURE[:-1], SIGNATURE + "=", "ü" * 28, "\udcff" * 28],
)
def test_a_missing_or_wrong_header_is_refused(header: str | None) -> None:
    """Only the exact signature passes, and a missing one is refused."""
    assert not is_valid([TOKEN], URL, PARAMS, header)


def test_no_token_accepts_nothing() -> None:
    """Without a token nothing passes."""
    assert not is_valid([], URL, PARAMS, SIGNATURE)


@pytest.mark.parametrize("tokens", [["old", TOKEN], [TOKEN, "new"]])
def test_each_of_several_tokens_is_tried(tokens: list[str]) -> None:
    """Each of several tokens is tried, because both sign while an Auth Token is rotated."""
    assert is_valid(tokens, URL, PARAMS, SIGNATURE)
    assert not is_valid(["old", "new"], URL, PARAMS, SIGNATURE)


@pytest.mark.parametrize(
    ("told", "signed"),
    [
        ("https://example.com/a?b=c", "https://example.com:443/a?b=c"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("http://example.com/a", "http://example.com:80/a"),
        ("https://example.com:8443/a", "https://example.com/a"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("https://[::1]/a", "https://[::1]:443/a"),
        ("https://[::1]:443/a", "https://[::1]/a"),
    ],
)
def test_the_port_may_be_left_out_or_added(told: str, signed: str) -> None:
    """Twilio's signer sometimes adds the standard port and sometimes leaves a port out."""
    assert is_valid([TOKEN], told, PARAMS, sign(TOKEN, signed, PARAMS))


@pytest.mark.parametrize(
    "other",
    [
        "http://example.com/a?b=c",
        "https://example.com/a/?b=c",
        "https://example.com/a?b=c&d=",
        "https://example.com/a?b=%63",
        "https://example.com:8443/a?b=c",
        "https://example.org/a?b=c",
    ],
)
def test_any_other_url_is_refused(other: str) -> None:
    """Any other URL is refused: trailing slash, encoding and port count."""
    assert not is_valid([TOKEN], "https://example.com/a?b=c", PARAMS, sign(TOKEN, other, PARAMS))


def test_blank_values_and_repeated_names_count() -> None:
    """Blank values are signed, and of a repeated name each different value counts once."""
    with_blank = [*PARAMS, ("Body", "")]
    assert sign(TOKEN, URL, with_blank) != sign(TOKEN, URL, PARAMS)
    assert sign(TOKEN, URL, [("a", "2"), ("a", "1"), ("a", "2")]) == sign(
        TOKEN, URL, [("a", "1"), ("a", "2")]
    )


def _by_the_book(url: str, params: list[tuple[str, str]]) -> str:
    """Write the signed text as Twilio's libraries do: names in order, each with its different
    values.
    """
    values: dict[str, list[str]] = {}
    for name, value in params:
        values.setdefault(name, []).append(value)
    return url + "".join(
        name + value for name in sorted(values) for value in sorted(set(values[name]))
    )


@given(forms)
@settings(max_examples=examples(50))
@example([("a", ""), ("a", "b"), ("A", "1")])
def test_the_signed_text_is_that_of_the_libraries(params: list[tuple[str, str]]) -> None:
    """For any form the signed text equals the one Twilio's libraries build."""
    assert sign(TOKEN, URL, params) == sign(TOKEN, _by_the_book(URL, params))


@given(forms)
@settings(max_examples=examples(30))
def test_the_order_of_parameters_does_not_matter(params: list[tuple[str, str]]) -> None:
    """The order of parameters does not matter, because the signature sorts them."""
    assert is_valid([TOKEN], URL, list(reversed(params)), sign(TOKEN, URL, params))


@given(forms, forms)
@settings(max_examples=examples(50))
def test_a_changed_form_is_refused(
    params: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    """A changed form is refused unless its signed text stays the same."""
    assume(_by_the_book(URL, params) != _by_the_book(URL, other))
    assert not is_valid([TOKEN], URL, other, sign(TOKEN, URL, params))


@given(st.binary(max_size=64), st.binary(max_size=64))
@settings(max_examples=examples(30))
def test_a_changed_body_is_refused(body: bytes, other: bytes) -> None:
    """A body is valid exactly when its digest is in the signed URL."""
    url = f"{URL}&bodySHA256={hashlib.sha256(body).hexdigest()}"
    assert is_valid_body([TOKEN], url, other, sign(TOKEN, url)) == (body == other)


def test_a_json_body_is_any_bytes() -> None:
    """The digest covers the raw bytes, not a parser's result."""
    spaced, dense = (
        json.dumps({"a": 1}).encode(),
        json.dumps({"a": 1}, separators=(",", ":")).encode(),
    )
    url = f"{URL}&bodySHA256={hashlib.sha256(spaced).hexdigest()}"
    assert is_valid_body([TOKEN], url, spaced, sign(TOKEN, url))
    assert not is_valid_body([TOKEN], url, dense, sign(TOKEN, url))

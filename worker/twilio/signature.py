"""Checks the `X-Twilio-Signature` of a callback, which proves that Twilio sent it.

Pure: no I/O, and independent of any HTTP server.

The rules come from "Webhooks security" (twilio.com/docs/usage/webhooks/webhooks-security, read
2026-11-20). Where the page is silent (repeated names, standard ports), they follow Twilio's own
libraries. A signature contains no time, so a replayed callback is valid. Code that applies a
callback must therefore be safe to repeat.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

Params = Sequence[tuple[str, str]]
"""Form parameters as received, with repeated names and blank values."""

_STANDARD_PORTS: Final = {"https": 443, "http": 80}
_BODY_DIGEST: Final = "bodySHA256"


def sign(token: str, url: str, params: Params = ()) -> str:
    """Return the signature that Twilio computes for a request.

    It is the HMAC-SHA1 over the URL and the sorted parameters, in base64. When a name is repeated,
    each distinct value counts once, also sorted. Blank values count.
    """
    # Python compares strings by code point, which is also the order of their UTF-8 bytes.
    text = url + "".join(name + value for name, value in sorted(set(params)))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1)).decode()


def is_valid(tokens: Iterable[str], url: str, params: Params, header: str | None) -> bool:
    """Return whether one of the tokens signed this form or GET request.

    `url` is the public URL as configured at Twilio, with the query as received. `params` is empty
    for a GET. The URL is tried with and without a port. The time that the check takes reveals
    nothing about a token or a signature. A missing header returns False.
    """
    # HTTP servers decode bytes that are not valid text as surrogates.
    given = (header or "").encode("utf-8", "surrogateescape")
    fits = False
    for token in tokens:
        for variant in _port_variants(url):
            fits |= hmac.compare_digest(sign(token, variant, params).encode(), given)
    return fits


def is_valid_body(tokens: Iterable[str], url: str, body: bytes, header: str | None) -> bool:
    """Return whether one of the tokens signed this request, whose body is not a form.

    Such a body is JSON, for example. Twilio signs only the URL, and its query carries `bodySHA256`.
    Without `bodySHA256` nothing proves that the body is genuine.
    """
    claimed = [value for name, value in parse_qsl(urlsplit(url).query) if name == _BODY_DIGEST]
    is_signed = is_valid(tokens, url, (), header)
    actual = hashlib.sha256(body).hexdigest().encode()
    is_untouched = len(claimed) == 1 and hmac.compare_digest(claimed[0].lower().encode(), actual)
    return is_signed and is_untouched


def _port_variants(url: str) -> tuple[str, str]:
    """Return the URL unchanged, and its variant with or without a port.

    The variant lacks the port that the URL has, or adds the scheme's standard port. Twilio's signer
    is not consistent about ports, so Twilio's own libraries check both.
    """
    parts = urlsplit(url)
    start = len(parts.scheme) + len("://")
    rest = url[start + len(parts.netloc) :]
    host, colon, port = parts.netloc.rpartition(":")
    if colon and port.isdigit():
        return url, url[:start] + host + rest
    standard = _STANDARD_PORTS.get(parts.scheme)
    return url, url if standard is None else f"{url[:start]}{parts.netloc}:{standard}{rest}"

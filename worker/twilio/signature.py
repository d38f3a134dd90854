"""Checks that a callback comes from Twilio: `X-Twilio-Signature`. Pure; knows nothing of HTTP servers.

The rules are those of "Webhooks security" (twilio.com/docs/usage/webhooks/webhooks-security, read 2026-11-20) and of
Twilio's own libraries where the page is silent: repeated names, standard ports. A signature holds no time, so a
replayed callback is valid; whoever applies it must be safe to repeat.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

Params = Sequence[tuple[str, str]]
"""Form parameters as they came: repeated names and blank values included."""

_STANDARD_PORTS: Final = {"https": 443, "http": 80}
_BODY_DIGEST: Final = "bodySHA256"


def sign(token: str, url: str, params: Params = ()) -> str:
    """Sign a request as Twilio does: HMAC-SHA1 over the URL and the sorted parameters, in base64.

    Of a repeated name each different value counts once, sorted as well; blank values count.
    """
    # Python compares texts by code point, which is the order of their UTF-8 bytes
    text = url + "".join(name + value for name, value in sorted(set(params)))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1)).decode()


def is_valid(tokens: Iterable[str], url: str, params: Params, header: str | None) -> bool:
    """Tell whether one of the tokens signed this form or GET request.

    `url` is the public URL as Twilio was told it, with the query as received; `params` is empty for GET. The URL is
    tried with and without a port. The time taken tells nothing about token or signature; a missing header is false.
    """
    # servers hand over bytes that are no text as surrogates
    given = (header or "").encode("utf-8", "surrogateescape")
    fits = False
    for token in tokens:
        for variant in _port_variants(url):
            fits |= hmac.compare_digest(sign(token, variant, params).encode(), given)
    return fits


def is_valid_body(tokens: Iterable[str], url: str, body: bytes, header: str | None) -> bool:
    """Tell whether one of the tokens signed this request with a body that is no form, such as JSON.

    Twilio signs the URL alone, whose query then carries `bodySHA256`; without it nothing vouches for the body.
    """
    claimed = [value for name, value in parse_qsl(urlsplit(url).query) if name == _BODY_DIGEST]
    is_signed = is_valid(tokens, url, (), header)
    actual = hashlib.sha256(body).hexdigest().encode()
    is_untouched = len(claimed) == 1 and hmac.compare_digest(claimed[0].lower().encode(), actual)
    return is_signed and is_untouched


def _port_variants(url: str) -> tuple[str, str]:
    """Give the URL as it is, and with its port taken away or, where it has none, the standard one added.

    Twilio's signer is not consistent about ports, so its own libraries check both.
    """
    parts = urlsplit(url)
    start = len(parts.scheme) + len("://")
    rest = url[start + len(parts.netloc) :]
    host, colon, port = parts.netloc.rpartition(":")
    if colon and port.isdigit():
        return url, url[:start] + host + rest
    standard = _STANDARD_PORTS.get(parts.scheme)
    return url, url if standard is None else f"{url[:start]}{parts.netloc}:{standard}{rest}"

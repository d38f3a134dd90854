"""Admits only requests that Twilio signed for one of our accounts.

The gateway writes nothing before a request has passed this check.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from worker.gateway.forms import decode_form, decode_json, first_values
from worker.gateway.request import RefusedError, SignedRequest
from worker.gateway.request_bodies import MAX_FREE_BYTES, RequestBodies
from worker.settings.settings import Settings
from worker.twilio.signature import is_valid, is_valid_body

_SIGNATURE = "X-Twilio-Signature"
_FORM = "application/x-www-form-urlencoded"
_NO_TYPE = "application/octet-stream"


class RequestAuthenticator:
    """Checks signatures against the configured public URL.

    It ignores the host that a request claims, because the sender of the request chooses it.
    """

    def __init__(self, settings: Settings) -> None:
        self._public_url = settings.gateway.public_url
        self._bodies = RequestBodies(settings.gateway.max_body_bytes)
        self._accounts = {account.account_sid: account for account in settings.accounts.values()}
        # A request for an unknown account costs the same work but never matches this token.
        self._decoy = (secrets.token_hex(16),)

    @asynccontextmanager
    async def admitted(self, request: web.Request, path: str) -> AsyncIterator[SignedRequest]:
        """Read the body of a request to `path`, and check its signature.

        A large request occupies one of the `PLACES` for large bodies until the block ends.

        Raises RefusedError: 413 when the body is too large, 403 when the signature is missing or
        wrong or the account is not ours. Raises GarbageError when the form, the query or the JSON
        cannot be decoded.
        """
        header = request.headers.get(_SIGNATURE)
        async with self._bodies.read(request, is_signed=bool(header)) as body:
            if len(body) <= MAX_FREE_BYTES:
                signed = self._check(request, path, header, body)
            else:
                # Decoding takes a tenth of a second for each MiB. In a thread, it does not block
                # other requests.
                signed = await asyncio.to_thread(self._check, request, path, header, body)
            yield self._bodies.shortened(signed) if self._bodies.is_too_long(body) else signed

    def _check(
        self, request: web.Request, path: str, header: str | None, body: bytes
    ) -> SignedRequest:
        # Use the query exactly as it arrived: re-encoding it would break the signature.
        _, mark, raw_query = request.raw_path.partition("?")
        query = decode_form(raw_query.encode("utf-8", "surrogateescape"))
        url = self._public_url + path + mark + raw_query
        if request.method == "GET":
            values = first_values(query)
            is_signed = is_valid(self._tokens(values), url, (), header)
        elif request.content_type in {_FORM, _NO_TYPE}:
            form = decode_form(body)
            values = first_values(form)
            is_signed = is_valid(self._tokens(values), url, form, header)
        else:
            values = first_values(decode_json(body))
            is_signed = is_valid_body(self._tokens(values), url, body, header)
        account = self._accounts.get(values.get("AccountSid", ""))
        if account is None or not is_signed:
            raise RefusedError(403, "signature", "the signature is missing or wrong")
        return SignedRequest(account, values, first_values(query))

    def _tokens(self, values: Mapping[str, str]) -> tuple[str, ...]:
        account = self._accounts.get(values.get("AccountSid", ""))
        return self._decoy if account is None else account.webhook_tokens

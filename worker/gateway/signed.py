"""Lets in only what Twilio signed for one of our accounts. Nothing is written before this has passed."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from worker.gateway.bodies import FREE_BYTES, Bodies
from worker.gateway.forms import decode_form, decode_json, first_values
from worker.gateway.request import RefusedError, SignedRequest
from worker.settings import Settings
from worker.twilio.signature import is_valid, is_valid_body

_SIGNATURE = "X-Twilio-Signature"
_FORM = "application/x-www-form-urlencoded"
_NO_TYPE = "application/octet-stream"


class Door:
    """Checks signatures against the configured public URL; what a request says of its own host counts for nothing."""

    def __init__(self, settings: Settings) -> None:
        self._public_url = settings.gateway.public_url
        self._bodies = Bodies(settings.gateway.max_body_bytes)
        self._accounts = {account.account_sid: account for account in settings.accounts.values()}
        # a request for an account that is not ours costs as much as any other, and fits nothing
        self._decoy = (secrets.token_hex(16),)

    @asynccontextmanager
    async def admitted(self, request: web.Request, path: str) -> AsyncIterator[SignedRequest]:
        """Read and check a request to `path`. A large one keeps its place among the few until the block ends.

        Raises RefusedError: 413 for a body too large, 403 for a missing or wrong signature or an account that is not
        ours. Raises GarbageError for a form, query or JSON that cannot be decoded.
        """
        header = request.headers.get(_SIGNATURE)
        async with self._bodies.read(request, is_signed=bool(header)) as body:
            if len(body) <= FREE_BYTES:
                signed = self._check(request, path, header, body)
            else:
                # decoding takes a tenth of a second for each MiB, and other requests go on meanwhile
                signed = await asyncio.to_thread(self._check, request, path, header, body)
            yield self._bodies.shortened(signed) if self._bodies.is_too_long(body) else signed

    def _check(self, request: web.Request, path: str, header: str | None, body: bytes) -> SignedRequest:
        # the query as it came: any re-encoding would break the signature
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
            raise RefusedError(403, "signature", "the signature is missing or does not fit")
        return SignedRequest(account, values, first_values(query))

    def _tokens(self, values: Mapping[str, str]) -> tuple[str, ...]:
        account = self._accounts.get(values.get("AccountSid", ""))
        return self._decoy if account is None else account.webhook_tokens

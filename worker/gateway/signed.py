"""Lets in only what Twilio signed for one of our accounts. Nothing is written before this has passed."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from worker.gateway.forms import decode_form, decode_json, first_values
from worker.settings import Settings
from worker.twilio.signature import is_valid, is_valid_body
from worker.values.accounts import Account

_SIGNATURE = "X-Twilio-Signature"
_FORM = "application/x-www-form-urlencoded"
_NO_TYPE = "application/octet-stream"


class RefusedError(Exception):
    """A request that is answered with `status` and a short sentence; nothing was written."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that Twilio signed. `query` is signed as well. Each name has its first value."""

    account: Account
    params: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)


class Door:
    """Checks signatures against the configured public URL; what a request says of its own host counts for nothing."""

    def __init__(self, settings: Settings) -> None:
        self._public_url = settings.gateway.public_url
        self._most_bytes = settings.gateway.max_body_bytes
        self._accounts = {account.account_sid: account for account in settings.accounts.values()}
        # a request for an account that is not ours costs as much as any other, and fits nothing
        self._decoy = (secrets.token_hex(16),)

    async def admit(self, request: web.Request, path: str) -> SignedRequest:
        """Read and check a request to `path`.

        Raises RefusedError: 413 for a body too large, 403 for a missing or wrong signature or an account that is not
        ours. Raises GarbageError for a form, query or JSON that cannot be decoded.
        """
        body = await self._body(request)
        # the query as it came: any re-encoding would break the signature
        _, mark, raw_query = request.raw_path.partition("?")
        query = decode_form(raw_query.encode("utf-8", "surrogateescape"))
        url = self._public_url + path + mark + raw_query
        header = request.headers.get(_SIGNATURE)
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

    async def _body(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > self._most_bytes:
            raise RefusedError(413, "too_large", f"the body is larger than {self._most_bytes} bytes")
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise RefusedError(413, "too_large", f"the body is larger than {self._most_bytes} bytes") from error

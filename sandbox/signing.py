"""Signs what the sandbox sends, as Twilio does.

Source: twilio.com/docs/usage/webhooks/webhooks-security, read 2026-11-20.
"""

import base64
import hmac
from collections.abc import Iterable


def sign(token: str, url: str, form: Iterable[tuple[str, str]]) -> str:
    """Compute `X-Twilio-Signature` of a form POST.

    It is HMAC-SHA1 over the URL without its fragment, followed by the names and values of the form.
    """
    base = url.partition("#")[0] + "".join(name + value for name, value in sorted(set(form)))
    return base64.b64encode(hmac.digest(token.encode(), base.encode(), "sha1")).decode("ascii")

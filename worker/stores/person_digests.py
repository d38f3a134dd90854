"""Names persons in keys: 32 digits of an HMAC-SHA1 of the address.

Lua scripts compute the same from the key's blocks.
"""

import hashlib
import hmac
from typing import Final

from worker.persons import SPELLINGS

_BLOCK_BYTES: Final = 64
DIGEST_CHARACTERS: Final = 32
_NAMED: Final = b"sendwindow name of "
_FINGERPRINT: Final = b"sendwindow person key"


class PersonDigests:
    """Digests under one person key (at least 16 bytes, the same for every worker of a store)."""

    __slots__ = ("_key", "inner", "outer")

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError(
                "the person key has fewer than 16 bytes; "
                "put at least 16 random ones into store.person_key"
            )
        self._key = key
        # Redis offers Lua only SHA-1. That is enough: an HMAC needs no collision resistance.
        short = (
            hashlib.sha1(key, usedforsecurity=False).digest() if len(key) > _BLOCK_BYTES else key
        )
        block = short.ljust(_BLOCK_BYTES, b"\0")
        self.inner = bytes(byte ^ 0x36 for byte in block)
        self.outer = bytes(byte ^ 0x5C for byte in block)

    def digest(self, address: str) -> str:
        """Return the digest of one spelling of an address: 32 hexadecimal digits."""
        return hmac.new(self._key, address.encode(), hashlib.sha1).hexdigest()[:DIGEST_CHARACTERS]

    def persons_of(self, address: str) -> str:
        """Return the digests under which records of a person may be kept.

        They are separated by spaces, the canonical one first. Scripts take a person in this form.
        """
        return " ".join(map(self.digest, SPELLINGS.persons_of(address)))

    def proven(self, address: str, wa_id: str) -> str:
        """Return the digests that only a WaId shows to be the person's, in the same form.

        Most often there are none.
        """
        known = len(SPELLINGS.persons_of(address))
        return " ".join(map(self.digest, SPELLINGS.persons_of(address, wa_id)[known:]))

    def name(self, text: bytes) -> str:
        """Return 24 hexadecimal digits that stand for `text`.

        `text` may hold an address, as an unusable job id may.
        """
        return hmac.new(self._key, _NAMED + text, hashlib.sha256).hexdigest()[:24]

    @property
    def fingerprint(self) -> str:
        """What the store records to recognise the key. It reveals nothing about the key."""
        return hmac.new(self._key, _FINGERPRINT, hashlib.sha256).hexdigest()[:DIGEST_CHARACTERS]

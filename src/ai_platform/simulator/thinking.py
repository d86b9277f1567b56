"""Signatures of thinking blocks: given out with every thinking block, checked when the block comes back.

A signature is `version | 12 random bytes | HMAC-SHA256(key, random | text)` in base64. It binds the text only, not the
conversation.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

_VERSION = b"\x01"
_SALT_BYTES = 12


class Signer:
    """key: None = random, so signatures of another process are refused."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key if key is not None else secrets.token_bytes(32)

    def sign(self, text: str) -> str:
        return self._encode(secrets.token_bytes(_SALT_BYTES), text)

    def valid(self, text: str, signature: str) -> bool:
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        salt = raw[1 : 1 + _SALT_BYTES]
        return len(salt) == _SALT_BYTES and hmac.compare_digest(signature, self._encode(salt, text))

    def _encode(self, salt: bytes, text: str) -> str:
        digest = hmac.digest(self._key, salt + text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.b64encode(_VERSION + salt + digest).decode()

"""Short secrets that leave the process for a while (a cookie, a column), encrypted and authenticated (AES-256-GCM)."""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12


class Seal:
    """key closes and opens; what an older one closed is opened too.

    purpose: binds a text to its use, so that one kind cannot be passed off as another.
    """

    def __init__(self, key: bytes, *older: bytes) -> None:
        self._cipher = AESGCM(key)
        self._older = tuple(AESGCM(one) for one in older)

    @property
    def has_older(self) -> bool:
        return bool(self._older)

    def close(self, content: bytes, purpose: str) -> str:
        nonce = os.urandom(NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, content, purpose.encode())
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, text: str, purpose: str) -> bytes | None:
        """None: damaged, or not made here for this purpose."""
        return next(
            (found for one in (self._cipher, *self._older) if (found := _open(one, text, purpose)) is not None), None
        )

    def again(self, text: str, purpose: str) -> str | None:
        """Closed anew when an older key closed it, else None."""
        if _open(self._cipher, text, purpose) is not None:
            return None
        content = self.open(text, purpose)
        return None if content is None else self.close(content, purpose)


def _open(cipher: AESGCM, text: str, purpose: str) -> bytes | None:
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], purpose.encode())
    except (binascii.Error, ValueError, InvalidTag):
        return None

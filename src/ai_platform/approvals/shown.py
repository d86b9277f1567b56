"""What an approver reads of a request, encrypted while it is kept (AES-256-GCM, bound to the request's id)."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12
LONGEST = 64 * 1024
"""Bytes of what is shown; the rest is left out, and said so."""


class Shown:
    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, text: bytes, request_id: str) -> bytes:
        if len(text) > LONGEST:
            left_out = len(text) - LONGEST
            text = text[:LONGEST] + f" ... and {left_out:,} bytes more that are not shown".encode()
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, text, request_id.encode())

    def open(self, sealed: bytes | None, request_id: str) -> str:
        """Empty when there is nothing any more, or it is damaged."""
        if sealed is None:
            return ""
        try:
            text = self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], request_id.encode())
        except InvalidTag:
            return ""
        return text.decode("utf-8", "replace")

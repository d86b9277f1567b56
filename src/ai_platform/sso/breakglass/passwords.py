"""Passwords of local administrators: scrypt (RFC 7914) with OWASP's parameters, 128 MiB and about half a second each.

scrypt and not Argon2, because it is in the standard library: one dependency less where it counts most. Blocking, so it
runs in a thread, one at a time. Above: emergency. Below: nothing.
"""

import base64
import hashlib
import hmac
import os

COST, R, P = 17, 8, 1
"""N = 2^17 (OWASP, "Password Storage Cheat Sheet")."""

SHORTEST, LONGEST = 16, 256
FEWEST_LETTERS = 8


def trouble_with(password: str) -> str:
    """Why it will not do, as a sentence; "" when it will."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"The password must have {SHORTEST} to {LONGEST} characters: several words, for example."
    if len(set(password)) < FEWEST_LETTERS:
        return f"The password must have at least {FEWEST_LETTERS} different characters."
    return ""


class Passwords:
    """cost: logarithm of scrypt's N for new ones. Both methods block."""

    def __init__(self, cost: int = COST) -> None:
        self._cost = cost
        self._nobodys = f"scrypt${cost}${R}${P}${base64.b64encode(bytes(16)).decode()}${'A' * 43}="

    def hashed(self, password: str) -> str:
        """What is stored."""
        salt = os.urandom(16)
        digest = _digest(password, salt, self._cost, R, P)
        return f"scrypt${self._cost}${R}${P}${base64.b64encode(salt).decode()}${digest}"

    def matches(self, password: str, stored: str | None) -> bool:
        """As long whether it matches or not, and for nobody (stored None) too."""
        _, cost, r, p, salt, digest = (stored or self._nobodys).split("$")
        found = _digest(password[:LONGEST], base64.b64decode(salt), int(cost), int(r), int(p))
        return hmac.compare_digest(found, digest) and stored is not None


def _digest(password: str, salt: bytes, cost: int, r: int, p: int) -> str:
    n = 1 << cost
    memory = 128 * r * (n + p + 2)
    content = password.encode("utf-8", "surrogatepass")
    digest = hashlib.scrypt(content, salt=salt, n=n, r=r, p=p, maxmem=memory + (1 << 20), dklen=32)
    return base64.b64encode(digest).decode()

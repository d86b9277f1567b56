"""ID tokens: the signature and every claim that OpenID Connect Core 1.0 section 3.1.3.7 tells to check.

It asks nobody: keys come from the caller. Above: provider. Below: joserfc (JOSE).
"""

import base64
import binascii
import hmac
import math
from typing import Any, NamedTuple

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Unauthenticated

PublicKey = RSAKey | ECKey | OKPKey
LONGEST = 64 * 1024
OLDEST = 600.0
"""Seconds since it was issued: it is checked right after it was asked for."""

CLOCKS = "Compare the clocks of this machine and of the provider."

_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class Head(NamedTuple):
    algorithm: str
    kid: str | None


class Expected(NamedTuple):
    """nonce: None when the token comes from a refresh, which needs none."""

    issuer: str
    client_id: str
    nonce: str | None
    algorithms: tuple[str, ...]


def head_of(token: str, expected: Expected) -> Head:
    """Which key is needed. Raises Unauthenticated: not a token, or an algorithm that is not allowed."""
    try:
        if len(token) > LONGEST:
            raise ValueError("too long")
        part = token.split(".", 1)[0]
        head: Any = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        algorithm, kid = head["alg"], head.get("kid")
    except (
        ValueError,
        binascii.Error,
        msgspec.DecodeError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise refused("it is not a signed token") from error
    if not isinstance(algorithm, str) or algorithm not in expected.algorithms:
        raise refused(f"it is signed with {str(algorithm)[:20]!r}, which is not allowed")
    return Head(algorithm, kid if isinstance(kid, str) else None)


def keys_of(document: dict[str, Any]) -> dict[str | None, list[PublicKey]]:
    """The public signature keys of a JWK set (RFC 7517), by key id. What cannot be used is passed over."""
    found: dict[str | None, list[PublicKey]] = {}
    listed = document.get("keys")
    for entry in listed if isinstance(listed, list) else []:
        if not isinstance(entry, dict) or entry.get("kty") not in {"RSA", "EC", "OKP"} or entry.get("use") == "enc":
            continue
        try:
            key = import_key(entry)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey):
            kid = entry.get("kid")
            found.setdefault(kid if isinstance(kid, str) else None, []).append(key)
    return found


def choose(keys: dict[str | None, list[PublicKey]], head: Head) -> PublicKey | None:
    """The key of that id and kind; without an id only when there is exactly one of that kind."""
    kind = _KINDS[head.algorithm[:2]]
    candidates = [key for same in keys.values() for key in same] if head.kid is None else keys.get(head.kid, [])
    fitting = [key for key in candidates if key.key_type == kind]
    return fitting[0] if len(fitting) == 1 else None


def verified(token: str, head: Head, key: PublicKey, expected: Expected, *, now: float, skew: float) -> dict[str, Any]:
    """The claims. Raises Unauthenticated: forged, expired, or not meant for this platform and this sign-in."""
    claims = signed_claims(token, head, key)
    if claims.get("iss") != expected.issuer:
        raise refused("another issuer made it")
    check_audience(claims, expected)
    check_times(claims, now, skew)
    if expected.nonce is not None and moment_in(claims, "iat") + OLDEST + skew < now:
        raise refused(f"it is too old. {CLOCKS}")
    if expected.nonce is not None:
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
            raise refused("it belongs to another sign-in")
    subject_of(claims)
    return claims


def signed_claims(token: str, head: Head, key: PublicKey) -> dict[str, Any]:
    """Only the signature is checked. Raises Unauthenticated."""
    try:
        return jwt.decode(token, key, algorithms=[head.algorithm]).claims
    except (JoseError, ValueError) as error:
        raise refused("its signature is wrong") from error


def subject_of(claims: dict[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise refused("it names nobody")
    return subject


def check_audience(claims: dict[str, Any], expected: Expected) -> None:
    """Raises Unauthenticated: for another application, or issued to one."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.client_id not in audiences:
        raise refused("it is meant for another application")
    party = claims.get("azp")
    if party != expected.client_id and (party is not None or len(audiences) > 1):
        raise refused("it was issued to another application")


def check_times(claims: dict[str, Any], now: float, skew: float) -> None:
    """Raises Unauthenticated: expired, or not valid yet."""
    expires, issued, starts = (moment_in(claims, name) for name in ("exp", "iat", "nbf"))
    if expires + skew <= now:
        raise refused(f"it has expired. {CLOCKS}")
    if issued - skew > now or starts - skew > now:
        raise refused(f"it is from the future: {apart(max(issued, starts) - now, 'ahead of')}")


def apart(seconds: float, way: str) -> str:
    """How far two clocks are apart, and what to do."""
    much = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return f"the provider's clock seems to be {much} {way} the clock of this machine. Set the one that is wrong"


def moment_in(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name, 0 if name == "nbf" else None)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise refused("it does not say when it is valid")
    return value


class BadTokenError(Unauthenticated):
    """why: half a sentence that carries nothing of the token."""

    def __init__(self, why: str) -> None:
        self.why = why.rstrip(".")
        message = f"The identity provider's answer cannot be used: {self.why}. Sign in again."
        super().__init__(Refusal.UNAUTHENTICATED, message, rule="id token")


def refused(why: str) -> BadTokenError:
    return BadTokenError(why)

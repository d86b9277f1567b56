"""Logout tokens: what OpenID Connect Back-Channel Logout 1.0, section 2.6, tells to check. Above: provider, logout."""

from typing import Any

from ai_platform.sso.idtoken import (
    CLOCKS,
    OLDEST,
    Expected,
    Head,
    PublicKey,
    check_audience,
    check_times,
    moment_in,
    refused,
    signed_claims,
)

EVENT = "http://schemas.openid.net/event/backchannel-logout"
GOOD_FOR = 120.0
"""Seconds, where the token does not say: older providers leave `exp` out, and its age is bounded either way."""


def logout_claims(
    token: str, head: Head, key: PublicKey, expected: Expected, *, now: float, skew: float
) -> dict[str, Any]:
    """Raises Unauthenticated: forged, expired, for another application, or another kind of token."""
    claims = signed_claims(token, head, key)
    if claims.get("iss") != expected.issuer:
        raise refused("another issuer made it")
    check_audience(claims, expected)
    check_times({"exp": moment_in(claims, "iat") + GOOD_FOR, **claims}, now, skew)
    if moment_in(claims, "iat") + OLDEST + skew < now:
        raise refused(f"it is too old. {CLOCKS}")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise refused("it is not a logout token")
    if "nonce" in claims:
        raise refused("it is an ID token, not a logout token")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 255:
        raise refused("it has no identifier")
    named_in(claims)
    return claims


def named_in(claims: dict[str, Any]) -> tuple[str | None, str | None]:
    """(subject, sid), at least one of them. Raises Unauthenticated: it names nobody."""
    subject, sid = (_name(claims, "sub"), _name(claims, "sid"))
    if subject is None and sid is None:
        raise refused("it names nobody")
    return subject, sid


def _name(claims: dict[str, Any], claim: str) -> str | None:
    value = claims.get(claim)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise refused("it names nobody")
    return value
